//! What a file is, by its first bytes, and its content.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::safetensors::{self, Contents};
use super::{checkpoint, npz, zip};
use crate::error::{Error, Result};

/// The bytes of a file.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let error = |message: String| Error::Data { path: path.to_owned(), message };
    let unreadable = |problem: std::io::Error| error(format!("cannot be read: {problem}"));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe or a device could wait forever, or never end.
    if !metadata.is_file() {
        let message = if metadata.is_dir() { "is a folder, not a file" } else { "is not a regular file" };
        return Err(error(message.to_owned()));
    }
    if usize::try_from(metadata.len()).ok().is_none_or(|len| Vec::<u8>::new().try_reserve_exact(len).is_err())
    {
        return Err(error(format!("has {} bytes, more than there is memory for", metadata.len())));
    }
    fs::read(path).map_err(unreadable)
}

/// What a file holds, in whichever of the formats it is. `name` is its name, which says what a damaged one was meant to be.
pub(super) fn contents(file: Vec<u8>, name: &Path) -> Result<Contents, String> {
    let file = Arc::new(file);
    match Looks::of(&file, name) {
        Looks::Safetensors => safetensors::read(&file),
        Looks::Zip => {
            let members = zip::members(&file)?;
            if npz::is_npz(&members) {
                return Ok((npz::read(&file, members)?, BTreeMap::new()));
            }
            if members.iter().any(|member| member.name == "data.pkl" || member.name.ends_with("/data.pkl")) {
                return pytorch(file);
            }
            Err(not_weights("a ZIP archive without arrays of NumPy or PyTorch"))
        }
        Looks::Pickle => pytorch(file),
        Looks::Other(what) => Err(not_weights(what)),
    }
}

#[cfg(feature = "pytorch")]
fn pytorch(file: Arc<Vec<u8>>) -> Result<Contents, String> {
    super::pytorch::read(file).map(|tensors| (tensors, BTreeMap::new()))
}

#[cfg(not(feature = "pytorch"))]
fn pytorch(_: Arc<Vec<u8>>) -> Result<Contents, String> {
    let python =
        "safetensors.torch.save_file(torch.load(\"net.pt\", weights_only=True), \"net.safetensors\")";
    Err(format!(
        "is a file of torch.save; the feature `pytorch` reads it\n  hint: or convert it in Python: {python}"
    ))
}

fn not_weights(what: &str) -> String {
    format!(
        "is {what}\n  hint: weights are read from safetensors, NumPy's .npz, and PyTorch's .pt and .pth (feature `pytorch`)"
    )
}

/// What a file looks like.
enum Looks {
    Safetensors,
    Zip,
    Pickle,
    Other(&'static str),
}

impl Looks {
    fn of(file: &[u8], name: &Path) -> Self {
        let magic: [(&[u8], Self); 14] = [
            (b"PK\x03\x04", Self::Zip),
            (b"PK\x05\x06", Self::Zip),
            (b"\x80\x02", Self::Pickle),
            (b"\x80\x03", Self::Pickle),
            (b"\x80\x04", Self::Pickle),
            (npz::MAGIC, Self::Other("a single array of NumPy (.npy), which has no name")),
            (b"\x89HDF\r\n\x1a\n", Self::Other("an HDF5 file, as Keras writes")),
            (b"\x89PNG", Self::Other("a PNG image")),
            (b"\xff\xd8\xff", Self::Other("a JPEG image")),
            (b"GGUF", Self::Other("a GGUF file")),
            (b"\x1f\x8b", Self::Other("compressed with gzip; unpack it first")),
            (
                b"version https://git-lfs",
                Self::Other("a pointer of Git LFS, not the file itself; `git lfs pull` fetches it"),
            ),
            (b"<", Self::Other("HTML or XML, perhaps the page of a failed download")),
            // ONNX: a message of Protocol Buffers that begins with its version, a small number, and a string.
            (b"\x08", Self::Other("an ONNX model, it seems")),
        ];
        if file.is_empty() {
            return Self::Other("empty");
        }
        let has_header = file.get(8) == Some(&b'{');
        let is_meant = name.extension().is_some_and(|extension| extension == "safetensors");
        let known = magic.into_iter().find(|(magic, _)| file.starts_with(magic)).map(|(_, looks)| looks);
        match known {
            _ if file.ends_with(checkpoint::MAGIC) => Self::Other(
                "a checkpoint; `Weights::of` has the weights of what `train::read_checkpoint` reads",
            ),
            _ if has_header => Self::Safetensors,
            Some(looks) => looks,
            _ if file.get(257..262) == Some(b"ustar") => Self::Pickle,
            _ if is_meant => Self::Safetensors,
            _ if std::str::from_utf8(&file[..file.len().min(100)]).is_ok_and(|text| !text.contains('\0')) => {
                Self::Other("text")
            }
            _ => Self::Other("of a kind that is not known"),
        }
    }
}
