//! Files that are whole or not there, whatever happens while they are written.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Writes a file: into a sibling, which takes the name once all of it is on the disk. Until then an earlier file of this name
/// stays as it is, and if anything fails it stays for good. A link keeps pointing where it does.
///
/// # Errors
/// [`Error::Data`] with the step that failed: a folder that is missing or read-only, a full disk.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let failed = |step: &str, error: io::Error| Error::Data {
        path: path.to_owned(),
        message: format!("{step}: {error}; what was there is unchanged"),
    };
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        let message = "is a folder or a device, and cannot be replaced by a file".to_owned();
        return Err(Error::Data { path: path.to_owned(), message });
    }
    let Some(name) = target.file_name() else {
        return Err(Error::Data { path: path.to_owned(), message: "names no file".to_owned() });
    };
    let folder = above(&target);
    let sibling = Sibling(folder.join(sibling_name(name.to_owned())));
    let create = OpenOptions::new().write(true).create_new(true).open(&sibling.0);
    let mut file =
        BufWriter::new(create.map_err(|error| failed("a file cannot be created beside it", error))?);
    fill(&mut file).and_then(|()| file.flush()).map_err(|error| failed("it cannot be written", error))?;
    // A full disk may be noticed only here.
    file.get_ref().sync_all().map_err(|error| failed("it does not reach the disk", error))?;
    drop(file);
    fs::rename(&sibling.0, &target).map_err(|error| failed("the new file cannot take its name", error))?;
    sync_folder(folder).map_err(|error| failed("its folder does not reach the disk", error))
}

/// Makes a folder and those above it, so that they last.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let new: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
    fs::create_dir_all(folder)?;
    new.into_iter().try_for_each(|path| sync_folder(above(path)))
}

/// The folder that something lies in.
fn above(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that no other writer has, on this machine and at this time.
fn sibling_name(name: OsString) -> OsString {
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    let mut sibling = OsString::from(".");
    sibling.push(name);
    sibling.push(format!(".{}.{}.tmp", process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    sibling
}

/// The unfinished file; it does not stay behind.
struct Sibling(PathBuf);

impl Drop for Sibling {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // once it has its name there is none
    }
}

/// Makes the new name last. (Windows has no such call and needs none.)
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
