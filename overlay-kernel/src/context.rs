//! A mount in the order that Linux 5.2 gave it: open a context, set it up, create. It has no place yet.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::error::{KernelError, Log};
use crate::flags::Flags;
use crate::layers::{Layers, Opened};
use crate::plan::{Plan, Setting};

/// How layers are named to `fsconfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Descriptors,
    Paths,
}

/// Makes the union, without a place.
pub(crate) fn create(plan: &Plan, layers: &Layers<'_>, naming: Naming) -> Result<OwnedFd, KernelError> {
    let context = Context::open()?;
    context.text("source", plan.source.as_str())?;
    for layer in layers.iter() {
        context.layer(layer, naming)?;
    }
    for setting in &plan.settings {
        context.set(setting)?;
    }
    for word in plan.flags.of_the_file_system() {
        context.flag(word)?;
    }
    context.create(plan.flags)
}

/// Puts a mount into its place.
pub(crate) fn show(mount: &OwnedFd, target: &Path) -> Result<(), KernelError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount.as_fd(), "", CWD, target, flags)
        .map_err(|errno| KernelError::Target { path: target.into(), cause: errno.into() })
}

/// A mount that is being set up.
struct Context(OwnedFd);

impl Context {
    fn open() -> Result<Self, KernelError> {
        let opened = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
        opened.map(Self).map_err(|errno| KernelError::refused("to open overlayfs", errno, Log::default()))
    }

    fn layer(&self, layer: &Opened<'_>, naming: Naming) -> Result<(), KernelError> {
        let (context, key) = (self.0.as_fd(), layer.role.key());
        let done = match naming {
            Naming::Descriptors => fsconfig_set_fd(context, key, layer.as_fd()),
            Naming::Paths => fsconfig_set_string(context, key, layer.text()),
        };
        done.map_err(|errno| self.refused(format!("{key}={}", layer.name), errno))
    }

    fn set(&self, setting: &Setting) -> Result<(), KernelError> {
        match setting {
            Setting::Flag(key) => self.flag(key),
            Setting::Text(key, value) => self.text(key, value),
        }
    }

    fn flag(&self, key: &str) -> Result<(), KernelError> {
        fsconfig_set_flag(self.0.as_fd(), key).map_err(|errno| self.refused(key, errno))
    }

    fn text(&self, key: &str, value: &str) -> Result<(), KernelError> {
        let done = fsconfig_set_string(self.0.as_fd(), key, value);
        done.map_err(|errno| self.refused(format!("{key}={value}"), errno))
    }

    fn create(&self, flags: Flags) -> Result<OwnedFd, KernelError> {
        fsconfig_create(self.0.as_fd()).map_err(|errno| self.refused("this stack", errno))?;
        let mount = fsmount(self.0.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags.attributes());
        mount.map_err(|errno| self.refused("the flags of the mount", errno))
    }

    fn refused(&self, step: impl Into<String>, errno: Errno) -> KernelError {
        KernelError::refused(step, errno, Log::read(self.0.as_fd()))
    }
}
