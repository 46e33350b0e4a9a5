//! Files of [safetensors](https://github.com/huggingface/safetensors): 8 bytes with the length of a header in JSON, the
//! header, and the arrays one after the other.
//!
//! A header maps each name to `{"dtype":"F32","shape":[5,7],"data_offsets":[0,140]}`, and `__metadata__` to strings. Nothing
//! nests deeper, so a reader of just that is shorter than the guards that a reader of all JSON would need.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use super::number::NumberType;
use super::tensor::{MAX_AXES, Tensor};

/// The longest header that the format allows.
const MAX_HEADER: usize = 100_000_000;
const METADATA: &str = "__metadata__";

/// What a file holds: arrays by name, and names that stand for another one's array.
pub(super) type Contents<A = Tensor> = (BTreeMap<String, A>, BTreeMap<String, String>);

/// Reads a file, given as a whole.
pub(super) fn read(file: &Arc<Vec<u8>>) -> Result<Contents, String> {
    let (tensors, metadata) = parts(file)?;
    let is_alias =
        |(alias, name): &(String, String)| !tensors.contains_key(alias) && tensors.contains_key(name);
    let aliases = metadata.into_iter().filter(is_alias).collect();
    Ok((tensors, aliases))
}

/// The arrays and the metadata of a file.
pub(super) fn parts(file: &Arc<Vec<u8>>) -> Result<Contents, String> {
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(format!("is cut off: {} bytes are no safetensors file", file.len()));
    };
    let length = u64::from_le_bytes(*length);
    let Some(length) = usize::try_from(length).ok().filter(|&length| length <= rest.len()) else {
        return Err(format!("is cut off or damaged: a header of {length} bytes, but {} follow", rest.len()));
    };
    if length > MAX_HEADER {
        return Err(format!("has a header of {length} bytes; the format allows {MAX_HEADER}"));
    }
    let (header, body) = rest.split_at(length);
    let mut reader = Header { text: header, at: 0 };
    let (arrays, metadata) = reader.contents()?;
    let mut ranges: Vec<_> = arrays.iter().map(|(name, array)| (array.offsets, name)).collect();
    ranges.sort_unstable();
    let mut end = 0;
    for ([from, to], name) in ranges {
        if from != end || to < from {
            return Err(format!("{name:?} lies at {from} to {to}, but what is before it ends at {end}"));
        }
        end = to;
    }
    if end != body.len() as u64 {
        return Err(format!(
            "is cut off or damaged: its arrays take {end} bytes, but {} are there",
            body.len()
        ));
    }
    let start = file.len() - body.len();
    let tensor = |(name, Array { number_type, shape, offsets: [from, to] }): (String, Array)| {
        let bytes = number_type.bytes_of(&shape);
        if bytes.map(|bytes| bytes as u64) != Some(to - from) {
            return Err(format!("{name:?} has {} bytes, which are not {number_type} {shape:?}", to - from));
        }
        let range = start + from as usize..start + to as usize;
        Ok((name, Tensor::part_of(file.clone(), range, number_type, shape)))
    };
    Ok((arrays.into_iter().map(tensor).collect::<Result<_, String>>()?, metadata))
}

/// Writes a file of weights, as PyTorch wants it.
pub(super) fn write(tensors: &BTreeMap<String, Tensor>, out: &mut dyn Write) -> io::Result<()> {
    write_parts(tensors, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]), out)
}

/// Writes arrays and metadata: the arrays of large numbers first, so that all are aligned.
pub(super) fn write_parts(
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut arrays: Vec<_> = tensors.iter().collect();
    arrays.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.number_type.size()));
    let pairs = metadata.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value)));
    let mut header = format!("{{\"{METADATA}\":{{{}}}", pairs.collect::<Vec<_>>().join(","));
    let mut end = 0;
    for (name, tensor) in &arrays {
        let start = end;
        end += tensor.len();
        let (number_type, shape) = (tensor.number_type, &tensor.shape);
        let _ = write!(
            header,
            ",{}:{{\"dtype\":\"{number_type}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}",
            quoted(name)
        );
    }
    header.push('}');
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    arrays.iter().try_for_each(|(_, tensor)| out.write_all(&tensor.bytes().map_err(io::Error::other)?))
}

/// Whether a name can be written.
pub(super) fn can_name(name: &str) -> bool {
    name != METADATA
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\0'..' ' => {
                let _ = write!(quoted, "\\u{:04x}", letter as u32);
            }
            _ => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// An array as the header describes it.
struct Array {
    number_type: NumberType,
    shape: Vec<usize>,
    offsets: [u64; 2],
}

/// A reader of the header.
struct Header<'a> {
    text: &'a [u8],
    at: usize,
}

impl Header<'_> {
    fn contents(&mut self) -> Result<Contents<Array>, String> {
        let (mut arrays, mut metadata, mut has_metadata) = (BTreeMap::new(), BTreeMap::new(), false);
        self.object(|header, name| {
            let is_first = if name == METADATA {
                header.object(|header, key| {
                    let value = header.string()?;
                    if metadata.insert(key, value).is_some() {
                        Err("metadata names a key twice".into())
                    } else {
                        Ok(())
                    }
                })?;
                !std::mem::replace(&mut has_metadata, true)
            } else {
                let array = header.array(&name)?;
                arrays.insert(name.clone(), array).is_none()
            };
            if is_first { Ok(()) } else { Err(format!("{name:?} is there twice")) }
        })?;
        if self.peek().is_some() {
            return Err(self.unexpected("the end of the header"));
        }
        Ok((arrays, metadata))
    }

    fn array(&mut self, name: &str) -> Result<Array, String> {
        let (mut number_type, mut shape, mut offsets) = (None, None, None);
        self.object(|header, key| {
            let is_first = match key.as_str() {
                "dtype" => {
                    let dtype = header.string()?;
                    let known = NumberType::named(&dtype);
                    let known =
                        known.ok_or_else(|| format!("{name:?} is of type {dtype:?}, which is not read"))?;
                    number_type.replace(known).is_none()
                }
                "shape" => {
                    let sizes = header
                        .numbers(MAX_AXES)
                        .map_err(|problem| format!("shape of {name:?}: {problem}"))?;
                    let size = |&size: &u64| {
                        usize::try_from(size).map_err(|_| format!("{name:?} is beyond any memory"))
                    };
                    shape.replace(sizes.iter().map(size).collect::<Result<Vec<_>, _>>()?).is_none()
                }
                "data_offsets" => {
                    let ends = <[u64; 2]>::try_from(header.numbers(2)?);
                    let ends = ends.map_err(|_| format!("data_offsets of {name:?} are not two numbers"))?;
                    offsets.replace(ends).is_none()
                }
                _ => return Err(format!("{name:?} has an unknown key {key:?}")),
            };
            if is_first { Ok(()) } else { Err(format!("{name:?} has {key:?} twice")) }
        })?;
        let (Some(number_type), Some(shape), Some(offsets)) = (number_type, shape, offsets) else {
            return Err(format!("{name:?} lacks one of dtype, shape and data_offsets"));
        };
        Ok(Array { number_type, shape, offsets })
    }

    /// `{"key": value, …}`, where `value` reads the value of a key.
    fn object(
        &mut self,
        mut value: impl FnMut(&mut Self, String) -> Result<(), String>,
    ) -> Result<(), String> {
        self.take(b'{')?;
        if self.peek() == Some(b'}') {
            return self.take(b'}');
        }
        loop {
            let key = self.string()?;
            self.take(b':')?;
            value(self, key)?;
            if self.peek() != Some(b',') {
                return self.take(b'}');
            }
            self.take(b',')?;
        }
    }

    /// `[1, 2, …]`, at most so many.
    fn numbers(&mut self, most: usize) -> Result<Vec<u64>, String> {
        self.take(b'[')?;
        let mut numbers = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(numbers);
        }
        loop {
            if numbers.len() == most {
                return Err(format!("more than {most} numbers at byte {}", self.byte()));
            }
            numbers.push(self.number()?);
            if self.peek() != Some(b',') {
                return self.take(b']').map(|()| numbers);
            }
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<u64, String> {
        self.peek();
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
        let is_canonical = digits == 1 || !text.starts_with('0');
        let number =
            text.parse().ok().filter(|_| is_canonical).ok_or_else(|| self.unexpected("a whole number"));
        self.at += digits;
        number
    }

    fn string(&mut self) -> Result<String, String> {
        self.take(b'"')?;
        let mut string = Vec::new();
        loop {
            let Some(&byte) = self.text.get(self.at) else {
                return Err(self.unexpected("the end of a string"));
            };
            self.at += 1;
            match byte {
                b'"' => {
                    return String::from_utf8(string)
                        .map_err(|_| format!("no UTF-8 before byte {}", self.byte()));
                }
                b'\\' => {
                    let letter = self.escaped()?;
                    string.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                }
                0..b' ' => return Err(format!("a control character at byte {}", self.byte() - 1)),
                _ => string.push(byte),
            }
        }
    }

    /// What a backslash stands before.
    fn escaped(&mut self) -> Result<char, String> {
        let escape = self.text.get(self.at).copied();
        self.at += 1;
        Ok(match escape {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(letter @ (b'"' | b'\\' | b'/')) => letter.into(),
            Some(b'u') => {
                let mut units = vec![self.unit()?];
                if (0xd800..0xdc00).contains(&units[0]) && self.text[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    units.push(self.unit()?);
                }
                let mut letters = char::decode_utf16(units);
                let only = letters.next().filter(|_| letters.next().is_none());
                only.and_then(Result::ok)
                    .ok_or_else(|| format!("half a character before byte {}", self.byte()))?
            }
            _ => return Err(format!("an unknown escape at byte {}", self.byte() - 1)),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, String> {
        let digits = self.text.get(self.at..self.at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| format!("four hexadecimal digits are missing at byte {}", self.byte()));
        self.at += 4;
        unit
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(&format!("{:?}", char::from(byte))));
        }
        self.at += 1;
        Ok(())
    }

    fn unexpected(&self, wanted: &str) -> String {
        format!("the header is damaged at byte {}: {wanted} is expected", self.byte())
    }

    /// Where the reader is in the file.
    fn byte(&self) -> usize {
        8 + self.at
    }
}
