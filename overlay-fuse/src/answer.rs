//! The one place where results become replies.

use bytes::Bytes;
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use overlay_core::attr::{Attr, StatFs};
use overlay_core::error::{Error, Result};

use crate::convert::{TTL, file_attr, negative};

/// A reply that a value of type `T` answers. Dropped unanswered (a panic), it answers EIO.
pub(crate) trait Answer<T>: Send + 'static {
    fn answer(self, result: Result<T>);
}

/// The errno of an error. What is nobody's fault but the machine's or the network's is logged as well.
pub(crate) fn errno(error: &Error) -> Errno {
    use overlay_core::error::Kind;
    match error.kind() {
        Kind::Io | Kind::Stale | Kind::Os(_) => tracing::error!(%error, "an operation failed"),
        _ => tracing::debug!(%error),
    }
    Errno::from_i32(error.errno())
}

/// The kernel tells files that had one number after another apart by it in the handles that it gives out, and it gives out
/// none: `FUSE_NO_EXPORT_SUPPORT`.
const GENERATION: Generation = Generation(0);

impl Answer<()> for ReplyEmpty {
    fn answer(self, result: Result<()>) {
        match result {
            Ok(()) => self.ok(),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<Attr> for ReplyAttr {
    fn answer(self, result: Result<Attr>) {
        match result {
            Ok(attr) => self.attr(&TTL, &file_attr(&attr)),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<Attr> for ReplyEntry {
    fn answer(self, result: Result<Attr>) {
        match result {
            Ok(attr) => self.entry(&TTL, &file_attr(&attr), GENERATION),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<Option<Attr>> for ReplyEntry {
    fn answer(self, result: Result<Option<Attr>>) {
        match result {
            Ok(Some(attr)) => self.entry(&TTL, &file_attr(&attr), GENERATION),
            Ok(None) => self.entry(&TTL, &negative(), GENERATION),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<(u64, FopenFlags)> for ReplyOpen {
    fn answer(self, result: Result<(u64, FopenFlags)>) {
        match result {
            Ok((fh, flags)) => self.opened(FileHandle(fh), flags),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<Bytes> for ReplyData {
    fn answer(self, result: Result<Bytes>) {
        match result {
            Ok(data) => self.data(&data),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<Vec<u8>> for ReplyData {
    fn answer(self, result: Result<Vec<u8>>) {
        match result {
            Ok(data) => self.data(&data),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<u32> for ReplyWrite {
    fn answer(self, result: Result<u32>) {
        match result {
            Ok(written) => self.written(written),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<u64> for ReplyLseek {
    fn answer(self, result: Result<u64>) {
        match result {
            Ok(offset) => self.offset(offset as i64),
            Err(error) => self.error(errno(&error)),
        }
    }
}

impl Answer<StatFs> for ReplyStatfs {
    fn answer(self, result: Result<StatFs>) {
        match result {
            Ok(s) => self.statfs(s.blocks, s.bfree, s.bavail, s.files, s.ffree, s.bsize, s.namelen, s.bsize),
            Err(error) => self.error(errno(&error)),
        }
    }
}

/// A reply with the size that the client has room for: 0 asks how much there is.
pub(crate) struct Sized(pub(crate) ReplyXattr, pub(crate) u32);

impl Answer<Vec<u8>> for Sized {
    fn answer(self, result: Result<Vec<u8>>) {
        let Self(reply, room) = self;
        match result {
            Ok(data) if room == 0 => reply.size(data.len() as u32),
            Ok(data) if data.len() > room as usize => reply.error(Errno::ERANGE),
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(errno(&error)),
        }
    }
}
