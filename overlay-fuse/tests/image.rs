//! Images under the kernel's own overlayfs: a layer of any kind as one of its lowers.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod common;

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::names;
use overlay_core::Layer;
use overlay_core::conformance::Faults;
use overlay_core::error::Kind;
use overlay_core::local::{LocalLayer, LocalOptions};
use overlay_core::marker::kernel::Namespace;
use overlay_core::marker::oci::OciMarkers;
use overlay_core::memory::MemoryLayer;
use overlay_fuse::{Image, ImageOptions, ImageServer};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
};

/// A union of the kernel's, in a temporary directory, with images among its lowers.
struct Scene {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    servers: Vec<ImageServer>,
    mounted: bool,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["upper", "work", "mnt"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { dir, runtime, servers: Vec::new(), mounted: false }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn mnt(&self, path: &str) -> PathBuf {
        self.at("mnt").join(path)
    }

    fn image(&self, layer: Arc<dyn Layer>) -> Image {
        let options = ImageOptions { namespace: Namespace::Trusted, threads: 2 };
        let image = Image::serve(layer, &options, self.runtime.handle().clone());
        self.runtime.block_on(image).unwrap()
    }

    /// Mounts the layers, topmost first, under the upper.
    fn mount(&mut self, layers: Vec<Arc<dyn Layer>>) {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let images: Vec<_> = layers.into_iter().map(|layer| self.image(layer)).collect();
        for image in &images {
            fsconfig_set_fd(&context, "lowerdir+", image.as_fd()).unwrap();
        }
        for (key, name) in [("upperdir", "upper"), ("workdir", "work")] {
            fsconfig_set_fd(&context, key, open(&self.at(name))).unwrap();
        }
        fsconfig_set_string(&context, "xino", "off").unwrap();
        fsconfig_create(&context).unwrap();
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, self.at("mnt"), flags).unwrap();
        self.mounted = true;
        self.servers = images.into_iter().map(Image::into_server).collect();
    }

    /// Unmounts, and waits for the servers, which must end by themselves.
    fn end(&mut self) {
        unmount(self.at("mnt"), UnmountFlags::empty()).unwrap();
        self.mounted = false;
        for server in self.servers.drain(..) {
            server.wait().unwrap();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.mounted {
            unmount(self.at("mnt"), UnmountFlags::DETACH).unwrap();
        }
    }
}

fn open(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

fn below() -> Arc<dyn Layer> {
    let layer = MemoryLayer::builder("below")
        .file("gone", "must stay hidden")
        .file("merged/low", "low")
        .file("opaque/hidden", "must stay hidden")
        .file("both", "below");
    Arc::new(layer.build().unwrap())
}

fn above() -> Arc<dyn Layer> {
    let layer = MemoryLayer::builder("above")
        .whiteout("gone")
        .file("merged/high", "high")
        .dir("opaque")
        .opaque()
        .file("opaque/seen", "seen")
        .file("both", "above")
        .symlink("link", "both");
    Arc::new(layer.build().unwrap())
}

#[test]
fn the_kernel_reads_whiteouts_opaque_directories_and_merges() {
    needs_fuse!();
    let mut s = Scene::new();
    s.mount(vec![above(), below()]);
    assert_eq!(names(&s.mnt("")), ["both", "link", "merged", "opaque"]);
    assert_eq!(names(&s.mnt("merged")), ["high", "low"]);
    assert_eq!(names(&s.mnt("opaque")), ["seen"]);
    assert_eq!(fs::read_to_string(s.mnt("link")).unwrap(), "above");
    assert_eq!(errno(fs::read(s.mnt("gone"))), Some(Errno::NOENT));
    s.end();
}

#[test]
fn files_are_copied_up_with_all_that_they_have() {
    needs_fuse!();
    let mut s = Scene::new();
    let big = vec![7; 3_000_000];
    let layer = MemoryLayer::builder("m")
        .file("d/big", big.clone())
        .mode(0o640)
        .owner(5, 6)
        .time(overlay_core::Time { sec: -7, nsec: 8 })
        .xattr("user.x", "y")
        .symlink("d/link", "target")
        .build()
        .unwrap();
    s.mount(vec![Arc::new(layer)]);
    let ino = fs::metadata(s.mnt("d/big")).unwrap().ino();
    let file = fs::File::options().append(true).open(s.mnt("d/big")).unwrap();
    std::io::Write::write_all(&mut &file, b"!").unwrap();
    drop(file);
    let up = fs::metadata(s.at("upper/d/big")).unwrap();
    assert_eq!((up.mode() & 0o7777, up.uid(), up.gid(), up.len()), (0o640, 5, 6, 3_000_001));
    assert_eq!(fs::read(s.at("upper/d/big")).unwrap(), [big, vec![b'!']].concat());
    let mut value = [0; 8];
    let len = rustix::fs::getxattr(s.at("upper/d/big"), "user.x", &mut value).unwrap();
    assert_eq!(&value[..len], b"y");
    rustix::fs::chownat(
        CWD,
        s.mnt("d/link"),
        Some(rustix::fs::Uid::from_raw(9)),
        None,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    assert_eq!(fs::read_link(s.at("upper/d/link")).unwrap(), Path::new("target"));
    assert_eq!(fs::metadata(s.mnt("d/big")).unwrap().len(), 3_000_001);
    assert!(ino > 0);
    fs::remove_file(s.mnt("d/big")).unwrap();
    assert!(fs::symlink_metadata(s.at("upper/d/big")).unwrap().file_type().is_char_device());
    s.end();
}

#[test]
fn a_directory_of_wh_names_is_passed_through_and_read_as_the_kernel_wants_it() {
    needs_fuse!();
    let mut s = Scene::new();
    fs::create_dir_all(s.at("l/opaque")).unwrap();
    for (name, content) in
        [(".wh.gone", ""), ("opaque/.wh..wh..opq", ""), ("opaque/seen", "s"), ("both", "oci")]
    {
        fs::write(s.at("l").join(name), content).unwrap();
    }
    let oci = LocalLayer::open(&s.at("l"), &LocalOptions::new(Namespace::Trusted)).unwrap();
    s.mount(vec![OciMarkers::new(Arc::new(oci)), below()]);
    assert_eq!(names(&s.mnt("")), ["both", "merged", "opaque"]);
    assert_eq!(names(&s.mnt("opaque")), ["seen"]);
    assert_eq!(fs::read_to_string(s.mnt("both")).unwrap(), "oci");
    fs::write(s.mnt("opaque/seen"), "changed").unwrap();
    assert_eq!(fs::read_to_string(s.at("l/opaque/seen")).unwrap(), "s");
    assert_eq!(fs::read_to_string(s.at("upper/opaque/seen")).unwrap(), "changed");
    s.end();
}

#[test]
fn an_error_of_a_layer_is_an_error_of_the_union() {
    needs_fuse!();
    let mut s = Scene::new();
    let faults = Faults::new();
    s.mount(vec![faults.layer(above()), below()]);
    faults.fail_if(Kind::Io, |call| call.name.is_some_and(|name| name.as_bytes() == b"gone"));
    assert_eq!(errno(fs::read(s.mnt("gone"))), Some(Errno::IO));
    faults.fail_if(Kind::Io, |call| call.op == "list");
    assert!(
        fs::read_dir(s.mnt("merged")).unwrap().any(|entry| entry.is_err()),
        "half a listing is no listing"
    );
    faults.clear();
    assert_eq!(errno(fs::read(s.mnt("gone"))), Some(Errno::NOENT));
    s.end();
}

#[test]
fn long_directories_are_read_in_pieces_and_numbers_stay() {
    needs_fuse!();
    let mut s = Scene::new();
    let mut builder = MemoryLayer::builder("m");
    for i in 0..3000 {
        builder = builder.file(format!("d/file-number-{i:06}"), "x");
    }
    s.mount(vec![Arc::new(builder.build().unwrap()), below()]);
    let numbers = |s: &Scene| -> Vec<u64> {
        let names = names(&s.mnt("d"));
        assert_eq!(names.len(), 3000);
        names.iter().map(|name| fs::metadata(s.mnt("d").join(name)).unwrap().ino()).collect()
    };
    let before = numbers(&s);
    fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    assert_eq!(numbers(&s), before, "the kernel forgot the objects and met them again");
    s.end();
}
