//! The operations' words in those of the system calls.

use rustix::fs::{AtFlags, FallocateFlags, OFlags, RenameFlags, Timespec, UTIME_OMIT, XattrFlags};

use super::op::{FallocateHow, OpenHow, RenameHow, XattrHow};

pub fn open_flags(how: OpenHow) -> OFlags {
    match how {
        OpenHow::Read => OFlags::RDONLY,
        OpenHow::ReadWrite => OFlags::RDWR,
        OpenHow::WriteAppend => OFlags::WRONLY | OFlags::APPEND,
        OpenHow::ReadTruncate => OFlags::RDONLY | OFlags::TRUNC,
        OpenHow::CreateReadWrite => OFlags::RDWR | OFlags::CREATE,
        OpenHow::Path => OFlags::PATH | OFlags::NOFOLLOW,
    }
}

pub fn rename_flags(how: RenameHow) -> RenameFlags {
    match how {
        RenameHow::Plain => RenameFlags::empty(),
        RenameHow::NoReplace => RenameFlags::NOREPLACE,
        RenameHow::Exchange => RenameFlags::EXCHANGE,
        RenameHow::Whiteout => RenameFlags::WHITEOUT,
    }
}

pub fn xattr_flags(how: XattrHow) -> XattrFlags {
    match how {
        XattrHow::Any => XattrFlags::empty(),
        XattrHow::Create => XattrFlags::CREATE,
        XattrHow::Replace => XattrFlags::REPLACE,
    }
}

pub fn fallocate_flags(how: FallocateHow) -> FallocateFlags {
    match how {
        FallocateHow::Extend => FallocateFlags::empty(),
        FallocateHow::KeepSize => FallocateFlags::KEEP_SIZE,
        FallocateHow::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        FallocateHow::Zero => FallocateFlags::ZERO_RANGE,
        FallocateHow::ZeroKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    }
}

pub fn at_flags(follow: bool) -> AtFlags {
    if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW }
}

pub fn time(sec: Option<i64>) -> Timespec {
    match sec {
        Some(tv_sec) => Timespec { tv_sec, tv_nsec: 5 },
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    }
}
