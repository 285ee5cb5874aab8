//! A mount is made read-only or writable while it is there.
//!
//! `fspick` and `mount_setattr` where they are, `mount(2)` where not.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsPickFlags, MountFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick, mount_remount,
};

use crate::error::{KernelError, Log};

/// Changes what is mounted on `target`, of whatever type it is, while it is there: read-only, writable, or (`None`) as
/// it is. In any case the kernel drops the names that it keeps of it and nobody uses, and looks at an upper anew.
///
/// File system and mount are both changed; other mounts of the same file system follow it. If the second step fails,
/// what is mounted stays or becomes read-only.
///
/// # Errors
/// [`KernelError::Remount`]: EROFS if there is no upper to write to, EBUSY if files are open for writing, EINVAL if
/// nothing is mounted on `target`, EPERM without CAP_SYS_ADMIN.
pub fn remount(target: &Path, read_only: Option<bool>) -> Result<(), KernelError> {
    change(target, read_only).map_err(|(errno, said)| KernelError::Remount {
        path: target.into(),
        hint: hint(errno),
        cause: errno.into(),
        said,
    })
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ROFS => " for writing (a union without an upper can only be read)",
        Errno::BUSY => " (files there are open for writing; close them first)",
        Errno::INVAL => " (name the mount point itself)",
        Errno::PERM => " (this process needs CAP_SYS_ADMIN over the mount)",
        _ => "",
    }
}

type Failed = (Errno, Log);

fn silent(errno: Errno) -> Failed {
    (errno, Log::default())
}

fn change(target: &Path, read_only: Option<bool>) -> Result<(), Failed> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let mount = rustix::fs::open(target, flags, Mode::empty()).map_err(silent)?;
    // In this order: whatever fails, nothing has become writable that was not.
    if read_only == Some(false) {
        set_mount(mount.as_fd(), false).map_err(silent)?;
    }
    match reconfigure(mount.as_fd(), read_only) {
        Err((errno, _)) if is_missing(errno) => return by_mount(mount.as_fd(), read_only).map_err(silent),
        done => done?,
    }
    if read_only == Some(true) {
        set_mount(mount.as_fd(), true).map_err(silent)?;
    }
    Ok(())
}

/// Whether a call may be missing: filters of containers that do not know it answer EPERM. Who may not mount is told
/// the same by `mount(2)`.
fn is_missing(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM)
}

/// Changes the file system.
fn reconfigure(mount: BorrowedFd<'_>, read_only: Option<bool>) -> Result<(), Failed> {
    match read_only {
        Some(true) => reconfigure_with(mount, Some("ro")),
        Some(false) => reconfigure_with(mount, Some("rw")),
        // Overlayfs takes silence for a wish to write, which a union without an upper cannot grant.
        None => match reconfigure_with(mount, None) {
            Err((Errno::ROFS, _)) => reconfigure_with(mount, Some("ro")),
            done => done,
        },
    }
}

/// A context serves for one attempt.
fn reconfigure_with(mount: BorrowedFd<'_>, word: Option<&str>) -> Result<(), Failed> {
    let context = fspick(mount, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH);
    let context = context.map_err(silent)?;
    let told = word.map_or(Ok(()), |word| fsconfig_set_flag(&context, word));
    let done = told.and_then(|()| fsconfig_reconfigure(&context));
    done.map_err(|errno| (errno, Log::read(context.as_fd())))
}

/// Changes the mount alone.
fn set_mount(mount: BorrowedFd<'_>, read_only: bool) -> rustix::io::Result<()> {
    match set_attribute(mount, read_only) {
        Err(errno) if is_missing(errno) => set_mount_by_mount(mount, read_only),
        done => done,
    }
}

fn set_attribute(mount: BorrowedFd<'_>, read_only: bool) -> rustix::io::Result<()> {
    let (set, clear) = if read_only { (libc::MOUNT_ATTR_RDONLY, 0) } else { (0, libc::MOUNT_ATTR_RDONLY) };
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    // SAFETY: rustix has no call; the path is a string, the structure is as long as is said, and both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// `mount(2)` on the mount alone.
fn set_mount_by_mount(mount: BorrowedFd<'_>, read_only: bool) -> rustix::io::Result<()> {
    let flags = flags(mount, Some(read_only))? | MountFlags::BIND;
    mount_remount(path(mount), flags, c"")
}

/// `mount(2)` on file system and mount.
fn by_mount(mount: BorrowedFd<'_>, read_only: Option<bool>) -> rustix::io::Result<()> {
    mount_remount(path(mount), flags(mount, read_only)?, c"")
}

fn path(mount: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", mount.as_raw_fd())
}

/// The flags that the mount has: `mount(2)` clears what it is not told.
fn flags(mount: BorrowedFd<'_>, read_only: Option<bool>) -> rustix::io::Result<MountFlags> {
    let had = rustix::fs::fstatvfs(mount)?.f_flag;
    let kept: MountFlags = [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        (StatVfsMountFlags::SYNCHRONOUS, MountFlags::SYNCHRONOUS),
        (StatVfsMountFlags::from_bits_retain(ST_NOSYMFOLLOW), MountFlags::NOSYMFOLLOW),
    ]
    .into_iter()
    .filter_map(|(had_it, flag)| had.contains(had_it).then_some(flag))
    .collect();
    let read_only = read_only.unwrap_or(had.contains(StatVfsMountFlags::RDONLY));
    let strict = !had.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RELATIME);
    let wanted = [(read_only, MountFlags::RDONLY), (strict, MountFlags::STRICTATIME)];
    Ok(wanted.into_iter().fold(kept, |flags, (set, flag)| if set { flags | flag } else { flags }))
}

/// `linux/statfs.h`; rustix has no name for it.
const ST_NOSYMFOLLOW: u64 = 0x2000;

#[cfg(test)]
mod tests;
