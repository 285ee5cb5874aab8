//! What is mounted where, as `/proc/self/mountinfo` tells it (proc_pid_mountinfo(5)).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};

use crate::compat::Propagation;
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
    /// The mount point.
    pub(crate) path: PathBuf,
    /// The upper of a mount of the kernel's overlayfs, as the mount shows it.
    pub(crate) upper: Option<PathBuf>,
    /// The user whom a FUSE mount belongs to.
    pub(crate) owner: Option<u32>,
}

/// The mount that one sees at `path`, if the path is a mount point.
pub(crate) fn topmost(path: &Path) -> Result<Option<Entry>> {
    let path = real(path);
    // A mount on top of another comes later.
    Ok(all()?.into_iter().rev().find(|entry| entry.path == path))
}

/// The union that is mounted on `path`, by whichever engine.
pub(crate) fn union_at(path: &Path) -> Result<Entry> {
    let shown = path.display();
    match topmost(path)? {
        Some(mount) if matches!(mount.kind.as_str(), "overlay" | "fuse.overlay") => Ok(mount),
        Some(mount) => {
            Err(Failure::new(format!("{shown} is a mount of type {}, no union; use umount", mount.kind)))
        }
        None if is_absent(path) => Err(Failure::new(format!("mount point {shown} does not exist"))),
        None => Err(Failure::new(format!("nothing is mounted on {shown}"))),
    }
}

fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Says of the mount at `path` whether what is mounted inside shows elsewhere, where somebody asked for it. Who needs
/// fusermount3 to mount may not say so.
pub(crate) fn propagate(path: &Path, how: Option<Propagation>) -> Result<()> {
    let flags = match how {
        None => return Ok(()),
        Some(Propagation::Private) => MountPropagationFlags::PRIVATE,
        Some(Propagation::Shared) => MountPropagationFlags::SHARED,
        Some(Propagation::Slave) => MountPropagationFlags::DOWNSTREAM,
        Some(Propagation::Unbindable) => MountPropagationFlags::UNBINDABLE,
    };
    match mount_change(path, flags) {
        Err(Errno::PERM) => tracing::warn!("the propagation of {} stays as it is", path.display()),
        changed => changed.map_err(|errno| {
            Failure::cannot(format_args!("set the propagation of {}", path.display()), errno)
        })?,
    }
    Ok(())
}

/// All mounts that this process can see.
pub(crate) fn all() -> Result<Vec<Entry>> {
    let table = fs::read("/proc/self/mountinfo")
        .map_err(|error| Failure::cannot("read /proc/self/mountinfo", error))?;
    Ok(table.split(|b| *b == b'\n').filter_map(entry).collect())
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
    let mut fields = line.split(|b| *b == b' ');
    let id = fields.next()?;
    let device = fields.nth(1)?;
    let path = fields.nth(1)?;
    let mut fields = fields.skip_while(|field| *field != b"-");
    let kind = fields.nth(1)?;
    let options = fields.nth(1).unwrap_or_default();
    // One that was named from a directory that nobody knows leads nowhere from here.
    let upper =
        value(options, b"upperdir=").filter(|path| kind == b"overlay" && Path::new(path).is_absolute());
    let owner = value(options, b"user_id=").and_then(|id| id.to_str()?.parse().ok());
    let text = |field| unescape(field).to_string_lossy().into_owned();
    Some(Entry {
        id: text(id),
        device: text(device),
        kind: text(kind),
        path: unescape(path).into(),
        upper: upper.map(PathBuf::from),
        owner,
    })
}

/// The value of an option of a file system.
fn value(options: &[u8], key: &[u8]) -> Option<OsString> {
    let mut options = options.split(|b| *b == b',');
    options.find_map(|option| option.strip_prefix(key)).map(unescape)
}

/// A field without its escapes: space, tab, newline, comma and backslash stand in octal.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let byte =
            octal.and_then(|digits| u8::from_str_radix(&OsStr::from_bytes(digits).to_string_lossy(), 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[3..] } else { tail };
    }
    OsString::from_vec(out)
}

/// An entry for tests of other rooms.
#[cfg(test)]
pub(crate) fn tests_entry(device: &str) -> Entry {
    Entry {
        id: "1".into(),
        device: device.into(),
        kind: "fuse.overlay".into(),
        path: "/".into(),
        upper: None,
        owner: None,
    }
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
                upper: None,
                owner: None,
            };
            assert_eq!(entry(line.as_bytes()), Some(expected));
        }
        let line = b"1 2 0:3 / /m rw - overlay x rw,lowerdir+=/l,upperdir=/u\\054\\072v,workdir=/w";
        assert_eq!(entry(line).unwrap().upper, Some("/u,:v".into()));
        for other in ["ext4 x rw,upperdir=/u", "overlay x rw,upperdir=u"] {
            assert_eq!(entry(format!("1 2 0:3 / /m rw - {other}").as_bytes()).unwrap().upper, None);
        }
        assert_eq!(
            entry(b"1 2 0:3 / /m rw - fuse.overlay x rw,user_id=7,group_id=8").unwrap().owner,
            Some(7)
        );
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
