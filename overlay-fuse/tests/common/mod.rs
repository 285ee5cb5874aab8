//! A union of local directories, really mounted, for the tests of this crate.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::overlay::{Overlay, OverlayOptions};
use overlay_core::{Layer, Stack, UpperLayer};
use overlay_fuse::{MountFlags, MountOptions, Mounted, mount};
use tempfile::TempDir;

/// Whether this machine can mount; says by name which test is skipped where it cannot.
pub fn can_mount(test: &str) -> bool {
    let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    let root = rustix::process::geteuid().is_root();
    if !fuse || !root {
        eprintln!("SKIPPED {test}: it needs {}", if fuse { "root" } else { "/dev/fuse" });
    }
    fuse && root
}

/// Leaves a test that cannot run here, naming it.
#[macro_export]
macro_rules! needs_fuse {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here);
        if !common::can_mount(name.trim_end_matches("::here")) {
            return;
        }
    }};
}

/// Layers `l0` (topmost), `l1`, … under `upper`, mounted on `mnt`, all in one temporary directory.
pub struct Union {
    pub dir: TempDir,
    pub overlay: Option<Arc<Overlay>>,
    runtime: tokio::runtime::Runtime,
    mounted: Option<Mounted>,
    lowers: usize,
    writable: bool,
    /// How the union behaves; what is made belongs to root.
    pub options: OverlayOptions,
}

impl Union {
    /// The directories, not mounted yet.
    pub fn new(lowers: usize) -> Self {
        rustix::process::umask(rustix::fs::Mode::empty());
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let names = (0..lowers).map(|i| format!("l{i}"));
        for name in names.chain(["upper", "work", "mnt"].map(String::from)) {
            fs::create_dir(dir.path().join(&name)).unwrap();
            fs::set_permissions(dir.path().join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options = OverlayOptions { creates_as: Some((0, 0)), ..OverlayOptions::default() };
        Self { dir, overlay: None, runtime, mounted: None, lowers, writable: true, options }
    }

    pub fn read_only(mut self) -> Self {
        self.writable = false;
        self
    }

    /// Mounts the local directories.
    pub fn mount(&mut self) -> &mut Self {
        let options = LocalOptions::new(LocalUpper::namespace(&self.at("work")).unwrap());
        let lowers = (0..self.lowers).map(|i| {
            Arc::new(LocalLayer::open(&self.at(&format!("l{i}")), &options).unwrap()) as Arc<dyn Layer>
        });
        self.mount_layers(lowers.collect())
    }

    /// Mounts any lowers under the local upper.
    pub fn mount_layers(&mut self, lowers: Vec<Arc<dyn Layer>>) -> &mut Self {
        let options = LocalOptions::new(LocalUpper::namespace(&self.at("work")).unwrap());
        let upper = self.writable.then(|| {
            Arc::new(LocalUpper::open(&self.at("upper"), &self.at("work"), &options).unwrap())
                as Arc<dyn UpperLayer>
        });
        let stack = Stack::new(upper, lowers).unwrap();
        let overlay = self.runtime.block_on(Overlay::new(stack, self.options.clone())).unwrap();
        let options = MountOptions {
            source: "overlay".into(),
            flags: MountFlags { read_only: !self.writable, ..MountFlags::default() },
            allow_other: true,
            threads: 2,
        };
        let target = self.at("mnt");
        let mounted = mount(overlay.clone(), &target, &options, self.runtime.handle().clone()).unwrap();
        self.overlay = Some(overlay);
        self.mounted = Some(mounted);
        self
    }

    pub fn unmount(&mut self) -> &mut Self {
        self.overlay = None;
        if let Some(mounted) = self.mounted.take() {
            mounted.unmounter().unmount().unwrap();
            mounted.wait().unwrap();
        }
        self
    }

    pub fn remount(&mut self) -> &mut Self {
        self.unmount().mount()
    }

    /// A path in the temporary directory.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A path in the mount.
    pub fn mnt(&self, path: &str) -> PathBuf {
        self.at("mnt").join(path)
    }

    pub fn upper(&self, path: &str) -> PathBuf {
        self.at("upper").join(path)
    }

    /// Writes a file of a layer, making its directories.
    pub fn put(&self, path: &str, content: &str) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A shell command in the mount, as user and group 1000.
    pub fn as_user(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(self.at("mnt")).uid(1000).gid(1000);
        command.output().unwrap()
    }
}

impl Drop for Union {
    fn drop(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            mounted.unmounter().unmount().unwrap();
        }
    }
}

/// The sorted names in a directory.
pub fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
