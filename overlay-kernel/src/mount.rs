//! From a plan to a union: opens the layers, has the kernel merge them, explains what it refuses.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::context::{self, Naming};
use crate::error::KernelError;
use crate::facts;
use crate::identity::Mounted;
use crate::layers::Layers;
use crate::legacy;
use crate::plan::Plan;
use crate::probe::Means;
use crate::shelter::Shelters;

/// Mounts the union on `target`, over what may be there.
///
/// `mounts` are the descriptors that the [`Lower::Mount`](crate::Lower::Mount)s of the plan count in. `runtime` is a
/// directory under which a private one may be made for layers without a path, where the means need a path; nothing is
/// left there. Such a layer has been given a place and lost it then, so its descriptor serves for one union alone.
///
/// # Errors
/// [`KernelError`] with the step and its errno, or with what is wrong with the layers if that can be seen. Nothing is
/// mounted then.
pub fn mount(
    plan: &Plan,
    mounts: &[BorrowedFd<'_>],
    means: Means,
    target: &Path,
    runtime: &Path,
) -> Result<Mounted, KernelError> {
    Union { plan, mounts, runtime, places: Places::IfRefused }.mount(means, target)
}

/// The union as a mount without a place, for trying things out; it is gone when the descriptor is closed. By
/// descriptors or paths alone: `mount(2)` needs a mount point. The rest is as for [`mount`].
///
/// # Errors
/// As [`mount`]; [`KernelError::NeedsTarget`] for [`Means::Legacy`].
pub fn detached(
    plan: &Plan,
    mounts: &[BorrowedFd<'_>],
    means: Means,
    runtime: &Path,
) -> Result<OwnedFd, KernelError> {
    let naming = naming(means).ok_or(KernelError::NeedsTarget)?;
    Union { plan, mounts, runtime, places: Places::IfRefused }.detached(naming)
}

fn naming(means: Means) -> Option<Naming> {
    match means {
        Means::Descriptors => Some(Naming::Descriptors),
        Means::Paths => Some(Naming::Paths),
        Means::Legacy => None,
    }
}

/// Whether layers without a path are given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Places {
    /// Where the kernel does not take them as they are.
    IfRefused,
    /// Without asking first: as on a kernel that refuses.
    #[cfg(test)]
    Always,
}

/// The mount point as an absolute path. The kernel does not tell what is wrong with it: `mount(2)` not from what is
/// wrong with a layer, and `move_mount` calls a file an invalid argument.
fn place(target: &Path) -> Result<PathBuf, KernelError> {
    let fail = |cause| KernelError::Target { path: target.into(), cause };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(target, flags, Mode::empty()).map_err(|errno| fail(errno.into()))?;
    std::path::absolute(target).map_err(fail)
}

/// A union that is to be.
struct Union<'a> {
    plan: &'a Plan,
    mounts: &'a [BorrowedFd<'a>],
    runtime: &'a Path,
    places: Places,
}

impl Union<'_> {
    fn mount(&self, means: Means, target: &Path) -> Result<Mounted, KernelError> {
        let target = &place(target)?;
        let Some(naming) = naming(means) else {
            return self.make(|layers| legacy::mount(self.plan, layers, target), Mounted::unmount);
        };
        let mount = self.detached(naming)?;
        // Before it is shown: afterwards nothing may fail.
        let mounted = Mounted::of(&mount, target)?;
        context::show(&mount, target)?;
        Ok(mounted)
    }

    fn detached(&self, naming: Naming) -> Result<OwnedFd, KernelError> {
        self.make(|layers| context::create(self.plan, layers, naming), |_| Ok(()))
    }

    /// Lets the kernel make it; `undo` takes it away again if what it needed meanwhile cannot be cleared away.
    fn make<T>(
        &self,
        make: impl Fn(&Layers<'_>) -> Result<T, KernelError>,
        undo: impl FnOnce(&T) -> Result<(), KernelError>,
    ) -> Result<T, KernelError> {
        let layers = Layers::open(self.plan, self.mounts)?;
        let explained = |error| facts::explain(error, self.plan, &layers);
        if self.places == Places::IfRefused {
            match make(&layers) {
                Err(error) if error.is_invalid() && layers.without_path().next().is_some() => {}
                made => return made.map_err(explained),
            }
        }
        let shelters = Shelters::raise(&layers, self.runtime)?;
        let union = make(&layers).map_err(explained)?;
        match shelters.end() {
            Ok(()) => Ok(union),
            Err(error) => undo(&union).and(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests;
