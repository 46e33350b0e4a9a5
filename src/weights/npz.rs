//! NumPy's files: an `.npz` is a ZIP archive with an `.npy` for each array.
//!
//! An `.npy` is a magic string, a version, the length of a header, the header, and the numbers
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>). The header is a literal of Python such as
//! `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::number::NumberType;
use super::tensor::{MAX_AXES, Tensor};
use super::zip::{self, Member};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
const SUFFIX: &str = ".npy";
/// The longest header that is read; NumPy itself reads 10,000 bytes unless it is told otherwise.
const MAX_HEADER: usize = 1 << 16;

/// Whether an archive has arrays of NumPy.
pub(super) fn is_npz(members: &[Member]) -> bool {
    members.iter().any(|member| member.name.ends_with(SUFFIX))
}

/// Reads an archive, given as a whole, by its members.
pub(super) fn read(file: &Arc<Vec<u8>>, members: Vec<Member>) -> Result<BTreeMap<String, Tensor>, String> {
    let array = |member: Member| {
        let Some(name) = member.name.strip_suffix(SUFFIX).map(str::to_owned) else {
            return Err(format!("member {:?} is no array (.npy)", member.name));
        };
        let tensor = tensor(file, member).map_err(|problem| format!("{name:?}: {problem}"))?;
        Ok((name, tensor))
    };
    members.into_iter().map(array).collect()
}

fn tensor(file: &Arc<Vec<u8>>, member: Member) -> Result<Tensor, String> {
    let start = member.start(file, MAX_HEADER + 12)?;
    let Layout { number_type, big_endian, fortran, shape, header } = layout(&start)?;
    let expected = number_type.bytes_of(&shape).and_then(|bytes| bytes.checked_add(header));
    if expected != Some(member.size) {
        let bytes = member.size.saturating_sub(header);
        return Err(format!("{bytes} bytes are not {number_type} {shape:?}"));
    }
    if !(member.is_deflated || big_endian || fortran) {
        member.check(&file[member.range.clone()])?;
        let range = member.range.start + header..member.range.end;
        return Ok(Tensor::part_of(file.clone(), range, number_type, shape));
    }
    let (file, sizes) = (file.clone(), shape.clone());
    Ok(Tensor::later(number_type, shape, move || {
        let mut bytes = member.bytes(&file)?;
        bytes.drain(..header);
        if big_endian {
            bytes.chunks_exact_mut(number_type.size()).for_each(<[u8]>::reverse);
        }
        Ok(if fortran { row_major(&bytes, &sizes, number_type.size()) } else { bytes })
    }))
}

/// The elements of an array whose first axis runs fastest, with the last one running fastest.
fn row_major(bytes: &[u8], sizes: &[usize], width: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(sizes.len());
    let mut stride = width;
    for &size in sizes {
        strides.push(stride);
        stride = stride.saturating_mul(size); // beyond the array only behind an axis of size 0
    }
    let (mut out, mut index) = (Vec::with_capacity(bytes.len()), vec![0; sizes.len()]);
    let mut from = 0;
    while out.len() < bytes.len() {
        out.extend(&bytes[from..from + width]);
        for axis in (0..sizes.len()).rev() {
            index[axis] += 1;
            from += strides[axis];
            if index[axis] < sizes[axis] {
                break;
            }
            from -= strides[axis] * sizes[axis];
            index[axis] = 0;
        }
    }
    out
}

/// What the header of an `.npy` says.
struct Layout {
    number_type: NumberType,
    big_endian: bool,
    /// Whether the first axis runs fastest.
    fortran: bool,
    shape: Vec<usize>,
    /// How many bytes there are before the numbers.
    header: usize,
}

fn layout(start: &[u8]) -> Result<Layout, String> {
    let (from, length) = match *start {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, low, high, ..] => {
            (10, usize::from(u16::from_le_bytes([low, high])))
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
            (12, u32::from_le_bytes([a, b, c, d]) as usize)
        }
        _ => return Err("it is no .npy of version 1, 2 or 3".to_owned()),
    };
    if length > MAX_HEADER {
        return Err(format!("its header of {length} bytes is longer than {MAX_HEADER}"));
    }
    let header = start.get(from..from + length).ok_or("its header is cut off")?;
    let mut literal = Literal { text: header, at: 0 };
    let (descr, fortran, shape) = literal.header().ok_or_else(|| {
        let text = String::from_utf8_lossy(&header[..header.len().min(200)]).trim_end().to_owned();
        format!("it is no array of numbers: its header is {text}")
    })?;
    let (order, name) = descr.split_at_checked(1).unwrap_or_default();
    let number_type = NumberType::named_by_numpy(name).filter(|_| matches!(order, "<" | ">" | "|" | "="));
    let number_type = number_type.ok_or_else(|| match name.starts_with('O') {
        true => format!("objects of Python ({descr:?}) are not read"),
        false => format!("its type {descr:?} is not read"),
    })?;
    let big_endian = order == ">" || order == "=" && cfg!(target_endian = "big");
    Ok(Layout {
        number_type,
        big_endian: big_endian && number_type.size() > 1,
        fortran,
        shape,
        header: from + length,
    })
}

/// A reader of the literal.
struct Literal<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Literal<'a> {
    /// Exactly the three keys, in any order.
    fn header(&mut self) -> Option<(&'a str, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.take(b'{')?;
        while self.peek() != Some(b'}') {
            let key = self.string()?;
            self.take(b':')?;
            let is_first = match key {
                "descr" => descr.replace(self.string()?).is_none(),
                "fortran_order" => fortran.replace(self.truth()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            if !is_first {
                return None;
            }
            if self.peek() != Some(b'}') {
                self.take(b',')?;
            }
        }
        self.take(b'}')?;
        if self.peek().is_some() { None } else { Some((descr?, fortran?, shape?)) }
    }

    /// `()`, `(3,)`, `(3, 4)`.
    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut sizes = Vec::new();
        self.take(b'(')?;
        while self.peek() != Some(b')') {
            let digits = self.word(u8::is_ascii_digit);
            sizes.push(digits.parse().ok().filter(|_| sizes.len() < MAX_AXES)?);
            self.word(|&byte| byte == b'L'); // as Python 2 wrote it
            if self.peek() != Some(b')') {
                self.take(b',')?;
            }
        }
        self.take(b')').map(|()| sizes)
    }

    fn truth(&mut self) -> Option<bool> {
        self.peek();
        match self.word(u8::is_ascii_alphabetic) {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }
    }

    fn string(&mut self) -> Option<&'a str> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'))?;
        self.at += 1;
        let string = self.word(|&byte| byte != quote && byte != b'\\');
        (self.text.get(self.at) == Some(&quote)).then(|| self.at += 1)?;
        Some(string)
    }

    /// The bytes from here on that belong together.
    fn word(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| belongs(byte)).count();
        self.at += length;
        std::str::from_utf8(&rest[..length]).unwrap_or_default()
    }

    fn peek(&mut self) -> Option<u8> {
        self.word(|byte| byte.is_ascii_whitespace());
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }
}

/// Whether an array of this name can be found again in an archive.
pub(super) fn can_name(name: &str) -> bool {
    !name.contains('\0') && name.len() + SUFFIX.len() <= usize::from(u16::MAX)
}

/// Writes an archive.
pub(super) fn write(tensors: &BTreeMap<String, Tensor>, out: &mut dyn Write) -> io::Result<()> {
    let mut archive = zip::Writer::new(out);
    for (name, tensor) in tensors {
        let bytes = tensor.bytes().map_err(io::Error::other)?;
        let Some(numpy) = tensor.number_type.numpy_name() else {
            let mut values = vec![0f32; bytes.len() / 2];
            tensor.number_type.read(&bytes, &mut values, |position| position);
            let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
            archive.add(&format!("{name}{SUFFIX}"), &header("f4", &tensor.shape), &bytes)?;
            continue;
        };
        archive.add(&format!("{name}{SUFFIX}"), &header(numpy, &tensor.shape), &bytes)?;
    }
    archive.finish()
}

/// What is before the numbers of an `.npy`, in version 1.
fn header(numpy: &str, shape: &[usize]) -> Vec<u8> {
    let order = if numpy.ends_with('1') { '|' } else { '<' };
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    let mut text =
        format!("{{'descr': '{order}{numpy}', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // With the 10 bytes before it and the end of the line, a multiple of 64: so the numbers are aligned.
    text += &" ".repeat((64 - (text.len() + 11) % 64) % 64);
    text.push('\n');
    let length = (text.len() as u16).to_le_bytes(); // 64 axes take 1,400 letters
    [MAGIC, &[1, 0], &length, text.as_bytes()].concat()
}
