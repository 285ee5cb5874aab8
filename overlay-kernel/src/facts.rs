//! What can be seen of the layers of a union that the kernel refused.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;

use crate::error::KernelError;
use crate::explain;
use crate::identity;
use crate::layers::{Layers, Opened};
use crate::plan::{Plan, Role};
use crate::probe::Offer;

/// What can be seen of one layer; what cannot is left at nothing, since it is for a better sentence only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What it is to the union.
    pub(crate) role: Option<Role>,
    /// What people call it.
    pub(crate) name: String,
    /// Its path without symbolic links, if it has one.
    pub(crate) path: Option<PathBuf>,
    /// Which directory it is: device and inode.
    pub(crate) id: (u64, u64),
    /// Which mount it is in.
    pub(crate) mount: u64,
    /// The file system's magic number.
    pub(crate) magic: i64,
    /// Whether it cannot be written.
    pub(crate) read_only: bool,
    /// Whether it is the work directory of a volatile mount.
    pub(crate) volatile: bool,
}

/// An error that says what is wrong with the layers, where that can be seen; else the same error.
pub(crate) fn explain(error: KernelError, plan: &Plan, layers: &Layers<'_>) -> KernelError {
    let KernelError::Refused { step, cause, said } = error else { return error };
    // An option that this kernel does not know has nothing to do with the layers.
    let of_an_option = plan.settings.iter().any(|setting| setting.to_string() == step);
    let errno = Errno::from_io_error(&cause).filter(|_| !of_an_option);
    let reason = errno.and_then(|errno| match (errno, Offer::probe()) {
        (Errno::PERM, Offer::Nothing(why)) => Some(why),
        _ => explain::reason(errno, plan, &layers.iter().map(see).collect::<Vec<_>>()),
    });
    match reason {
        Some(reason) => KernelError::Explained { reason, cause, said },
        None => KernelError::Refused { step, cause, said },
    }
}

fn see(layer: &Opened<'_>) -> Seen {
    let fd = layer.as_fd();
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let id = rustix::fs::statx(fd, "", flags, StatxFlags::INO);
    let id = id.map(|stat| (device(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino));
    let read_only = rustix::fs::fstatvfs(fd).map(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    Seen {
        role: Some(layer.role),
        name: layer.name.clone(),
        path: layer.path.as_ref().and_then(|_| path(layer)),
        id: id.unwrap_or_default(),
        mount: identity::number(fd).unwrap_or_default(),
        magic: rustix::fs::fstatfs(fd).map(|stat| stat.f_type).unwrap_or_default(),
        read_only: read_only.unwrap_or_default(),
        volatile: layer.role == Role::Work && is_volatile(fd),
    }
}

fn device(major: u32, minor: u32) -> u64 {
    u64::from(major) << 32 | u64::from(minor)
}

fn path(layer: &Opened<'_>) -> Option<PathBuf> {
    let path = rustix::fs::readlink(layer.path_of_descriptor(), Vec::new()).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}

fn is_volatile(work: BorrowedFd<'_>) -> bool {
    rustix::fs::statat(work, "work/incompat/volatile", AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
