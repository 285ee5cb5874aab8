//! An upper on a file system that has no 0:0 devices, as the kernel's overlayfs: its whiteouts are xattrs, and every
//! promise holds. Skipped, with a message, where no overlay can be mounted.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use overlay_core::conformance::{Capabilities, block_on, upper_suite};
use overlay_core::entry::Found;
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::memory::MemoryLayer;
use overlay_core::{Layer, Name, Result, UpperLayer};
use tempfile::TempDir;

/// An overlay of the kernel's, unmounted when dropped.
struct Overlay(TempDir);

impl Overlay {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["l", "u", "w", "mnt"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let options = "lowerdir=l,upperdir=u,workdir=w";
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "overlay", "-o", options, "none", "mnt"]).current_dir(dir.path());
        if !mount.output().is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED local_on_overlay: it needs a privilege to mount overlayfs");
            return None;
        }
        for name in ["upper", "work"] {
            std::fs::create_dir(dir.path().join("mnt").join(name)).unwrap();
        }
        Some(Self(dir))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join("mnt").join(name)
    }

    fn upper(&self) -> Result<LocalUpper> {
        let options = LocalOptions::new(LocalUpper::namespace(&self.at("work"))?);
        LocalUpper::open(&self.at("upper"), &self.at("work"), &options)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(self.0.path().join("mnt")).status();
        assert!(done.unwrap().success());
    }
}

/// Where no overlay can be mounted, another upper.
async fn upper() -> Result<(Arc<dyn UpperLayer>, Option<Overlay>)> {
    match Overlay::mount() {
        Some(overlay) => Ok((Arc::new(overlay.upper()?), Some(overlay))),
        None => Ok((Arc::new(MemoryLayer::builder("upper").build_upper()?), None)),
    }
}

upper_suite!(upper_on_overlay, upper, Capabilities { rename_whiteout: false, ..Capabilities::ALL });

fn xattr(path: &Path, key: &str) -> Vec<u8> {
    let mut value = [0; 16];
    let len = rustix::fs::lgetxattr(path, key, &mut value).unwrap();
    value[..len].to_vec()
}

#[test]
fn its_whiteouts_are_those_that_the_kernel_reads() {
    let Some(overlay) = Overlay::mount() else { return };
    let name = |text: &str| Name::new(text).unwrap();
    block_on(async {
        let upper = overlay.upper().unwrap();
        let (root, work) = (upper.upper_root().await.unwrap(), upper.work().await.unwrap());
        root.make(&name("d"), &overlay_core::layer::Make::Dir(0o755)).await.unwrap();
        let dir = root.upper_dir(&name("d")).await.unwrap();
        work.whiteout(&name("staged")).await.unwrap();
        let how = overlay_core::layer::Rename::Replace;
        work.rename(&name("staged"), dir.as_ref(), &name("gone"), how).await.unwrap();
        assert_eq!(dir.lookup(&name("gone")).await.unwrap(), Some(Found::Whiteout));
        drop(upper);
        for dir in ["upper", "upper/d"] {
            assert_eq!(xattr(&overlay.at(dir), "trusted.overlay.opaque"), b"x", "{dir}");
        }
        assert_eq!(xattr(&overlay.at("upper/d/gone"), "trusted.overlay.whiteout"), b"y");
        // As a lower, by the marks alone.
        let options = LocalOptions::new(LocalUpper::namespace(&overlay.at("work")).unwrap());
        let lower = LocalLayer::open(&overlay.at("upper"), &options).unwrap();
        let dir = lower.root().await.unwrap().dir(&name("d")).await.unwrap();
        assert_eq!(dir.lookup(&name("gone")).await.unwrap(), Some(Found::Whiteout));
    });
}
