//! Layers, mounts and unions for the tests with real mounts.

#![allow(dead_code, unreachable_pub, reason = "every test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use overlay_kernel::{KernelError, Lower, Means, Mounted, Offer, Plan, Request, Upper};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen,
};

/// The means that this kernel has, newest first; none, with a message, where this process may not mount.
pub fn means(test: &str) -> Vec<Means> {
    match Offer::probe() {
        Offer::Overlayfs(Means::Descriptors) => vec![Means::Descriptors, Means::Paths, Means::Legacy],
        Offer::Overlayfs(Means::Paths) => vec![Means::Paths, Means::Legacy],
        Offer::Overlayfs(Means::Legacy) => vec![Means::Legacy],
        Offer::Nothing(why) => {
            eprintln!("skipped: {test}: {why}");
            vec![]
        }
    }
}

/// The same for tests with layers that are mounts without a path, which need `fsopen` themselves.
pub fn means_with_mounts(test: &str) -> Vec<Means> {
    let means = means(test);
    if !means.is_empty() && fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).is_err() {
        eprintln!("skipped: {test}: this kernel makes no mounts without a path");
        return vec![];
    }
    means
}

/// A temporary directory in which unions are mounted; what is still mounted below it goes with it.
pub struct Scene(tempfile::TempDir);

impl Scene {
    /// With the lowers `a` and `b`, `upper` and `work`, the mount point `merged` and the runtime directory `run`.
    pub fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        for name in ["a", "b", "upper", "work", "merged", "run"] {
            scene.make(name);
        }
        fs::write(scene.path("a/both"), "a").unwrap();
        fs::write(scene.path("b/both"), "b").unwrap();
        fs::write(scene.path("b/low"), "b").unwrap();
        scene
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn make(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn lower(&self, name: &str) -> Lower {
        Lower::Directory(self.path(name))
    }

    pub fn upper(&self) -> Option<Upper> {
        Some(Upper { upper: self.path("upper"), work: self.path("work") })
    }

    /// A union of these lowers.
    pub fn over(&self, lowers: &[&str]) -> Request {
        Request { lowers: lowers.iter().map(|name| self.lower(name)).collect(), ..Request::default() }
    }

    /// The same with the upper.
    pub fn writable(&self, lowers: &[&str]) -> Request {
        Request { upper: self.upper(), ..self.over(lowers) }
    }

    pub fn mount(&self, request: &Request, means: Means) -> Result<Mounted, KernelError> {
        self.mount_with(request, &[], means)
    }

    pub fn mount_with(
        &self,
        request: &Request,
        mounts: &[BorrowedFd<'_>],
        means: Means,
    ) -> Result<Mounted, KernelError> {
        let plan = Plan::new(request).unwrap_or_else(|why| panic!("{why}"));
        overlay_kernel::mount(&plan, mounts, means, &self.path("merged"), &self.path("run"))
    }

    /// The sentence of the error with which the union is refused.
    pub fn refused(&self, request: &Request, means: Means) -> String {
        self.mount(request, means).unwrap_err().to_string()
    }

    /// The lines of `/proc/self/mountinfo` for mounts below the scene.
    pub fn mounts(&self) -> Vec<String> {
        let place = format!(" {}", self.0.path().display());
        // Some tests have layers whose names are no text.
        let text = fs::read("/proc/self/mountinfo").unwrap();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| line.contains(&place)).map(ToOwned::to_owned).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for line in self.mounts().iter().rev() {
            let place = line.split(' ').nth(4).unwrap();
            rustix::mount::unmount(place, UnmountFlags::DETACH).unwrap();
        }
    }
}

/// The names in a directory, sorted.
pub fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

/// A mount without a place, of a type that needs no options.
pub fn detached(kind: &str) -> OwnedFd {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(&context).unwrap();
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

/// A tmpfs without a place, with files of these names that hold their names.
pub fn tmpfs(files: &[&str]) -> OwnedFd {
    let mount = detached("tmpfs");
    for name in files {
        put(mount.as_fd(), name, name);
    }
    mount
}

pub fn put(directory: BorrowedFd<'_>, name: &str, text: &str) {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let file = rustix::fs::openat(directory, name, flags, mode).unwrap();
    rustix::io::write(file, text.as_bytes()).unwrap();
}

/// Mounts a file system of this type on a new directory of the scene.
pub fn mounted(scene: &Scene, kind: &str, name: &str) -> PathBuf {
    let place = scene.make(name);
    rustix::mount::mount("test", &place, kind, rustix::mount::MountFlags::empty(), None).unwrap();
    place
}

pub fn options(words: &[&str]) -> Vec<(String, Option<String>)> {
    let option = |word: &&str| match word.split_once('=') {
        Some((key, value)) => (key.into(), Some(value.into())),
        None => ((*word).into(), None),
    };
    words.iter().map(option).collect()
}
