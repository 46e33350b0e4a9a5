//! Files made to do harm: each is an error that says what is wrong, or harmless.

use std::io::Write;

use dagrad::weights::Weights;
use dagrad::{Graph, Init, Plan, Store};
use flate2::Crc;
use flate2::write::DeflateEncoder;

use crate::allocation::peak_of;
use crate::common::{assert_mentions, message, run_alone};

/// A file of safetensors with this header and so many bytes after it.
fn safetensors(header: &str, bytes: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; bytes]].concat()
}

#[track_caller]
fn refuses(file: Vec<u8>, parts: &[&str]) {
    assert_mentions(&message(Weights::from_bytes(file)), parts);
}

#[test]
fn headers_of_safetensors_are_not_trusted() {
    let array = |rest: &str| format!("{{\"w\":{{{rest}}}}}");
    let good = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;
    assert!(Weights::from_bytes(safetensors(&array(good), 8)).is_ok());
    let cases: [(&str, usize, &[&str]); 20] = [
        (r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#, 7, &["8 bytes", "7 are there"]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#, 9, &["8 bytes", "9 are there"]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[4,12]"#, 12, &["\"w\"", "4 to 12", "ends at 0"]),
        (r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#, 8, &["\"w\" has 8 bytes", "F32 [3]"]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#, 8, &["8 to 0"]),
        (
            r#""dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]"#,
            8,
            &["18446744073709551615"],
        ),
        (r#""dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]"#, 8, &["a whole number"]),
        (
            r#""dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,8]"#,
            8,
            &["1152921504606846976"],
        ),
        (
            r#""dtype":"F32","shape":[0,1152921504606846976,16],"data_offsets":[0,0]"#,
            0,
            &["\"w\" has 0 bytes"],
        ),
        (r#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#, 8, &["a whole number"]),
        (r#""dtype":"F32","shape":[2.0],"data_offsets":[0,8]"#, 8, &["']'"]),
        (r#""dtype":"F32","shape":[02],"data_offsets":[0,8]"#, 8, &["a whole number"]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[0]"#, 8, &["data_offsets of \"w\""]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[0,8,8]"#, 8, &["more than 2"]),
        (r#""dtype":"F32","shape":[2]"#, 8, &["\"w\" lacks"]),
        (r#""dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]"#, 8, &["\"shape\" twice"]),
        (r#""dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]"#, 8, &["\"w\"", "F8_E4M3", "not read"]),
        (r#""dtype":"C64","shape":[1],"data_offsets":[0,8]"#, 8, &["\"w\"", "C64"]),
        (r#""dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1"#, 8, &["unknown key \"more\""]),
        (r#""dtype":"F32","shape":[[2]],"data_offsets":[0,8]"#, 8, &["a whole number"]),
    ];
    for (rest, bytes, parts) in cases {
        refuses(safetensors(&array(rest), bytes), parts);
    }
    let empty = Weights::from_bytes(safetensors(
        &array(r#""dtype":"F32","shape":[0,1152921504606846976],"data_offsets":[0,0]"#),
        0,
    ));
    assert_eq!(empty.unwrap().get::<f32>("w").unwrap().len(), 0);

    let one = |name: &str, at: usize| {
        format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[{at},{}]}}", at + 1)
    };
    refuses(safetensors(&format!("{{{},{}}}", one("a", 0), one("a", 1)), 2), &["\"a\" is there twice"]);
    refuses(safetensors(&format!("{{{},{}}}", one("a", 0), one("b", 0)), 1), &["\"b\"", "ends at 1"]);
    refuses(safetensors(&format!("{{{},{}}}", one("a", 0), one("b", 2)), 3), &["\"b\"", "ends at 1"]);
    let sums: Vec<_> = (0..8u64)
        .map(|i| {
            let size = (1u64 << 61) - 1;
            format!(
                "\"{i}\":{{\"dtype\":\"U8\",\"shape\":[{size}],\"data_offsets\":[{},{}]}}",
                i * size,
                (i + 1) * size
            )
        })
        .collect();
    refuses(safetensors(&format!("{{{}}}", sums.join(",")), 0), &["18446744073709551608 bytes, but 0"]);

    for (header, parts) in [
        ("{", "'\"' is expected"),
        ("{}x", "the end of the header"),
        ("{}\0\0", "the end of the header"),
        ("{\"a\":1}", "'{' is expected"),
        ("{\"__metadata__\":{\"a\":1}}", "'\"' is expected"),
        ("{\"__metadata__\":{},\"__metadata__\":{}}", "twice"),
        ("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", "twice"),
        ("{\"\\ud83d\":{}}", "half a character"),
        ("{\"\\ude00\":{}}", "half a character"),
        ("{\"\\ud83d\\u0041\":{}}", "half a character"),
        ("{\"\\u+041\":{}}", "hexadecimal"),
        ("{\"\\u00", "hexadecimal"),
        ("{\"\\x\":{}}", "escape"),
        ("{\"a\nb\":{}}", "control character"),
        ("{\"a", "end of a string"),
    ] {
        refuses(safetensors(header, 0), &[parts]);
    }
    refuses([&8u64.to_le_bytes()[..], b"{\"\xff\":{}}"].concat(), &["UTF-8"]);
    assert_eq!(Weights::from_bytes(safetensors("{\"__metadata__\":{}}   ", 0)).unwrap().names().count(), 0);
    for length in [9, 1 << 40, 1 << 63, u64::MAX, u64::MAX - 7] {
        refuses([&length.to_le_bytes()[..], b"{}      "].concat(), &["cut off"]);
    }
}

/// A member of an archive, with what can be wrong about it.
#[derive(Clone)]
struct Member {
    name: String,
    packed: Vec<u8>,
    size: u32,
    checksum: u32,
    method: u16,
    flags: u16,
}

fn member(name: &str, bytes: &[u8], deflate: bool) -> Member {
    let mut sum = Crc::new();
    sum.update(bytes);
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    let packed = if deflate { encoder.finish().unwrap() } else { bytes.to_vec() };
    let (size, method) = (bytes.len() as u32, if deflate { 8 } else { 0 });
    Member { name: name.into(), packed, size, checksum: sum.sum(), method, flags: 0 }
}

fn fields(member: &Member) -> Vec<u8> {
    let mut fields: Vec<u8> =
        [20, member.flags, member.method, 0, 0x21].into_iter().flat_map(u16::to_le_bytes).collect();
    fields.extend(
        [member.checksum, member.packed.len() as u32, member.size].into_iter().flat_map(u32::to_le_bytes),
    );
    fields.extend([member.name.len() as u16, 0].into_iter().flat_map(u16::to_le_bytes));
    fields
}

/// An archive; each entry of its directory points at the member of this number.
fn archive(members: &[Member], entries: &[usize]) -> Vec<u8> {
    let (mut file, mut starts, mut directory) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        starts.push(file.len() as u32);
        file.extend([b"PK\x03\x04", &fields(member)[..], member.name.as_bytes(), &member.packed].concat());
    }
    for &entry in entries {
        let member = &members[entry];
        directory.extend(
            [b"PK\x01\x02\x14\0", &fields(member)[..], &[0; 10], &starts[entry].to_le_bytes()].concat(),
        );
        directory.extend(member.name.as_bytes());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let ends = [directory.len(), file.len()].map(|number| (number as u32).to_le_bytes()).concat();
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &ends, &[0, 0]].concat());
    file
}

fn npy(header: &str, bytes: usize) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), &vec![0; bytes]].concat()
}

fn npz(header: &str, bytes: usize) -> Vec<u8> {
    archive(&[member("w.npy", &npy(header, bytes), false)], &[0])
}

#[test]
fn headers_of_numpy_are_not_trusted() {
    assert!(
        Weights::from_bytes(npz("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }\n", 8)).is_ok()
    );
    let cases: [(&str, &[&str]); 16] = [
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}", &["\"w\"", "objects of Python"]),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", &["\"<c8\"", "not read"]),
        ("{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", &["not read"]),
        (
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}",
            &["no array of numbers", "[('a'"],
        ),
        ("{'descr': '', 'fortran_order': False, 'shape': (2,)}", &["not read"]),
        ("{'descr': 'ü4', 'fortran_order': False, 'shape': (2,)}", &["not read"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", &["8 bytes are not F32 [3]"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976, 16)}", &["8 bytes"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", &["no array"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", &["no array"]),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}", &["no array"]),
        ("{'descr': '<f4', 'fortran_order': False}", &["no array"]),
        ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", &["no array"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", &["no array"]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1", &["no array"]),
        ("__import__('os').system('true')", &["no array"]),
    ];
    for (header, parts) in cases {
        refuses(npz(header, 8), parts);
    }
    let axes = format!("{{'descr': '<f4', 'fortran_order': True, 'shape': ({})}}", "1, ".repeat(65));
    refuses(npz(&axes, 4), &["no array"]);
    let file = |bytes: &[u8]| archive(&[member("w.npy", bytes, false)], &[0]);
    refuses(file(b""), &["version 1, 2 or 3"]);
    refuses(file(b"\x93NUMPY\x09\0\x01\0 "), &["version 1, 2 or 3"]);
    refuses(file(b"\x93NUMPY\x01\0\xff\xff{}"), &["cut off"]);
    refuses(file(b"\x93NUMPY\x02\0\xff\xff\xff\xff{}"), &["4294967295", "65536"]);
    let empty = Weights::from_bytes(npz(
        "{'descr': '>f8', 'fortran_order': True, 'shape': (1152921504606846975, 0, 9)}",
        0,
    ));
    assert!(empty.is_err() || empty.unwrap().get::<f32>("w").is_ok_and(|array| array.is_empty()));
}

#[test]
fn archives_are_not_trusted() {
    let good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 8);
    let [stored, deflated] = [false, true].map(|deflate| member("w.npy", &good, deflate));
    for whole in [&stored, &deflated] {
        let file = archive(std::slice::from_ref(whole), &[0]);
        assert_eq!(Weights::from_bytes(file).unwrap().get::<f32>("w").unwrap().len(), 2);
        refuses(archive(std::slice::from_ref(whole), &[0, 0]), &["\"w.npy\" is there twice"]);
        refuses(archive(&[Member { flags: 1, ..whole.clone() }], &[0]), &["encrypted"]);
        refuses(archive(&[Member { method: 12, ..whole.clone() }], &[0]), &["deflate"]);
        for size in [0, 1, 81, u32::MAX - 1, u32::MAX] {
            refuses(archive(&[Member { size, ..whole.clone() }], &[0]), &["w"]);
        }
    }
    refuses(archive(&[Member { checksum: 1, ..stored.clone() }], &[0]), &["checksum"]);
    let damaged = Weights::from_bytes(archive(&[Member { checksum: 1, ..deflated.clone() }], &[0])).unwrap();
    assert_mentions(&message(damaged.get::<f32>("w")), &["parameter w", "checksum"]);
    let mut store = Store::<f32>::new(0);
    store.set("w", &ndarray::ArrayD::ones(vec![2])).unwrap();
    assert_mentions(&message(damaged.load(&mut store)), &["\"w\"", "checksum", "hostile.rs"]);
    assert_eq!(store.get("w").unwrap().sum(), 2.0);
    refuses(archive(&[stored.clone(), member("readme.txt", b"hello", false)], &[0, 1]), &["\"readme.txt\""]);
    // Two entries of the directory, one member.
    let mut overlapping =
        archive(&[stored.clone(), Member { name: "v.npy".into(), ..stored.clone() }], &[0, 1]);
    let second = overlapping.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    overlapping[second + 42..second + 46].fill(0);
    refuses(overlapping.clone(), &["another name"]);
    overlapping[second + 46] = b'w';
    refuses(overlapping, &["twice"]);
    // A directory elsewhere, of another length, on another disk.
    let file = archive(&[stored], &[0]);
    let end = file.len() - 22;
    for (at, value) in [(4, 1), (8, 2), (10, 2), (12, 1), (15, 0x7f), (16, 9), (19, 0x7f)] {
        let mut lying = file.clone();
        lying[end + at] = value;
        refuses(lying, &["director"]);
    }
}

#[test]
fn memory_follows_the_file_and_the_network() {
    run_alone("weights::hostile::bombs_take_little_memory");
}

#[test]
#[ignore = "memory is counted in the whole process: the test above runs it in one of its own"]
fn bombs_take_little_memory() {
    // 64 MiB of zeros in 64 KiB.
    let bomb = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (4096, 4096)}", 1 << 26);
    let file = archive(&[member("w.npy", &bomb, true)], &[0]);
    drop(bomb);
    assert!(file.len() < 1 << 17);
    let graph = Graph::new();
    let mut store = Store::<f32>::new(0);
    store.prepare(&Plan::compile(&graph, &[graph.param("w", [2], Init::ZEROS)]).unwrap()).unwrap();
    let (error, peak) = peak_of(|| message(Weights::from_bytes(file.clone()).unwrap().load(&mut store)));
    assert_mentions(&error, &["[4096, 4096], but the store needs [2]"]);
    assert!(peak < 1 << 20, "{peak} bytes for a bomb");
    // What an array does not say that it holds is not unpacked.
    let more = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 1 << 26);
    let longer = Member { size: more.len() as u32 - (1 << 26) + 8, ..member("w.npy", &more, true) };
    drop(more);
    let file = archive(&[longer], &[0]);
    let (error, peak) = peak_of(|| message(Weights::from_bytes(file).unwrap().load(&mut store)));
    assert_mentions(&error, &["damaged"]);
    assert!(peak < 1 << 20, "{peak} bytes for a bomb");
    // Headers of a megabyte: of numbers, of nesting, of names.
    let zeros = format!(
        "{{\"w\":{{\"dtype\":\"F32\",\"shape\":[{}0],\"data_offsets\":[0,0]}}}}",
        "0,".repeat(500_000)
    );
    let nested = "{\"a\":".repeat(200_000);
    let lists = format!("{{\"w\":{{\"shape\":{}", "[".repeat(1_000_000));
    let name = format!("{{\"{}", "a".repeat(1_000_000));
    for header in [zeros, nested, lists, name] {
        let file = safetensors(&header, 0);
        let length = file.len();
        let (outcome, peak) = peak_of(|| Weights::from_bytes(file).is_err());
        assert!(outcome && peak < 4 * length, "{peak} bytes for a header of {length}");
    }
    // Names beyond count that are nearly those of the store.
    let names: Vec<_> = (0..20_000)
        .map(|i| format!("\"layer{i}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    let file = safetensors(&format!("{{{}}}", names.join(",")), 0);
    let length = file.len();
    let (error, peak) = peak_of(|| message(Weights::from_bytes(file).unwrap().load(&mut store)));
    assert!(error.contains("layer19999") && peak < 20 * length, "{peak} bytes for {length}");
}
