//! The directories of a plan, opened: each is the kernel's by its descriptor or by a path to it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::KernelError;
use crate::plan::{Layer, Lower, Plan, Role};

/// The longest value that `fsconfig` takes as a string; with one byte more it answers EINVAL.
const VALUE_MAX: usize = 255;

/// Every layer of a plan, in its order. As many descriptors are open as there are directories.
pub(crate) struct Layers<'a>(Vec<Opened<'a>>);

/// One directory.
pub(crate) struct Opened<'a> {
    /// What it is to the union.
    pub(crate) role: Role,
    /// What people call it.
    pub(crate) name: String,
    /// Its absolute path; a mount without a place has none.
    pub(crate) path: Option<PathBuf>,
    directory: Directory<'a>,
}

enum Directory<'a> {
    Own(OwnedFd),
    Lent(BorrowedFd<'a>),
}

impl<'a> Layers<'a> {
    /// Opens what has a path and borrows what has none.
    pub(crate) fn open(plan: &Plan, mounts: &[BorrowedFd<'a>]) -> Result<Self, KernelError> {
        plan.layers.iter().map(|layer| Opened::new(layer, mounts)).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Opened<'a>> {
        self.0.iter()
    }

    /// The layers that are mounts without a path; a mount that serves twice is one.
    pub(crate) fn without_path(&self) -> impl Iterator<Item = &Opened<'a>> {
        let lent = |layer: &&Opened<'_>| layer.path.is_none();
        let first = |(at, layer): &(usize, &Opened<'_>)| {
            let same = |other: &Opened<'_>| other.as_fd().as_raw_fd() == layer.as_fd().as_raw_fd();
            !self.0[..*at].iter().any(same)
        };
        self.0.iter().enumerate().filter(first).map(|(_, layer)| layer).filter(lent)
    }
}

impl<'a> Opened<'a> {
    fn new(layer: &Layer, mounts: &[BorrowedFd<'a>]) -> Result<Self, KernelError> {
        let (directory, path) = match &layer.place {
            Lower::Directory(path) => (Directory::Own(open(path)?), Some(absolute(path)?)),
            Lower::Mount { index, name } => match mounts.get(*index) {
                Some(mount) => (Directory::Lent(*mount), None),
                None => {
                    let (name, count) = (name.clone(), mounts.len());
                    return Err(KernelError::NoMount { name, index: *index, count });
                }
            },
        };
        Ok(Self { role: layer.role, name: layer.place.to_string(), path, directory })
    }

    /// A path to the directory that is short and needs no escapes, true in this process alone.
    pub(crate) fn path_of_descriptor(&self) -> String {
        format!("/proc/self/fd/{}", self.as_fd().as_raw_fd())
    }

    /// What `fsconfig` is told as a string: the real path, which then shows in `/proc/mounts`, if it fits.
    pub(crate) fn text(&self) -> PathBuf {
        // The kernel unescapes `upperdir` and `workdir`, not `lowerdir+`: a backslash is nothing for either.
        let fits = |path: &&PathBuf| {
            let bytes = path.as_os_str().as_bytes();
            bytes.len() <= VALUE_MAX && !bytes.contains(&b'\\')
        };
        let path = self.path.as_ref().filter(fits).cloned();
        path.unwrap_or_else(|| self.path_of_descriptor().into())
    }
}

impl AsFd for Opened<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.directory {
            Directory::Own(fd) => fd.as_fd(),
            Directory::Lent(fd) => *fd,
        }
    }
}

fn open(path: &Path) -> Result<OwnedFd, KernelError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| KernelError::Layer { path: path.into(), cause: errno.into() })
}

fn absolute(path: &Path) -> Result<PathBuf, KernelError> {
    std::path::absolute(path).map_err(|cause| KernelError::Layer { path: path.into(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: Option<String>) -> Opened<'static> {
        let directory = Directory::Own(open(Path::new("/")).unwrap());
        Opened { role: Role::Lower, name: "x".into(), path: path.map(Into::into), directory }
    }

    #[test]
    fn a_path_is_told_as_it_is_where_it_fits() {
        let fits = format!("/{}", "x".repeat(254));
        for path in [fits, "/a:b,c d".into()] {
            assert_eq!(opened(Some(path.clone())).text(), PathBuf::from(path));
        }
    }

    #[test]
    fn else_the_descriptor_is_told() {
        let long = format!("/{}", "x".repeat(255));
        for path in [Some(long), Some("/a\\b".into()), None] {
            let layer = opened(path);
            assert_eq!(layer.text(), PathBuf::from(layer.path_of_descriptor()));
        }
    }
}
