//! A file system in memory that nobody sees, to try things out on.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::{KernelError, Log};

/// An empty tmpfs without a place; it is gone with the descriptor.
///
/// # Errors
/// What the kernel says to a tmpfs of this process.
pub fn scratch() -> Result<OwnedFd, KernelError> {
    let fail = |errno: Errno| KernelError::refused("a tmpfs to try things out on", errno, Log::default());
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map_err(fail)?;
    fsconfig_create(context.as_fd()).map_err(fail)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(fail)
}
