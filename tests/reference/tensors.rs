//! The arrays of a golden file.

use std::collections::HashMap;
use std::path::Path;

use dagrad::Value;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Result, Trouble};

/// An array from a file. What is stored in single precision is exact in double precision.
#[derive(Debug)]
pub enum Tensor {
    Real(ArrayD<f64>),
    Index(ArrayD<u32>),
}

/// All arrays of a file, by key.
pub struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |text: String| Trouble::File(format!("{}: {text}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
        let all = file.tensors().into_iter().map(|(key, view)| match tensor(&view) {
            Ok(tensor) => Ok((key, tensor)),
            Err(text) => Err(bad(format!("{key}: {text}"))),
        });
        Ok(Self(all.collect::<Result<_>>()?))
    }

    /// The array with the key `ID:ROLE.NAME`, if it is stored.
    pub fn find(&self, id: &str, name: &str) -> Option<&Tensor> {
        self.0.get(&format!("{id}:{name}"))
    }

    pub fn get(&self, id: &str, name: &str) -> Result<&Tensor> {
        self.find(id, name).ok_or_else(|| Trouble::File(format!("{name} is not stored")))
    }
}

impl Tensor {
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Real(array) => array.shape(),
            Self::Index(array) => array.shape(),
        }
    }

    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Real(array) => array.into(),
            Self::Index(array) => array.into(),
        }
    }

    pub fn real(&self) -> Result<&ArrayD<f64>> {
        match self {
            Self::Real(array) => Ok(array),
            Self::Index(_) => Err(Trouble::File("indices stand where numbers belong".into())),
        }
    }
}

fn tensor(view: &TensorView<'_>) -> Result<Tensor, String> {
    let (shape, data) = (view.shape(), view.data());
    Ok(match view.dtype() {
        Dtype::F32 => Tensor::Real(array(shape, data, |bytes| f32::from_le_bytes(bytes).into())?),
        Dtype::F64 => Tensor::Real(array(shape, data, f64::from_le_bytes)?),
        Dtype::I64 => Tensor::Index(array(shape, data, |bytes| index(i64::from_le_bytes(bytes)))?),
        other => return Err(format!("its type is {other:?}")),
    })
}

/// An index as the engine takes it. Those below 0 become very large ones: out of range, and still distinct.
pub fn index(stored: i64) -> u32 {
    i32::try_from(stored).map_or(u32::MAX, |index| index as u32)
}

fn array<A, const BYTES: usize>(
    shape: &[usize],
    data: &[u8],
    number: impl Fn([u8; BYTES]) -> A,
) -> Result<ArrayD<A>, String> {
    let numbers = data.as_chunks().0.iter().map(|bytes| number(*bytes)).collect();
    ArrayD::from_shape_vec(IxDyn(shape), numbers).map_err(|error| error.to_string())
}
