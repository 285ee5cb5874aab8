//! What this kernel offers to this process, found out by trying: version numbers tell nothing of backports.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, fsconfig_set_fd, fsopen};

/// What the kernel offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// This process cannot mount overlayfs, for the reason given.
    Nothing(String),
    /// It can; layers may be handed over as descriptors (Linux 6.13) or else by path (Linux 6.7).
    Overlayfs {
        /// Whether descriptors are taken.
        descriptors: bool,
    },
}

impl Offer {
    /// Asks the kernel. Nothing is mounted.
    pub fn probe() -> Self {
        match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => Self::Overlayfs { descriptors: takes_descriptors(&context) },
            Err(Errno::PERM) => Self::Nothing("this process may not mount overlayfs".into()),
            Err(Errno::NODEV) => Self::Nothing("this kernel has no overlayfs".into()),
            Err(Errno::NOSYS) => Self::Nothing("this kernel lacks fsopen (Linux 5.2)".into()),
            Err(errno) => Self::Nothing(format!("the kernel does not open overlayfs: {errno}")),
        }
    }

    /// Whether this process can mount overlayfs.
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Overlayfs { .. })
    }
}

fn takes_descriptors(context: &std::os::fd::OwnedFd) -> bool {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    root.and_then(|root| fsconfig_set_fd(context, "lowerdir+", root)).is_ok()
}
