//! The system calls of a mount, in the order that Linux 5.2 gave them: open a context, set it up, create, show.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::plan::{Flags, Plan, Setting};

/// Why the kernel did not mount, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A layer cannot be opened.
    #[error("cannot open {}: {cause}", path.display())]
    Layer {
        /// The directory.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
    /// A call was refused.
    #[error("the kernel refuses {step}: {cause}{said}")]
    Refused {
        /// What it was told.
        step: String,
        /// The errno.
        #[source]
        cause: std::io::Error,
        /// What it says of it.
        said: Log,
    },
    /// The mount point cannot be mounted on.
    #[error("cannot mount on {}: {cause}", path.display())]
    Target {
        /// The mount point.
        path: PathBuf,
        /// The errno.
        #[source]
        cause: std::io::Error,
    },
}

/// The kernel's own words about a mount that is being set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log(Vec<String>);

impl Log {
    /// Reads the messages that wait in a context: one a read, each after a letter for its severity.
    fn read(context: BorrowedFd<'_>) -> Self {
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        // ENODATA ends the log; whatever else goes wrong leaves it as long as it is, since it is an extra.
        while let Ok(len @ 1..) = rustix::io::read(context, &mut buffer) {
            lines.push(without_severity(&String::from_utf8_lossy(&buffer[..len])));
        }
        Self(lines)
    }
}

fn without_severity(line: &str) -> String {
    let line = line.trim_end();
    let bare = ["e ", "w ", "i "].iter().find_map(|severity| line.strip_prefix(severity));
    bare.unwrap_or(line).to_owned()
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Overlayfs itself writes most of its reasons to the log of the machine only.
        if self.0.is_empty() {
            write!(f, " (dmesg may say why)")
        } else {
            write!(f, " ({})", self.0.join("; "))
        }
    }
}

/// Mounts the union on `target`.
pub fn mount(plan: &Plan, target: &Path) -> Result<(), KernelError> {
    let context = Context::open()?;
    for setting in &plan.settings {
        context.set(setting)?;
    }
    let mount = context.create(plan.flags)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount.as_fd(), "", CWD, target, flags)
        .map_err(|errno| KernelError::Target { path: target.into(), cause: errno.into() })
}

/// A mount that is being set up.
struct Context(OwnedFd);

impl Context {
    fn open() -> Result<Self, KernelError> {
        let opened = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
        opened.map(Self).map_err(|errno| refused("to open overlayfs".into(), errno, Log::default()))
    }

    fn set(&self, setting: &Setting) -> Result<(), KernelError> {
        let context = self.0.as_fd();
        let done = match setting {
            Setting::Flag(key) => fsconfig_set_flag(context, key.as_str()),
            Setting::Text(key, value) => fsconfig_set_string(context, key.as_str(), value.as_str()),
            Setting::Directory(key, path) => set_directory(context, key, &open(path)?),
        };
        done.map_err(|errno| self.refused(describe(setting), errno))
    }

    fn create(&self, flags: Flags) -> Result<OwnedFd, KernelError> {
        fsconfig_create(self.0.as_fd()).map_err(|errno| self.refused("this stack".into(), errno))?;
        let mount = fsmount(self.0.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes(flags));
        mount.map_err(|errno| self.refused("the flags of the mount".into(), errno))
    }

    fn refused(&self, step: String, errno: Errno) -> KernelError {
        refused(step, errno, Log::read(self.0.as_fd()))
    }
}

fn refused(step: String, errno: Errno, said: Log) -> KernelError {
    KernelError::Refused { step, cause: errno.into(), said }
}

fn describe(setting: &Setting) -> String {
    match setting {
        Setting::Flag(key) => key.clone(),
        Setting::Text(key, value) => format!("{key}={value}"),
        Setting::Directory(key, path) => format!("{key}={}", path.display()),
    }
}

fn open(path: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| KernelError::Layer { path: path.into(), cause: errno.into() })
}

/// Hands a directory over by its descriptor; before Linux 6.13, which answers EINVAL, by the descriptor's path
/// in `/proc`, which is short enough for every limit and needs no escapes.
fn set_directory(context: BorrowedFd<'_>, key: &str, directory: &OwnedFd) -> rustix::io::Result<()> {
    match fsconfig_set_fd(context, key, directory) {
        Err(Errno::INVAL) => {
            let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
            fsconfig_set_string(context, key, path)
        }
        other => other,
    }
}

fn attributes(flags: Flags) -> MountAttrFlags {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_follow_in_brackets() {
        let said = Log(vec![without_severity("e overlay: too many\n"), without_severity("bare")]);
        let error = refused("this stack".into(), Errno::INVAL, said).to_string();
        assert!(error.starts_with("the kernel refuses this stack: Invalid argument"), "{error}");
        assert!(error.ends_with(" (overlay: too many; bare)"), "{error}");
    }
}
