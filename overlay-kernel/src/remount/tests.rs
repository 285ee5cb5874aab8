//! The ways of older kernels, tried on this one.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::mount::{UnmountFlags, mount, unmount};

use super::*;

/// A tmpfs with flags that must outlive every change.
struct Tmpfs {
    // The order of the fields is that of their end.
    guard: Guard,
    _root: tempfile::TempDir,
}

struct Guard(PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

fn kept() -> MountFlags {
    MountFlags::NOSUID
        | MountFlags::NODEV
        | MountFlags::NOEXEC
        | MountFlags::NODIRATIME
        | MountFlags::NOSYMFOLLOW
        | MountFlags::STRICTATIME
}

impl Tmpfs {
    fn mount(test: &str) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        match mount("test", root.path(), "tmpfs", kept(), None) {
            Ok(()) => Some(Self { guard: Guard(root.path().into()), _root: root }),
            Err(errno) => {
                eprintln!("skipped: {test}: {errno}");
                None
            }
        }
    }

    fn fd(&self) -> OwnedFd {
        rustix::fs::open(&self.guard.0, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    /// What `/proc/self/mountinfo` says of the mount and of the file system.
    fn shown(&self) -> (bool, bool) {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains(self.guard.0.to_str().unwrap())).unwrap();
        for flag in ["nosuid", "nodev", "noexec", "nodiratime", "nosymfollow"] {
            assert!(line.contains(flag), "{line}");
        }
        assert!(!line.contains("relatime") && !line.contains("noatime"), "{line}");
        let of_mount = line.split(' ').nth(5).unwrap().starts_with("ro");
        (of_mount, line.rsplit(' ').next().unwrap().starts_with("ro"))
    }
}

#[test]
fn every_way_changes_the_mount_and_keeps_its_flags() {
    let Some(tmpfs) = Tmpfs::mount("every_way_changes_the_mount_and_keeps_its_flags") else { return };
    for read_only in [true, false] {
        // An older kernel has the other ways alone.
        if set_attribute(tmpfs.fd().as_fd(), read_only) == Err(Errno::NOSYS) {
            continue;
        }
        assert_eq!(tmpfs.shown(), (read_only, false));
    }
    for read_only in [true, false] {
        set_mount_by_mount(tmpfs.fd().as_fd(), read_only).unwrap();
        assert_eq!(tmpfs.shown(), (read_only, false));
    }
    for read_only in [true, false] {
        by_mount(tmpfs.fd().as_fd(), Some(read_only)).unwrap();
        assert_eq!(tmpfs.shown(), (read_only, read_only));
        by_mount(tmpfs.fd().as_fd(), None).unwrap();
        assert_eq!(tmpfs.shown(), (read_only, read_only));
    }
    for read_only in [true, false] {
        remount(&tmpfs.guard.0, Some(read_only)).unwrap();
        assert_eq!(tmpfs.shown(), (read_only, read_only));
        remount(&tmpfs.guard.0, None).unwrap();
        assert_eq!(tmpfs.shown(), (read_only, read_only));
    }
}
