//! `overlay umount`: the union goes, and with it whatever held its upper.

use std::path::Path;
use std::time::Duration;

use overlay_fuse::MountError;
use rustix::io::Errno;

use crate::args::Umount;
use crate::failure::{Failure, Result};
use crate::lifeline::Watch;
use crate::mounts;

/// How long to wait for the server of a mount: far more than it needs to let go of its layers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Unmounts.
pub(crate) fn run(args: &Umount) -> Result<()> {
    let path = &args.mountpoint;
    let mount = mounts::union_at(path)?;
    // Before it is unmounted: the device number may be another mount's right after.
    let watch = Watch::of(&mount);
    match overlay_fuse::unmount(path, false) {
        Ok(()) => wait(watch, path, args.lazy),
        // Out of sight now; the server ends with the last user, for whom nobody waits.
        Err(error) if is(&error, Errno::BUSY) && args.lazy => Ok(overlay_fuse::unmount(path, true)?),
        Err(error) if is(&error, Errno::BUSY) => {
            let sentence = "is in use; end what uses it, or take it out of sight now with --lazy (-l)";
            Err(Failure::new(format!("{} {sentence}", path.display())))
        }
        Err(error) => Err(error.into()),
    }
}

fn is(error: &MountError, errno: Errno) -> bool {
    let MountError::Target { cause, .. } = error else { return false };
    cause.raw_os_error() == Some(errno.raw_os_error())
}

/// How long a lazy command waits, whose user does not want to wait for others.
const BRIEFLY: Duration = Duration::from_millis(500);

/// Waits for the end of the server. An ordinary user's mount (`fusermount3 -z`) goes out of sight even if it is in
/// use, and its server then lives on.
fn wait(watch: Option<Watch>, path: &Path, lazy: bool) -> Result<()> {
    let Some(watch) = watch else { return Ok(()) };
    let shown = path.display();
    let limit = if lazy { BRIEFLY } else { PATIENCE };
    let ended = watch.wait(limit);
    let ended =
        ended.map_err(|error| Failure::cannot(format_args!("wait for the server of {shown}"), error))?;
    if ended || lazy {
        return Ok(());
    }
    let seconds = limit.as_secs();
    let sentence = "is unmounted, but its server has not ended within";
    Err(Failure::new(format!("{shown} {sentence} {seconds} s; something may still use it")))
}
