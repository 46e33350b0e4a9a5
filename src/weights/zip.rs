//! ZIP archives, as far as NumPy writes them: members that are stored or deflated, and a directory at the end.
//!
//! Format: PKWARE's APPNOTE 6.3. What an archive claims is never trusted: all members lie in the file, beside each other.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::ops::Range;

use flate2::Crc;
use flate2::read::DeflateDecoder;

const MEMBER: &[u8] = b"PK\x03\x04";
const ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";

/// A member of an archive.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    /// Where its bytes are in the file.
    pub range: Range<usize>,
    /// How many bytes it has when it is unpacked.
    pub size: usize,
    pub is_deflated: bool,
    checksum: u32,
}

impl Member {
    /// The first bytes of it, at most so many, unpacked.
    pub fn start(&self, file: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let (mut start, bytes) = (Vec::new(), &file[self.range.clone()]);
        let limit = most.min(self.size) as u64;
        let outcome = if self.is_deflated {
            DeflateDecoder::new(bytes).take(limit).read_to_end(&mut start)
        } else {
            bytes.take(limit).read_to_end(&mut start)
        };
        outcome.map_err(|error| self.damaged(&error.to_string()))?;
        Ok(start)
    }

    /// All of it, unpacked.
    pub fn bytes(&self, file: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = self.start(file, usize::MAX)?;
        if bytes.len() != self.size {
            return Err(self.damaged("it is too short"));
        }
        self.check(&bytes)?;
        Ok(bytes)
    }

    /// Whether these are its bytes, unpacked, by their checksum.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if checksum(bytes) == self.checksum { Ok(()) } else { Err(self.damaged("its checksum differs")) }
    }

    fn damaged(&self, problem: &str) -> String {
        format!("member {:?} is damaged: {problem}", self.name)
    }
}

/// CRC-32.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = Crc::new();
    sum.update(bytes);
    sum.sum()
}

/// The members of an archive, given as a whole, in the order of its directory.
pub(super) fn members(file: &[u8]) -> Result<Vec<Member>, String> {
    let (directory, count) = directory(file)?;
    let mut entries = Reader { file: &file[..directory.end], at: directory.start };
    let mut members = Vec::new();
    let mut names = BTreeSet::new();
    while entries.at < directory.end {
        let member = member(file, &mut entries, directory.start)?;
        if !names.insert(member.name.clone()) {
            return Err(format!("{:?} is there twice", member.name));
        }
        members.push(member);
    }
    if members.len() as u64 != count {
        return Err(format!("its directory lists {} members, not {count}", members.len()));
    }
    let mut ranges: Vec<_> = members.iter().map(|member| member.range.clone()).collect();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    if ranges.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err("its members overlap".to_owned());
    }
    Ok(members)
}

/// Where the directory is, and how many entries it should have.
fn directory(file: &[u8]) -> Result<(Range<usize>, u64), String> {
    let no_end = || "is cut off, or no ZIP archive: it has no directory".to_owned();
    // The end record has 22 bytes and a comment, whose length is at its end.
    let earliest = file.len().saturating_sub(22 + usize::from(u16::MAX));
    let is_end = |&at: &usize| {
        let length = Reader { file, at: at + 20 }.u16().map(usize::from);
        file[at..].starts_with(END) && length.is_ok_and(|length| at + 22 + length == file.len())
    };
    let end = (earliest..(file.len() + 1).saturating_sub(22)).rev().find(is_end).ok_or_else(no_end)?;
    let mut record = Reader { file, at: end + 4 };
    let disks = [record.u16()?, record.u16()?];
    let counts = [record.u16()?, record.u16()?];
    let mut count = u64::from(counts[1]);
    let [mut size, mut start] = [u64::from(record.u32()?), u64::from(record.u32()?)];
    let mut stop = end;
    if let Some(locator) = end.checked_sub(20).filter(|&at| file[at..].starts_with(LOCATOR64)) {
        let at = Reader { file, at: locator + 8 }.size()?;
        if !file.get(at..).is_some_and(|rest| rest.starts_with(END64)) {
            return Err(no_end());
        }
        let mut record = Reader { file, at: at + 32 };
        (count, size, start) = (record.u64()?, record.u64()?, record.u64()?);
        stop = at;
    }
    let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(size)).ok());
    match range {
        Some((start, end)) if end == stop && start <= end && disks == [0, 0] && counts[0] == counts[1] => {
            Ok((start..end, count))
        }
        _ => Err(format!("is damaged: its directory of {size} bytes is not at byte {start}")),
    }
}

/// Reads an entry of the directory, and finds its member before `end`.
fn member(file: &[u8], entry: &mut Reader<'_>, end: usize) -> Result<Member, String> {
    let at = entry.at;
    if entry.take(4)? != ENTRY {
        return Err(format!("is damaged: no entry of its directory at byte {at}"));
    }
    entry.take(4)?; // versions
    let [flags, method] = [entry.u16()?, entry.u16()?];
    entry.take(4)?; // time
    let checksum = entry.u32()?;
    let mut sizes = [entry.u32()?, entry.u32()?].map(u64::from); // packed, unpacked
    let lengths = [entry.u16()?, entry.u16()?, entry.u16()?].map(usize::from); // name, extra fields, comment
    entry.take(8)?; // disk, attributes
    let mut start = u64::from(entry.u32()?);
    let name = entry.take(lengths[0])?;
    let name =
        String::from_utf8(name.to_vec()).map_err(|_| format!("the name at byte {} is no UTF-8", at + 46))?;
    let mut extra = Reader { file: entry.take(lengths[1])?, at: 0 };
    entry.take(lengths[2])?;
    while extra.at < extra.file.len() {
        let (kind, length) = (extra.u16()?, usize::from(extra.u16()?));
        let mut field = Reader { file: extra.take(length)?, at: 0 };
        // ZIP64 has the numbers that do not fit 32 bits, in this order.
        let [packed, size] = &mut sizes;
        for number in [size, packed, &mut start] {
            if kind == 1 && *number == u64::from(u32::MAX) {
                *number = field.u64()?;
            }
        }
    }
    if flags & 1 != 0 || !matches!(method, 0 | 8) {
        return Err(format!("member {name:?} is encrypted, or packed in another way than deflate"));
    }
    let outside = || format!("member {name:?} is not in the file");
    let mut header = Reader { file: &file[..end], at: usize::try_from(start).map_err(|_| outside())? };
    if header.take(4)? != MEMBER {
        return Err(outside());
    }
    header.take(22)?;
    let [own_name, own_extra] = [header.u16()?, header.u16()?].map(usize::from);
    if header.take(own_name)? != name.as_bytes() {
        return Err(format!("member {name:?} has another name where it lies"));
    }
    header.take(own_extra)?;
    let [packed, size] = sizes.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    let from = header.at;
    header.take(packed)?;
    let is_deflated = method == 8;
    if !is_deflated && packed != size {
        return Err(format!("member {name:?} is stored as {packed} bytes, not {size}"));
    }
    Ok(Member { name, range: from..header.at, size, is_deflated, checksum })
}

/// Reads little-endian numbers one after the other.
struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.file.len());
        let taken = end.and_then(|end| self.file.get(self.at..end));
        let taken =
            taken.ok_or_else(|| format!("is damaged: {length} bytes at {} are not there", self.at))?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N).map(|bytes| std::array::from_fn(|i| bytes[i]))
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number that is an offset in the file.
    fn size(&mut self) -> Result<usize, String> {
        let size = self.u64()?;
        usize::try_from(size).map_err(|_| format!("is damaged: byte {size} is not there"))
    }
}

/// A writer of archives with stored members.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    at: u64,
    directory: Vec<u8>,
    count: u16,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, at: 0, directory: Vec::new(), count: 0 }
    }

    /// Adds a member, whose bytes are `start` and `rest`.
    pub fn add(&mut self, name: &str, start: &[u8], rest: &[u8]) -> io::Result<()> {
        let too_large =
            |_| io::Error::other("a ZIP archive holds 4 GiB and 65535 short names; use .safetensors");
        let size = u32::try_from(start.len() + rest.len()).map_err(too_large)?;
        let name_length = u16::try_from(name.len()).map_err(too_large)?;
        let at = u32::try_from(self.at).map_err(too_large)?;
        let mut sum = Crc::new();
        sum.update(start);
        sum.update(rest);
        // Version 2.0, a name in UTF-8, stored, the first day that there is.
        let mut header: Vec<u8> = [20u16, 0x800, 0, 0, 0x21].into_iter().flat_map(u16::to_le_bytes).collect();
        header.extend([sum.sum(), size, size].into_iter().flat_map(u32::to_le_bytes));
        header.extend([name_length, 0].into_iter().flat_map(u16::to_le_bytes));
        for part in [MEMBER, &header, name.as_bytes(), start, rest] {
            self.out.write_all(part)?;
            self.at += part.len() as u64;
        }
        self.directory.extend(
            [ENTRY, &20u16.to_le_bytes(), &header, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat(),
        );
        self.count = self.count.checked_add(1).ok_or_else(|| io::Error::other("more than 65535 arrays"))?;
        Ok(())
    }

    /// Writes the directory.
    pub fn finish(self) -> io::Result<()> {
        let too_large = |_| io::Error::other("a ZIP archive holds 4 GiB; use .safetensors");
        let at = u32::try_from(self.at).map_err(too_large)?;
        let size = u32::try_from(self.directory.len()).map_err(too_large)?;
        let mut end: Vec<u8> =
            [0, 0, self.count, self.count].into_iter().flat_map(u16::to_le_bytes).collect();
        end.extend([size, at].into_iter().flat_map(u32::to_le_bytes));
        self.out.write_all(&[&self.directory, END, &end, &[0, 0]].concat())
    }
}
