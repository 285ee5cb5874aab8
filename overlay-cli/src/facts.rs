//! What the file system says of the directories that a mount names.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use overlay_kernel::Offer;

use crate::failure::Result;
use crate::mounts;
use crate::plan::{Intent, Lower};

/// What the file system says of all directories of a mount.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The lower layers, as they were given, those for data last; `None` for one that is no local directory.
    pub(crate) lowers: Vec<Option<Directory>>,
    /// Which of the lower layers lie on so many file systems that the kernel merges no more of them.
    pub(crate) too_deep: Vec<bool>,
    /// The upper and the work.
    pub(crate) upper: Option<(Directory, Directory)>,
    /// The layer in which the mount point lies, if it is one that is read by its path.
    pub(crate) mounted_inside: Option<String>,
    /// The mount point.
    pub(crate) mountpoint: Directory,
    /// Where the kernel's overlayfs has the upper mounted already. (A server of ours holds a lock on it.)
    pub(crate) upper_mounted_on: Option<PathBuf>,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directory {
    /// A directory, and which one.
    Present {
        /// Its device.
        dev: u64,
        /// Its inode.
        ino: u64,
    },
    /// Nothing.
    Absent,
    /// Something that is no directory.
    Other,
    /// Nobody knows, for this reason.
    Unreachable(String),
}

impl Facts {
    /// Asks the file system.
    pub(crate) fn gather(intent: &Intent, offer: &Offer, runtime: &Path) -> Result<Self> {
        let lowers = intent.all_lowers().map(|lower| lower.spec.path().map(|path| Directory::at(&path)));
        let upper = intent.upper.as_ref();
        Ok(Self {
            lowers: lowers.collect(),
            too_deep: intent
                .all_lowers()
                .map(|lower| too_deep(lower, offer, runtime))
                .collect::<Result<_>>()?,
            upper: upper.map(|pair| (Directory::at(&pair.upper), Directory::at(&pair.work))),
            mounted_inside: mounted_inside(intent),
            mountpoint: Directory::at(&intent.mountpoint),
            upper_mounted_on: upper.map(|pair| mounted_on(&pair.upper)).transpose()?.flatten(),
        })
    }
}

impl Facts {
    /// Whether all lower layers are directories of one file system.
    pub(crate) fn are_lowers_on_one_file_system(&self) -> bool {
        let mut devices = self.lowers.iter().map(|lower| match lower {
            Some(Directory::Present { dev, .. }) => Some(*dev),
            _ => None,
        });
        let first = devices.next().flatten();
        first.is_some() && devices.all(|device| device == first)
    }
}

/// A `file://` store looks every object up by its path, the mount and all.
fn mounted_inside(intent: &Intent) -> Option<String> {
    let mountpoint = intent.mountpoint.canonicalize().ok()?;
    let stores = intent.all_lowers().filter(|lower| lower.spec.scheme() == "file");
    let names = stores.map(|lower| lower.spec.to_string());
    let holds = |name: &String| {
        let path = name.strip_prefix("file://").and_then(|path| Path::new(path).canonicalize().ok());
        path.is_some_and(|path| mountpoint.starts_with(path))
    };
    names.into_iter().find(holds)
}

fn too_deep(lower: &Lower, offer: &Offer, runtime: &Path) -> Result<bool> {
    match (lower.plain(), offer) {
        (Some(path), Offer::Overlayfs(means)) => Ok(overlay_kernel::is_too_deep(&path, *means, runtime)?),
        _ => Ok(false),
    }
}

fn mounted_on(upper: &Path) -> Result<Option<PathBuf>> {
    let ours = Directory::at(upper);
    let is_ours = |other: &PathBuf| matches!(ours, Directory::Present { .. }) && Directory::at(other) == ours;
    let mounts = mounts::all()?.into_iter();
    Ok(mounts.filter(|mount| mount.upper.as_ref().is_some_and(is_ours)).map(|mount| mount.path).next())
}

impl Directory {
    fn at(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(data) if data.is_dir() => Self::Present { dev: data.dev(), ino: data.ino() },
            Ok(_) => Self::Other,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Self::Absent,
                io::ErrorKind::NotADirectory => Self::Other,
                io::ErrorKind::NotConnected => Self::Unreachable(
                    "the server of a mount there has died; unmount it with \"overlay umount\"".into(),
                ),
                _ => Self::Unreachable(error.to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_and_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("dir", at("link")).unwrap();
        assert!(matches!(Directory::at(&at("dir")), Directory::Present { .. }));
        assert_eq!(Directory::at(&at("dir")), Directory::at(&at("link")));
        assert_eq!(Directory::at(&at("file")), Directory::Other);
        assert_eq!(Directory::at(&at("file/below")), Directory::Other);
        assert_eq!(Directory::at(&at("none")), Directory::Absent);
    }
}
