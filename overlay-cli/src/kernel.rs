//! A union that the kernel merges: what must hold before, and the mount.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use overlay_core::marker::kernel::Namespace;
use overlay_fuse::Image;
use overlay_kernel::{Means, Mounted, Offer, Plan, Upper, upper_refusal_with};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Failure, Result};
use crate::holder;
use crate::mounts;
use crate::plan::Intent;
use crate::process;

/// Mounts the union. `images` are the layers that the kernel cannot read as they are; `shelter` is where a private
/// directory may be made.
pub(crate) fn mount(
    intent: &Intent,
    namespace: Namespace,
    images: &[Image],
    shelter: &Path,
) -> Result<(Mounted, Locks)> {
    let userxattr = namespace == Namespace::User;
    // Held until the union is there, and by whoever serves layers of it for as long as he does.
    let locks = intent.upper.as_ref().map(lock).transpose();
    // What is only read may be read beside the mount that writes it, if not by the kernel.
    let locks = locks.map_err(|used| if intent.only_reads() { used.of_the_kernel() } else { used })?;
    let locks = locks.unwrap_or_default();
    if let Some(upper) = &intent.upper
        && let Some(why) = upper_refusal_with(upper, userxattr)?
    {
        return Err(Failure::new(why).of_the_kernel());
    }
    let plan = Plan::new(&intent.request(process::is_root(), userxattr))?;
    let images: Vec<_> = images.iter().map(AsFd::as_fd).collect();
    let mounted = overlay_kernel::mount(&plan, &images, means()?, &intent.mountpoint, shelter)?;
    if let Err(failure) = mounts::propagate(&intent.mountpoint, intent.options.propagation) {
        mounted.unmount()?;
        return Err(failure);
    }
    Ok((mounted, Locks(locks)))
}

/// The locks on an upper and its work directory.
pub(crate) struct Locks(#[expect(dead_code, reason = "it is held, not read")] Vec<OwnedFd>);

/// How this kernel is told what to merge.
pub(crate) fn means() -> Result<Means> {
    match Offer::probe() {
        Offer::Overlayfs(means) => Ok(means),
        Offer::Nothing(why) => Err(Failure::new(why).of_the_kernel()),
    }
}

/// Locks the upper and the work, or fails if a server of ours holds one of them: the kernel would let both write.
fn lock(upper: &Upper) -> Result<Vec<OwnedFd>> {
    [&upper.upper, &upper.work].into_iter().map(|path| lock_one(path)).collect()
}

fn lock_one(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Failure::cannot(format_args!("open {}", path.display()), errno))?;
    match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(directory),
        Err(Errno::WOULDBLOCK) => Err(Failure::new(holder::sentence(path))),
        Err(errno) => Err(Failure::cannot(format_args!("lock {}", path.display()), errno)),
    }
}
