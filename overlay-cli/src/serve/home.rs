//! The mount namespace of a server.
//!
//! A mount namespace lives as long as a process is in it, and so do its mounts. The server of a union in a namespace
//! of its own (`unshare --mount`) would keep both for ever. So it serves from a copy of the namespace, which it makes
//! before the union is mounted, and leaves the namespace of the union once that is mounted: with the last process of
//! its user the namespace goes, the union with it, and then the server.
//!
//! The copy follows what is unmounted elsewhere where mounts are shared. It keeps no union in any case: one that another
//! server serves would keep that server. Other mounts that are private stay busy as long as the server lives; it
//! cannot know which of them its layers and credentials lie on.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change};

use super::Watched;
use crate::failure::{Failure, Result};
use crate::mounts::{self, Entry};
use crate::plan::Intent;

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
    /// Decides where a server lives. One in the foreground is its user's to end, and one that finds a layer by its path
    /// must find it at every request.
    pub(super) fn find(watched: Watched, intent: &Intent) -> Self {
        let by_path = intent.all_lowers().any(|lower| lower.spec.scheme() == "file");
        let of = |path: &str| fs::read_link(path).ok();
        // Where the first process may not be looked at, nobody knows what the namespace is good for.
        let is_first = of("/proc/1/ns/mnt").is_some_and(|first| Some(first) == of(OURS));
        if is_first || by_path || watched == Watched::Foreground { Self::Here } else { Self::Elsewhere }
    }

    /// Opens and serves layers by threads that live at home. To be called while the process has one thread.
    pub(super) fn apart<T: Send>(self, open: impl FnOnce() -> T + Send) -> Result<(T, Self)> {
        if !matches!(self, Self::Elsewhere) {
            return Ok((open(), self));
        }
        let away = || match copy_namespace() {
            Ok(copy) => {
                let opened = open();
                // Not before: a directory may lie on one of them, and is kept by its own descriptor from now on.
                detach_unions()?;
                Ok((opened, Self::Copy(copy)))
            }
            Err(error) => {
                tracing::debug!(%error, "the server keeps the mount namespace of its union");
                Ok((open(), Self::Here))
            }
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(away);
            thread.join().map_err(|_| Failure::new("the thread that opens the layers panicked"))?
        })
    }

    /// Goes home, now that the union is mounted. Returns the namespace that was left, if one was.
    pub(super) fn leave(self) -> Result<Option<Namespace>> {
        let Self::Copy(copy) = self else { return Ok(None) };
        let left = Namespace::of(OURS).map_err(|error| Failure::cannot("tell the mount namespace", error))?;
        if let Err(errno) = enter(&copy) {
            tracing::warn!(%errno, "the server keeps the mount namespace of its union");
            return Ok(None);
        }
        // Where mounts are shared, the union came along.
        detach_unions()?;
        Ok(Some(left))
    }
}

/// The namespace of this thread.
const OURS: &str = "/proc/thread-self/ns/mnt";

/// Which mount namespace, without keeping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Namespace {
    dev: u64,
    ino: u64,
}

impl Namespace {
    fn of(path: &str) -> std::io::Result<Self> {
        fs::metadata(path).map(|data| Self { dev: data.dev(), ino: data.ino() })
    }

    /// Does something in the namespace, as long as some process is there that leads to it; `None` if there is none.
    pub(super) fn visit<T: Send>(self, work: impl FnOnce() -> T + Send) -> Result<Option<T>> {
        let Some(namespace) = self.find()? else { return Ok(None) };
        let there = || {
            enter(&namespace)
                .map_err(|errno| Failure::cannot("enter the mount namespace of the union", errno))?;
            Ok(Some(work()))
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(there);
            thread.join().map_err(|_| Failure::new("the thread that unmounts panicked"))?
        })
    }

    /// By way of a process that is in it.
    fn find(self) -> Result<Option<File>> {
        let processes = fs::read_dir("/proc").map_err(|error| Failure::cannot("read /proc", error))?;
        let links = processes.filter_map(|entry| Some(entry.ok()?.path().join("ns/mnt")));
        let is_it = |data: fs::Metadata| Self { dev: data.dev(), ino: data.ino() } == self;
        let mut files = links.filter_map(|link| File::open(link).ok());
        Ok(files.find(|file| file.metadata().is_ok_and(is_it)))
    }
}

/// Moves this thread into a namespace.
fn enter(namespace: &File) -> nix::Result<()> {
    // setns(2) wants a root and a working directory of this thread's own.
    unshare(CloneFlags::CLONE_FS)?;
    setns(namespace, CloneFlags::CLONE_NEWNS)
}

/// Moves this thread into a copy of its mount namespace, in which what is unmounted elsewhere goes too. If it fails, the
/// thread is where it was.
fn copy_namespace() -> std::io::Result<File> {
    let before = File::open(OURS)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // In a chroot `/` is no mount point.
    let apart = mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
    match apart.map_err(std::io::Error::from).and_then(|()| File::open(OURS)) {
        Ok(copy) => Ok(copy),
        Err(error) => {
            setns(&before, CloneFlags::CLONE_NEWNS)?;
            Err(error)
        }
    }
}

/// Lets go of all unions.
fn detach_unions() -> Result<()> {
    for mount in mounts::all()?.iter().rev().filter(|mount| is_union(mount)) {
        match rustix::mount::unmount(&mount.path, UnmountFlags::DETACH) {
            // Gone with another, or held together with the rest by a user namespace.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => tracing::debug!(%errno, path = %mount.path.display(), "a copied union stays"),
        }
    }
    Ok(())
}

/// Whether a mount is a union, but for one that is the root of everything.
fn is_union(mount: &Entry) -> bool {
    matches!(mount.kind.as_str(), "overlay" | "fuse.overlay") && mount.path != Path::new("/")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
mod tests {
    use super::*;

    #[test]
    fn the_copy_keeps_no_union_but_the_root() {
        let is = |kind: &str, path: &str| {
            is_union(&Entry { kind: kind.into(), path: path.into(), ..mounts::tests_entry("0:1") })
        };
        assert!(is("overlay", "/home/u/m") && is("fuse.overlay", "/run/x"));
        assert!(!is("overlay", "/") && !is("tmpfs", "/tmp") && !is("fuse.sshfs", "/mnt"));
    }

    #[test]
    fn the_own_namespace_is_found_by_its_processes() {
        let ours = Namespace::of(OURS).unwrap();
        assert!(ours.find().unwrap().is_some());
        assert!(Namespace { ino: 1, ..ours }.find().unwrap().is_none());
    }
}
