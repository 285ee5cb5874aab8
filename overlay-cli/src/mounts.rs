//! What is mounted where, as `/proc/self/mountinfo` tells it (proc_pid_mountinfo(5)).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The number of the mount, which the machine uses again once the mount is gone.
    pub(crate) id: String,
    /// The device, as `0:52`: it names the file system, wherever that is mounted.
    pub(crate) device: String,
    /// The type, as `fuse.overlay`.
    pub(crate) kind: String,
    path: PathBuf,
}

/// The mount that one sees at `path`, if the path is a mount point.
pub(crate) fn topmost(path: &Path) -> Result<Option<Entry>> {
    let table = fs::read("/proc/self/mountinfo")
        .map_err(|error| Failure::cannot("read /proc/self/mountinfo", error))?;
    let path = real(path);
    // A mount on top of another comes later.
    Ok(table.split(|b| *b == b'\n').rev().filter_map(entry).find(|entry| entry.path == path))
}

/// The path without links. The last component may be a mount whose server is dead and is then left as it is.
fn real(path: &Path) -> PathBuf {
    let by_parent = || {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(by_parent).unwrap_or_else(|| path.into())
}

fn entry(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|b| *b == b' ').map(|field| OsString::from_vec(unescape(field)));
    let id = fields.next()?;
    let device = fields.nth(1)?;
    let path = fields.nth(1)?;
    let kind = fields.skip_while(|field| field != OsStr::new("-")).nth(1)?;
    let text = |field: OsString| field.to_string_lossy().into_owned();
    Some(Entry { id: text(id), device: text(device), kind: text(kind), path: path.into() })
}

/// A field without its escapes: space, tab, newline and backslash stand in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let byte =
            octal.and_then(|digits| u8::from_str_radix(&OsStr::from_bytes(digits).to_string_lossy(), 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    out
}

/// An entry for tests of other rooms.
#[cfg(test)]
pub(crate) fn tests_entry(device: &str) -> Entry {
    Entry { id: "1".into(), device: device.into(), kind: "fuse.overlay".into(), path: "/".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_and_without_optional_fields() {
        for optional in ["", "shared:3 ", "shared:3 master:1 "] {
            let line = format!("36 35 0:52 / /a\\040b\\134c rw,nosuid {optional}- fuse.overlay overlay rw");
            let expected = Entry {
                id: "36".into(),
                device: "0:52".into(),
                kind: "fuse.overlay".into(),
                path: "/a b\\c".into(),
            };
            assert_eq!(entry(line.as_bytes()), Some(expected));
        }
        assert_eq!(entry(b""), None);
        assert_eq!(entry(b"36 35 0:52 / /a rw"), None);
    }

    #[test]
    fn a_mount_point_is_found_and_a_directory_is_none() {
        assert_eq!(topmost(Path::new("/proc/.")).unwrap().unwrap().kind, "proc");
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(topmost(temp.path()).unwrap(), None);
        assert_eq!(topmost(&temp.path().join("none")).unwrap(), None);
    }

    #[test]
    fn what_does_not_exist_is_placed_by_its_parent() {
        assert_eq!(real(Path::new("/proc/../none")), Path::new("/none"));
        assert_eq!(real(Path::new("none")), std::env::current_dir().unwrap().join("none"));
    }
}
