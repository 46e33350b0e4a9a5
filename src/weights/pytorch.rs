//! Files of `torch.save`, read by the crate `pytorch-reader`, which runs none of the pickle's code.

use std::collections::BTreeMap;
use std::sync::Arc;

use pytorch_reader::{DType, PytorchReader};

use super::number::NumberType;
use super::tensor::{MAX_AXES, Tensor};

/// Reads a file, given as a whole. Dictionaries within dictionaries give names with dots: `state_dict.conv1.weight`.
pub(super) fn read(file: Arc<Vec<u8>>) -> Result<BTreeMap<String, Tensor>, String> {
    let file = Arc::unwrap_or_clone(file);
    let contents = PytorchReader::from_bytes(file, None)
        .map_err(|error| format!("is no file of torch.save: {error}"))?;
    let tensor = |(name, tensor): (String, pytorch_reader::Tensor)| {
        let (number_type, shape) = (number_type(tensor.dtype()), tensor.shape().to_vec());
        if shape.len() > MAX_AXES || number_type.bytes_of(&shape).is_none() {
            return Err(format!("{name:?} has the shape {shape:?}, which is beyond any memory"));
        }
        // Numbers are made when they are asked for: a view may repeat a few of them without end.
        let make = move || {
            let mut bytes = tensor.read().map_err(|error| error.to_string())?;
            if cfg!(target_endian = "big") {
                bytes.chunks_exact_mut(number_type.size()).for_each(<[u8]>::reverse);
            }
            Ok(bytes)
        };
        Ok((name, Tensor::later(number_type, shape, make)))
    };
    contents.into_tensors().into_iter().map(tensor).collect()
}

fn number_type(dtype: DType) -> NumberType {
    match dtype {
        DType::F64 => NumberType::F64,
        DType::F32 => NumberType::F32,
        DType::F16 => NumberType::F16,
        DType::BF16 => NumberType::BF16,
        DType::I64 => NumberType::I64,
        DType::I32 => NumberType::I32,
        DType::I16 => NumberType::I16,
        DType::I8 => NumberType::I8,
        DType::U64 => NumberType::U64,
        DType::U32 => NumberType::U32,
        DType::U16 => NumberType::U16,
        DType::U8 => NumberType::U8,
        DType::Bool => NumberType::Bool,
    }
}
