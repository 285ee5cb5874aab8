//! What this kernel offers to this process, found out by trying: version numbers tell nothing of backports.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, MountFlags, fsconfig_set_fd, fsconfig_set_string, fsopen};

/// How this kernel is told what to merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Each layer by its descriptor (`FSCONFIG_SET_FD`, Linux 6.13).
    Descriptors,
    /// Each layer by a path (`lowerdir+`, Linux 6.7).
    Paths,
    /// All by one string of options (`mount(2)`).
    Legacy,
}

/// What the kernel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// This process cannot mount overlayfs, for the reason given.
    Nothing(String),
    /// It can, by these means.
    Overlayfs(Means),
}

impl Offer {
    /// Asks the kernel. Nothing is mounted; the module of overlayfs may be loaded.
    pub fn probe() -> Self {
        match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => Self::Overlayfs(means(&context)),
            // Filters of containers that know no fsopen answer EPERM as well.
            Err(Errno::NOSYS | Errno::PERM) => by_mount(),
            Err(errno) => refusal(errno),
        }
    }

    /// Whether this process can mount overlayfs.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Overlayfs(_))
    }
}

fn means(context: &OwnedFd) -> Means {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty());
    if root.and_then(|root| fsconfig_set_fd(context, "lowerdir+", root)).is_ok() {
        Means::Descriptors
    } else if fsconfig_set_string(context, "lowerdir+", "/").is_ok() {
        Means::Paths
    } else {
        Means::Legacy
    }
}

/// Asks `mount(2)` for something that no overlayfs does: who may not mount is told so first, then whether there is
/// an overlayfs, then that the option is unknown.
fn by_mount() -> Offer {
    let impossible = c"overlay-kernel-probe";
    match rustix::mount::mount("overlay", "/", "overlay", MountFlags::empty(), impossible) {
        Ok(()) | Err(Errno::INVAL) => Offer::Overlayfs(Means::Legacy),
        Err(errno) => refusal(errno),
    }
}

fn refusal(errno: Errno) -> Offer {
    Offer::Nothing(match errno {
        Errno::PERM | Errno::ACCESS => "this process may not mount overlayfs (it needs CAP_SYS_ADMIN)".into(),
        Errno::NODEV => "this kernel has no overlayfs".into(),
        errno => format!("the kernel does not open overlayfs: {errno}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences() {
        for (errno, words) in [
            (Errno::PERM, "may not mount overlayfs (it needs CAP_SYS_ADMIN)"),
            (Errno::ACCESS, "may not mount overlayfs"),
            (Errno::NODEV, "this kernel has no overlayfs"),
            (Errno::NOMEM, "does not open overlayfs: Cannot allocate memory"),
        ] {
            let Offer::Nothing(why) = refusal(errno) else { panic!("an offer") };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn mount_2_offers_where_fsopen_does_and_mounts_nothing() {
        let root = || crate::Mounted::at("/".as_ref()).unwrap();
        let before = root();
        assert_eq!(by_mount().is_any(), Offer::probe().is_any());
        assert_eq!(root(), before);
    }
}
