//! What a workload must have done, so that a broken mount cannot win.

use std::fs;
use std::io;
use std::path::Path;

use crate::calls::{NEW, WRITTEN};
use crate::failure::{Failure, Say};
use crate::scale::{BIG, Scale, TREE};

/// Looks at the tree after a workload, and at the number that the workload printed.
pub(crate) type Check = fn(&Path, Scale, u64) -> Result<(), Failure>;

/// Where a tar is extracted.
pub(crate) const EXTRACTED: &str = "extracted";
/// The mode of a file after `chmod go=`.
const CHANGED_MODE: u32 = 0o600;

pub(crate) fn all_bytes(_: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("bytes of all files", seen, scale.small_bytes() + scale.big_bytes)
}

pub(crate) fn small_bytes(_: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("bytes of the small files", seen, scale.small_bytes())
}

pub(crate) fn big_bytes(_: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("bytes of the large file", seen, scale.big_bytes)
}

pub(crate) fn all_missing(_: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("missing names", seen, scale.files)
}

pub(crate) fn mounted(root: &Path, scale: Scale, _: u64) -> Result<(), Failure> {
    equal("bytes of the large file", length(&root.join(BIG))?, scale.big_bytes)
}

pub(crate) fn unmounted(root: &Path, _: Scale, _: u64) -> Result<(), Failure> {
    equal("names in the mountpoint", names(root)?, 0)
}

pub(crate) fn extracted(root: &Path, scale: Scale, _: u64) -> Result<(), Failure> {
    let (files, bytes) = count(&root.join(EXTRACTED)).say("count what was extracted")?;
    equal("extracted files", files, scale.files)?;
    equal("extracted bytes", bytes, scale.small_bytes())
}

pub(crate) fn created(root: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("creations", seen, scale.files)?;
    equal("created files", names(&root.join(NEW))?, scale.files)
}

pub(crate) fn unlinked(root: &Path, scale: Scale, seen: u64) -> Result<(), Failure> {
    equal("removals", seen, scale.files)?;
    equal("files left", names(&root.join(NEW))?, 0)
}

pub(crate) fn removed(root: &Path, _: Scale, _: u64) -> Result<(), Failure> {
    equal("trees left", u64::from(root.join(TREE).exists()), 0)
}

pub(crate) fn written(root: &Path, scale: Scale, _: u64) -> Result<(), Failure> {
    equal("bytes written", length(&root.join(WRITTEN))?, scale.written_bytes)
}

pub(crate) fn changed(root: &Path, scale: Scale, _: u64) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mut changed = 0;
    for dir in scale.changed_dirs(root) {
        for entry in fs::read_dir(&dir).say(dir.display())? {
            let mode = entry.and_then(|entry| entry.metadata()).say(dir.display())?.permissions().mode();
            changed += u64::from(mode & 0o777 == CHANGED_MODE);
        }
    }
    equal("changed files", changed, scale.changed_files())
}

fn equal(what: &str, seen: u64, expected: u64) -> Result<(), Failure> {
    if seen == expected {
        return Ok(());
    }
    Err(Failure(format!("a wrong result: {seen} {what} instead of {expected}")))
}

fn length(path: &Path) -> Result<u64, Failure> {
    Ok(fs::metadata(path).say(path.display())?.len())
}

fn names(dir: &Path) -> Result<u64, Failure> {
    Ok(fs::read_dir(dir).say(dir.display())?.count() as u64)
}

/// Files below a directory, and their bytes.
fn count(dir: &Path) -> io::Result<(u64, u64)> {
    let mut total = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let (files, bytes) = if meta.is_dir() { count(&entry.path())? } else { (1, meta.len()) };
        total = (total.0 + files, total.1 + bytes);
    }
    Ok(total)
}
