//! Private mount points for layers without a path, as long as the kernel needs one to make the union.
//!
//! Linux before 6.15 merges no mount that has no place. Once the union is made it holds private clones of its layers,
//! and the places are taken away again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};
use rustix::rand::GetRandomFlags;

use crate::error::KernelError;
use crate::identity::detach;
use crate::layers::{Layers, Opened};

/// A mount point for each layer without a path. Dropped, they are taken away.
pub(crate) struct Shelters<'a>(Vec<Shelter<'a>>);

impl<'a> Shelters<'a> {
    /// Gives each layer without a path a private one under `runtime`. The descriptors stay good, and
    /// `/proc/self/fd/N` then leads to a mount that has a place.
    pub(crate) fn raise(layers: &'a Layers<'_>, runtime: &Path) -> Result<Self, KernelError> {
        let raise = |layer| {
            Shelter::raise(layer, runtime).map_err(|(step, errno)| KernelError::Shelter {
                name: layer.name.clone(),
                runtime: runtime.into(),
                step,
                cause: errno.into(),
            })
        };
        layers.without_path().map(raise).collect::<Result<_, _>>().map(Self)
    }

    /// Takes them away.
    pub(crate) fn end(self) -> Result<(), KernelError> {
        let ends: Vec<_> = self.0.into_iter().map(Shelter::end).collect();
        ends.into_iter().collect()
    }
}

type Failed = (&'static str, Errno);

/// A mount and the private directory that it is mounted on.
struct Shelter<'a> {
    layer: &'a Opened<'a>,
    /// `None` once it is taken away.
    place: Option<Place>,
}

impl<'a> Shelter<'a> {
    fn raise(layer: &'a Opened<'a>, runtime: &Path) -> Result<Self, Failed> {
        let place = Place::make(runtime)?;
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        let moved = place.open().and_then(|there| move_mount(layer.as_fd(), "", there, "", empty));
        match moved {
            Ok(()) => Ok(Self { layer, place: Some(place) }),
            // What was wrong first is what counts.
            Err(errno) => {
                place.remove().ok();
                Err(("move_mount", errno))
            }
        }
    }

    fn end(mut self) -> Result<(), KernelError> {
        let path = self.place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
        self.clear().map_err(|errno| KernelError::Unmount { path, cause: errno.into() })
    }

    fn clear(&mut self) -> rustix::io::Result<()> {
        let Some(place) = self.place.take() else { return Ok(()) };
        let detached = detach(self.layer.as_fd());
        detached.and(place.remove())
    }
}

impl Drop for Shelter<'_> {
    fn drop(&mut self) {
        // Another error is on its way, or it is taken away already.
        self.clear().ok();
    }
}

/// A directory of our own, with a name that nobody can foresee.
struct Place {
    parent: OwnedFd,
    name: String,
    /// For people.
    path: PathBuf,
}

impl Place {
    fn make(runtime: &Path) -> Result<Self, Failed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(runtime, flags, Mode::empty()).map_err(|errno| ("open", errno))?;
        loop {
            let name = format!("overlay-{}", random().map_err(|errno| ("getrandom", errno))?);
            match rustix::fs::mkdirat(&parent, &*name, Mode::RWXU) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(("mkdir", errno)),
                Ok(()) => return Ok(Self { parent, path: runtime.join(&name), name }),
            }
        }
    }

    fn open(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, &*self.name, flags, Mode::empty())
    }

    fn remove(&self) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.parent, &*self.name, AtFlags::REMOVEDIR)
    }
}

/// Twelve letters that cannot be guessed.
pub(crate) fn random() -> rustix::io::Result<String> {
    let mut bytes = [0_u8; 12];
    rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.map(|byte| char::from(b'a' + byte % 26)).iter().collect())
}
