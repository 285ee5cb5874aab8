//! Mounting: a FUSE connection is made ready before it is seen, and unmounted by what it is, not by where it was.
//!
//! `fsopen`, `fsconfig`, `fsmount` and `move_mount` of Linux 5.2; without the privilege, `fusermount3`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::ioctl::{Getter, ioctl};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::fusermount;
use crate::ioctl::REFRESH;

/// How a union is mounted.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// What stands as the source in `/proc/mounts`.
    pub source: String,
    /// Flags of the mount.
    pub flags: MountFlags,
    /// Whether other users than the one who mounts may enter. Permissions are checked in any case.
    pub allow_other: bool,
    /// Threads that take requests; at least 2, so that one that is held up stalls nobody.
    pub threads: usize,
}

/// Flags of a mount, each off unless set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Set-user-ID and file capabilities have no effect.
    pub no_suid: bool,
    /// Device files cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Access times are not updated.
    pub no_atime: bool,
}

/// Why a mount failed, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is no FUSE on this machine.
    #[error(
        "cannot open /dev/fuse: {0}; load the kernel module with \"modprobe fuse\" or use --engine kernel"
    )]
    Device(#[source] std::io::Error),
    /// The mount point is no directory that can be mounted on.
    #[error("cannot mount on {}: {cause}", path.display())]
    Target {
        /// The mount point.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A call of the mount interface failed.
    #[error("cannot mount: {step}: {cause}")]
    Kernel {
        /// The call.
        step: &'static str,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// `fusermount3` is needed and missing, or it refused.
    #[error("fusermount3 (package fuse3), which mounts for ordinary users, failed: {0}")]
    Fusermount(String),
    /// The session with the kernel could not be started.
    #[error("the kernel does not talk FUSE with us: {0}")]
    Session(#[source] std::io::Error),
}

/// A connection that is ready to be served.
pub(crate) struct Connection {
    /// `/dev/fuse`, connected.
    pub(crate) device: OwnedFd,
    /// The mount, to be moved to its place; `None` if it is there already.
    detached: Option<OwnedFd>,
}

/// Makes a connection for `target`: detached where this process may mount, else mounted by `fusermount3`.
pub(crate) fn connect(target: &Path, options: &MountOptions) -> Result<Connection, MountError> {
    match detached(options) {
        Err(error) if error.is_permission() => {
            let device = fusermount::mount(target, options)?;
            Ok(Connection { device, detached: None })
        }
        other => other,
    }
}

impl MountError {
    /// Whether this process is not allowed to mount by itself.
    pub fn is_permission(&self) -> bool {
        let (Self::Kernel { cause, .. } | Self::Device(cause)) = self else { return false };
        [Errno::PERM, Errno::ACCESS].iter().any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
    }
}

/// Makes a connection whose mount has no place.
pub(crate) fn detached(options: &MountOptions) -> Result<Connection, MountError> {
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let device = device.map_err(|errno| MountError::Device(errno.into()))?;
    let step = |step| move |errno: Errno| MountError::Kernel { step, cause: errno.into() };
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(step("fsopen"))?;
    let context = context.as_fd();
    let fd = device.as_raw_fd().to_string();
    let uid = rustix::process::geteuid().as_raw().to_string();
    let gid = rustix::process::getegid().as_raw().to_string();
    let settings = [
        ("source", options.source.as_str()),
        ("subtype", SUBTYPE),
        ("fd", &fd),
        ("rootmode", "40000"),
        ("user_id", &uid),
        ("group_id", &gid),
    ];
    for (key, value) in settings {
        fsconfig_set_string(context, key, value).map_err(step(key))?;
    }
    fsconfig_set_flag(context, "default_permissions").map_err(step("default_permissions"))?;
    if options.allow_other {
        fsconfig_set_flag(context, "allow_other").map_err(step("allow_other"))?;
    }
    if options.flags.read_only {
        fsconfig_set_flag(context, "ro").map_err(step("ro"))?;
    }
    fsconfig_create(context).map_err(step("fsconfig"))?;
    let mount = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options.flags));
    Ok(Connection { device, detached: Some(mount.map_err(step("fsmount"))?) })
}

/// The type of the mounts is `fuse.overlay`.
pub(crate) const SUBTYPE: &str = "overlay";

fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    for (set, attribute) in [
        (flags.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (flags.no_suid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (flags.no_dev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (flags.no_exec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (flags.no_atime, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ] {
        if set {
            attributes |= attribute;
        }
    }
    attributes
}

impl Connection {
    /// The mount without a place.
    pub(crate) fn into_mount(self) -> Option<OwnedFd> {
        self.detached
    }

    /// Puts the mount into its place, if it is not there yet, and returns its identity.
    pub(crate) fn show(self, target: &Path) -> Result<Identity, MountError> {
        let fail = |errno: Errno| MountError::Target { path: target.into(), cause: errno.into() };
        if let Some(mount) = &self.detached {
            let from_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            let follow = MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
            move_mount(mount.as_fd(), "", CWD, target, from_fd | follow).map_err(fail)?;
        }
        let id = match &self.detached {
            Some(mount) => id_of(mount),
            None => mount_id(target),
        };
        let id = id.map_err(fail)?;
        let path = target.canonicalize().unwrap_or_else(|_| target.into());
        Ok(Identity { path, id, privileged: self.detached.is_some() })
    }
}

/// Which mount is ours.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    path: PathBuf,
    id: u64,
    privileged: bool,
}

impl Identity {
    /// Unmounts the mount, busy or not, if it is still in its place. Another mount there is left alone.
    pub(crate) fn unmount(&self) -> Result<(), MountError> {
        let fail = |errno: Errno| MountError::Target { path: self.path.clone(), cause: errno.into() };
        let fd = match open_mount(&self.path) {
            Ok(fd) => fd,
            // The connection is dead or the place is gone: there is nothing to unmount by.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fail(errno)),
        };
        if id_of(&fd).map_err(fail)? != self.id {
            return Ok(());
        }
        if self.privileged {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            rustix::mount::unmount(path, UnmountFlags::DETACH).map_err(fail)
        } else {
            drop(fd);
            fusermount::unmount(&self.path, true)
        }
    }
}

/// Unmounts what is mounted at `target`: lazily if `lazy`, else only if nobody uses it.
///
/// # Errors
/// `Target` with the errno: EINVAL if nothing is mounted there, EBUSY if it is in use.
pub fn unmount(target: &Path, lazy: bool) -> Result<(), MountError> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(target, flags) {
        Err(Errno::PERM) => fusermount::unmount(target, lazy),
        other => other.map_err(|errno| MountError::Target { path: target.into(), cause: errno.into() }),
    }
}

/// Has the union that is mounted on `target` look at its layers anew. Returns whether it has an upper layer.
///
/// # Errors
/// `Target` with the errno: EPERM for whom it does not belong to, ENOTTY if a server of another kind is there.
pub fn refresh(target: &Path) -> Result<bool, MountError> {
    let fail = |errno: Errno| MountError::Target { path: target.into(), cause: errno.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(target, flags, Mode::empty()).map_err(fail)?;
    // SAFETY: the command is read-only with a `u32`, as its number says, and the server writes just that.
    let writable = unsafe { ioctl(&root, Getter::<{ REFRESH }, u32>::new()) };
    writable.map(|writable| writable != 0).map_err(fail)
}

fn open_mount(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn mount_id(path: &Path) -> rustix::io::Result<u64> {
    id_of(&open_mount(path)?)
}

/// The mount's number, asked of the kernel alone: a question to our own server would wait for us. Linux 6.8 numbers
/// mounts for good; before that a number may come back for another mount.
fn id_of(fd: &OwnedFd) -> rustix::io::Result<u64> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let unique = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    rustix::fs::statx(fd, "", flags, StatxFlags::MNT_ID | unique).map(|stat| stat.stx_mnt_id)
}

/// `linux/stat.h`; rustix has no name for it yet.
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
