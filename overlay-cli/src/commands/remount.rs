//! `overlay remount`: changes to a union that is mounted.

use std::path::Path;

use crate::args::Remount;
use crate::compat;
use crate::failure::{Failure, Result};
use crate::mounts::{self, Entry};
use crate::optfile;

/// Carries out what can be changed live: whether the union may be written to, and an upper that was changed behind
/// the mount is seen anew.
pub(crate) fn run(args: &Remount) -> Result<()> {
    let options = compat::parse(&optfile::expand(&args.options)?)?;
    if let Some(other) = options.beyond_remount() {
        let sentence = "cannot be changed by a remount, which takes ro and rw; unmount and mount again";
        return Err(Failure::new(format!("{other} {sentence}")));
    }
    apply(&args.mountpoint, options.read_only())
}

/// Applies the options of a helper's call, which repeats all that the mount shows of itself: only `ro` and `rw` count.
pub(crate) fn apply(mountpoint: &Path, read_only: Option<bool>) -> Result<()> {
    let mount = mounts::union_at(mountpoint)?;
    if is_ours(&mount) {
        let writable = overlay_fuse::refresh(mountpoint)?;
        if read_only == Some(false) && !writable {
            let shown = mountpoint.display();
            return Err(Failure::new(format!("{shown} has no upper layer, so it can only be read")));
        }
    }
    Ok(overlay_kernel::remount(mountpoint, read_only)?)
}

/// Whether a server of ours merges the union, and not the kernel.
fn is_ours(mount: &Entry) -> bool {
    mount.kind == "fuse.overlay"
}
