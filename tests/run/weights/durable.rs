//! A file is there as a whole or not at all.

use std::fs;

use dagrad::weights::Weights;

use super::{Folder, read};
use crate::common::{assert_mentions, message};

#[test]
fn nothing_stays_beside_a_file() {
    let folder = Folder::new("beside");
    for _ in 0..2 {
        read("types.npz").save(folder.file("net.npz")).unwrap();
        assert_eq!(folder.names(), ["net.npz"]);
    }
}

#[test]
fn an_earlier_file_outlives_what_fails() {
    let folder = Folder::new("outlives");
    let path = folder.file("net.safetensors");
    read("layers.safetensors").save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    // An array that turns out to be damaged only when it is written.
    let mut bytes = fs::read(super::golden("small-compressed.npz")).unwrap();
    let entry = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 16] ^= 1; // the checksum
    let damaged = Weights::from_bytes(bytes).unwrap();
    assert_mentions(&message(damaged.save(&path)), &["net.safetensors", "checksum", "unchanged"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(folder.names(), ["net.safetensors"]);
    let missing = folder.file("nowhere").join("net.npz");
    assert_mentions(&message(read("types.npz").save(missing)), &["cannot be created", "No such file"]);
    fs::create_dir(folder.file("folder.npz")).unwrap();
    assert_mentions(&message(read("types.npz").save(folder.file("folder.npz"))), &["is a folder"]);
    assert_eq!(folder.names(), ["folder.npz", "net.safetensors"]);
}

#[test]
#[cfg(unix)]
fn a_link_keeps_pointing_where_it_does() {
    let folder = Folder::new("link");
    fs::create_dir(folder.file("real")).unwrap();
    fs::write(folder.file("real").join("1.npz"), "old").unwrap();
    std::os::unix::fs::symlink("real/1.npz", folder.file("latest.npz")).unwrap();
    read("types.npz").save(folder.file("latest.npz")).unwrap();
    assert!(fs::symlink_metadata(folder.file("latest.npz")).unwrap().is_symlink());
    assert!(Weights::read(folder.file("real").join("1.npz")).is_ok());
}

/// The shell ignores the signal that a file at its limit raises, so that writing fails as on a full disk.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_grow_is_an_error() {
    let folder = Folder::new("full");
    let limited =
        "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact weights::durable::writes --ignored --nocapture";
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap()).env("DAGRAD_FULL", &folder.0);
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
#[ignore = "runs in a process whose files may not grow"]
fn writes() {
    let path = std::path::PathBuf::from(std::env::var("DAGRAD_FULL").unwrap()).join("net.npz");
    assert_mentions(&message(read("types.npz").save(path)), &["cannot be written", "File too large"]);
}
