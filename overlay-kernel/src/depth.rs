//! How deep file systems are stacked: the kernel stacks at most two.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::statfs;
use rustix::io::Errno;

use crate::error::KernelError;
use crate::mount::detached;
use crate::plan::{Lower, Plan, Request};
use crate::probe::Means;
use crate::scratch::scratch;

/// `OVERLAYFS_SUPER_MAGIC` and `FUSE_SUPER_MAGIC` (`linux/magic.h`): what may itself lie on another file system.
const STACKING: [u64; 2] = [0x794c_7630, 0x6573_5546];

/// Whether a directory lies on so many file systems that the kernel's overlayfs takes it for no layer; found by trying
/// to merge it with nothing. `false` for what does not exist, and where it cannot be tried.
///
/// # Errors
/// What the kernel says but for that.
pub fn is_too_deep(directory: &Path, means: Means, runtime: &Path) -> Result<bool, KernelError> {
    let stacks = statfs(directory).is_ok_and(|stat| STACKING.contains(&(stat.f_type as u64)));
    if !stacks || means == Means::Legacy {
        return Ok(false);
    }
    let nothing = scratch()?;
    let path = format!("/proc/self/fd/{}", nothing.as_fd().as_raw_fd()).into();
    let lowers = vec![Lower::Directory(directory.into()), Lower::Directory(path)];
    // Two directories are never refused.
    let Ok(plan) = Plan::new(&Request { lowers, ..Request::default() }) else { return Ok(false) };
    match detached(&plan, &[], means, runtime) {
        Ok(_) => Ok(false),
        Err(error) if is_invalid(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_invalid(error: &KernelError) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.and_then(Errno::from_io_error) == Some(Errno::INVAL)
}
