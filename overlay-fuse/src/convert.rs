//! Between fuser's types and the core's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, OpenAccMode, OpenFlags, TimeOrNow};
use overlay_core::attr::{Attr, Kind, SetTime, Time};
use overlay_core::error::{Error, Kind as ErrorKind, Result};
use overlay_core::layer::Seek;
use overlay_core::overlay::Open;

/// How long the kernel may keep names and attributes: whatever changes them goes through this mount, so for good.
pub(crate) const TTL: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::Block => FileType::BlockDevice,
        Kind::Char => FileType::CharDevice,
    }
}

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// What `lseek(2)` asks of a file system: the rest the kernel does by itself.
pub(crate) fn seek(offset: i64, whence: i32) -> Result<(u64, Seek)> {
    let what = match whence {
        SEEK_DATA => Seek::Data,
        SEEK_HOLE => Seek::Hole,
        _ => return Err(Error::new(ErrorKind::Invalid, "lseek")),
    };
    let offset = u64::try_from(offset).map_err(|_| Error::new(ErrorKind::NoSuchDevice, "lseek"))?;
    Ok((offset, what))
}

/// The type in the bits of `mknod`'s mode.
pub(crate) fn kind_of_mode(mode: u32) -> Option<Kind> {
    match mode & 0o170_000 {
        0 | 0o100_000 => Some(Kind::File),
        0o010_000 => Some(Kind::Fifo),
        0o140_000 => Some(Kind::Socket),
        0o060_000 => Some(Kind::Block),
        0o020_000 => Some(Kind::Char),
        _ => None,
    }
}

pub(crate) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(attr.atime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: (attr.mode & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        // Linux's encoding in 32 bits and makedev's agree in the bits that Linux has.
        rdev: attr.rdev as u32,
        blksize: attr.blksize,
        flags: 0,
    }
}

/// The keys one after the other, each with a NUL behind it. `trusted.` is for the privileged alone.
pub(crate) fn key_list(keys: Vec<Vec<u8>>, privileged: bool) -> Vec<u8> {
    let shown = keys.into_iter().filter(|key| privileged || !key.starts_with(b"trusted."));
    shown
        .flat_map(|mut key| {
            key.push(0);
            key
        })
        .collect()
}

/// An entry that says that the name does not exist, which the kernel may remember.
pub(crate) fn negative() -> FileAttr {
    FileAttr { ino: INodeNo(0), ..file_attr(&Attr::new(Kind::File, 0, 0, 0, Time::default())) }
}

/// Times past what the clock of the standard library holds are cut off at its end.
fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nsec.into());
    let seconds = Duration::from_secs(time.sec.unsigned_abs());
    let whole = if time.sec >= 0 { UNIX_EPOCH.checked_add(seconds) } else { UNIX_EPOCH.checked_sub(seconds) };
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// fuser 0.18 makes of a time before 1970 (seconds -2, nanoseconds 5) the moment 2.000000005 seconds before 1970,
/// not 1.999999995. This takes it apart the way that it was put together; a test over a real mount watches it.
pub(crate) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Time { sec: after.as_secs() as i64, nsec: after.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                Time { sec: (before.as_secs() as i64).wrapping_neg(), nsec: before.subsec_nanos() }
            }
        }),
    }
}

/// The kernel's `O_TRUNC` on every architecture that FUSE's protocol is used on.
const O_TRUNC: i32 = 0o1000;

pub(crate) fn open(flags: OpenFlags) -> Open {
    let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
    Open { write, truncate: flags.0 & O_TRUNC != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_keys_are_listed_to_the_privileged_alone() {
        let keys = || vec![b"trusted.x".to_vec(), b"user.y".to_vec()];
        assert_eq!(key_list(keys(), true), b"trusted.x\0user.y\0");
        assert_eq!(key_list(keys(), false), b"user.y\0");
    }

    #[test]
    fn times_before_1970_are_given_to_the_nanosecond() {
        let time = Time { sec: -2, nsec: 800_000_000 };
        assert_eq!(UNIX_EPOCH.duration_since(system_time(time)).unwrap(), Duration::from_millis(1200));
        for sec in [i64::MIN, i64::MAX, -1, 0, 1 << 40] {
            system_time(Time { sec, nsec: 999_999_999 });
        }
    }

    #[test]
    fn fusers_reading_of_times_before_1970_is_undone() {
        let fuser = UNIX_EPOCH - Duration::new(2, 5);
        assert_eq!(set_time(TimeOrNow::SpecificTime(fuser)), SetTime::At(Time { sec: -2, nsec: 5 }));
    }

    #[test]
    fn open_flags_say_whether_to_copy_up() {
        assert_eq!(open(OpenFlags(0)), Open { write: false, truncate: false });
        assert_eq!(open(OpenFlags(2 | 0o1000)), Open { write: true, truncate: true });
        assert_eq!(open(OpenFlags(0o1000)), Open { write: false, truncate: true });
    }
}
