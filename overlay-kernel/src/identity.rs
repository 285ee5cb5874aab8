//! Which mount it is, so that another one in the same place is never taken away.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::error::KernelError;

/// A mount in its place.
///
/// Its number is unique since Linux 6.8; before, a number may come back for another mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    path: PathBuf,
    id: u64,
}

impl Mounted {
    /// What is mounted on `path`, topmost.
    ///
    /// # Errors
    /// [`KernelError::Target`] if there is no such place.
    pub fn at(path: &Path) -> Result<Self, KernelError> {
        let fail = |errno: Errno| KernelError::Target { path: path.into(), cause: errno.into() };
        Self::of(&open(path, OFlags::empty()).map_err(fail)?, path)
    }

    /// The mount that `mount` is a descriptor of, which is shown at `path` or will be.
    pub(crate) fn of(mount: &OwnedFd, path: &Path) -> Result<Self, KernelError> {
        let fail = |cause| KernelError::Target { path: path.into(), cause };
        let id = number(mount).map_err(|errno| fail(errno.into()))?;
        let path = path.canonicalize().map_err(fail)?;
        Ok(Self { path, id })
    }

    /// Where it is mounted: an absolute path without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mount's number: `STATX_MNT_ID_UNIQUE` where the kernel knows it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Unmounts it lazily, in use or not, if that very mount is still on top at its place; another mount there is
    /// left alone, and a mount that has gone is no error.
    ///
    /// # Errors
    /// [`KernelError::Unmount`] with the errno.
    pub fn unmount(&self) -> Result<(), KernelError> {
        let fail = |errno: Errno| KernelError::Unmount { path: self.path.clone(), cause: errno.into() };
        let there = match open(&self.path, OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            there => there.map_err(fail)?,
        };
        if number(&there).map_err(fail)? != self.id {
            return Ok(());
        }
        detach(&there).map_err(fail)
    }
}

/// Takes away, lazily, the mount whose root `root` is.
pub(crate) fn detach(root: impl AsFd) -> rustix::io::Result<()> {
    // By the descriptor's path: nothing that is mounted there meanwhile is met.
    let path = format!("/proc/self/fd/{}", root.as_fd().as_raw_fd());
    rustix::mount::unmount(path, UnmountFlags::DETACH)
}

fn open(path: &Path, more: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | more, Mode::empty())
}

/// The number of the mount that a descriptor is in, asked of the kernel alone and not of a server behind it.
pub(crate) fn number(fd: impl AsFd) -> rustix::io::Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let unique = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID | unique).map(|stat| stat.stx_mnt_id)
}

/// `linux/stat.h`; rustix has no name for it yet.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
