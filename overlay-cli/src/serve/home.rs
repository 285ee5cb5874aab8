//! The mount namespace of a server.
//!
//! A mount namespace lives as long as a process is in it, and so do its mounts. The server of a union in a namespace
//! of its own (`unshare --mount`) would keep both for ever. So it serves from a copy of the namespace, which it makes
//! before the union is mounted, and leaves the namespace of the union once that is mounted: with the last process of
//! its user the namespace goes, the union with it, and then the server.

use std::fs::File;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};

use super::Watched;
use crate::failure::{Failure, Result};
use crate::mounts;

/// Where a server is to live.
pub(super) enum Home {
    /// In the namespace of its union, which ends with the machine or the container.
    Here,
    /// In a copy, which is to be made.
    Elsewhere,
    /// In this copy.
    Copy(File),
}

impl Home {
    /// Decides where a server lives. One in the foreground is its user's to end.
    pub(super) fn find(watched: Watched) -> Result<Self> {
        let of = |path: &str| std::fs::read_link(path).ok();
        let ours = of("/proc/self/ns/mnt");
        // Who may not look at the first process is in a user namespace, and so in a mount namespace, of his own.
        let is_own = of("/proc/1/ns/mnt") != ours;
        Ok(if is_own && watched == Watched::Background { Self::Elsewhere } else { Self::Here })
    }

    /// Does something by threads that live at home. To be called while the process has one thread.
    pub(super) fn apart<T: Send>(self, work: impl FnOnce() -> T + Send) -> Result<(T, Self)> {
        if !matches!(self, Self::Elsewhere) {
            return Ok((work(), self));
        }
        let away = || {
            let copy = copy_namespace()?;
            Ok((work(), Self::Copy(copy)))
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(away);
            thread.join().map_err(|_| Failure::new("the thread that opens the layers panicked"))?
        })
    }

    /// Goes home, now that the union is mounted on `mountpoint`. Returns whether it has been left.
    pub(super) fn leave(self, mountpoint: &Path) -> Result<bool> {
        let Self::Copy(copy) = self else { return Ok(false) };
        let fail = |errno| Failure::cannot("leave the mount namespace of the union", errno);
        let union = mounts::topmost(mountpoint)?;
        // setns(2) wants a root and a working directory of this thread's own.
        unshare(CloneFlags::CLONE_FS).map_err(fail)?;
        setns(&copy, CloneFlags::CLONE_NEWNS).map_err(fail)?;
        // Where mounts are shared, the union came along.
        let here = mounts::topmost(mountpoint)?;
        if let (Some(union), Some(here)) = (union, here)
            && union.device == here.device
        {
            rustix::mount::unmount(mountpoint, UnmountFlags::DETACH)
                .map_err(|errno| Failure::cannot("leave the union behind", errno))?;
        }
        Ok(true)
    }
}

/// Moves this thread into a copy of its mount namespace, in which what is unmounted elsewhere goes too.
fn copy_namespace() -> Result<File> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| Failure::cannot("copy the mount namespace", errno))?;
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream).map_err(|errno| Failure::cannot("set the copied mounts apart", errno))?;
    File::open("/proc/thread-self/ns/mnt").map_err(|error| Failure::cannot("open the mount namespace", error))
}
