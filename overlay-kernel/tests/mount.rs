//! Real mounts of the kernel's overlayfs; skipped, with a message, where this process may not mount.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::path::{Path, PathBuf};

use overlay_core::spec::LayerSpec;
use overlay_kernel::{Flags, KernelError, Lower, Offer, Plan, Request, Upper, mount};

/// Whether overlayfs can be mounted here; says so if not.
fn possible(test: &str) -> bool {
    match Offer::probe() {
        Offer::Overlayfs { .. } => true,
        Offer::Nothing(why) => {
            eprintln!("skipped: {test}: {why}");
            false
        }
    }
}

/// A temporary directory with the layers `a`, `b` and what an upper needs; unmounted when dropped.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        for name in ["a", "b", "upper", "work", "merged"] {
            fs::create_dir(scene.path(name)).unwrap();
        }
        fs::write(scene.path("a/both"), "a").unwrap();
        fs::write(scene.path("b/both"), "b").unwrap();
        fs::write(scene.path("b/low"), "b").unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self, lowers: &[&str]) -> Request {
        let lower = |name: &&str| Lower { spec: spec(&self.path(name)), oci: false };
        Request { lowers: lowers.iter().map(lower).collect(), ..Request::default() }
    }

    fn mount(&self, request: &Request) -> Result<(), KernelError> {
        mount(&Plan::new(request).unwrap(), &self.path("merged"))
    }

    fn upper(&self) -> Option<Upper> {
        Some(Upper { upper: self.path("upper"), work: self.path("work") })
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if fs::read_to_string("/proc/self/mounts").unwrap().contains(&*self.path("merged").to_string_lossy())
        {
            rustix::mount::unmount(self.path("merged"), rustix::mount::UnmountFlags::empty()).unwrap();
        }
    }
}

fn spec(path: &Path) -> LayerSpec {
    use std::os::unix::ffi::OsStrExt;
    LayerSpec::parse(path.as_os_str().as_bytes()).unwrap()
}

fn mounts_line(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find(|line| line.contains(&*path.to_string_lossy())).unwrap().to_owned()
}

#[test]
fn a_union_is_merged_and_writes_go_to_the_upper() {
    if !possible("a_union_is_merged_and_writes_go_to_the_upper") {
        return;
    }
    let scene = Scene::new();
    scene.mount(&Request { upper: scene.upper(), ..scene.request(&["a", "b"]) }).unwrap();
    assert_eq!(fs::read(scene.path("merged/both")).unwrap(), b"a");
    fs::write(scene.path("merged/low"), "new").unwrap();
    assert_eq!(fs::read(scene.path("upper/low")).unwrap(), b"new");
    assert_eq!(fs::read(scene.path("b/low")).unwrap(), b"b");
    assert!(mounts_line(&scene.path("merged")).starts_with("overlay "), "the source");
}

#[test]
fn without_an_upper_nothing_can_be_written() {
    if !possible("without_an_upper_nothing_can_be_written") {
        return;
    }
    let scene = Scene::new();
    let flags = Flags { read_only: true, no_dev: true, ..Flags::default() };
    scene.mount(&Request { flags, ..scene.request(&["a", "b"]) }).unwrap();
    let error = fs::write(scene.path("merged/new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
    let line = mounts_line(&scene.path("merged"));
    assert!(line.contains(" ro,") && line.contains("nodev"), "{line}");
}

#[test]
fn names_that_the_option_string_would_split_are_taken_as_they_are() {
    if !possible("names_that_the_option_string_would_split_are_taken_as_they_are") {
        return;
    }
    let scene = Scene::new();
    let odd = format!("a:b,c\\d {}", "x".repeat(200));
    fs::create_dir(scene.path(&odd)).unwrap();
    fs::write(scene.path(&odd).join("odd"), "odd").unwrap();
    scene.mount(&scene.request(&[&odd, "a"])).unwrap();
    assert_eq!(fs::read(scene.path("merged/odd")).unwrap(), b"odd");
}

#[test]
fn the_kernels_own_words_are_in_the_error() {
    if !possible("the_kernels_own_words_are_in_the_error") {
        return;
    }
    let scene = Scene::new();
    let options = vec![("nonsense".into(), None)];
    let error = scene.mount(&Request { options, ..scene.request(&["a", "b"]) }).unwrap_err().to_string();
    assert!(error.contains("refuses nonsense") && error.contains("Unknown parameter"), "{error}");
}

#[test]
fn where_the_kernel_says_nothing_the_error_says_where_to_look() {
    if !possible("where_the_kernel_says_nothing_the_error_says_where_to_look") {
        return;
    }
    let scene = Scene::new();
    let upper = Some(Upper { upper: scene.path("upper"), work: scene.path("upper") });
    let error = scene.mount(&Request { upper, ..scene.request(&["a"]) }).unwrap_err().to_string();
    assert!(error.contains("refuses this stack: Invalid argument") && error.contains("dmesg"), "{error}");
}

#[test]
fn a_missing_layer_is_named() {
    if !possible("a_missing_layer_is_named") {
        return;
    }
    let scene = Scene::new();
    let error = scene.mount(&scene.request(&["a", "gone"])).unwrap_err().to_string();
    assert!(error.contains("/gone: No such file"), "{error}");
}
