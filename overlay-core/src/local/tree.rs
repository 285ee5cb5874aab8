//! What the directories of one local layer share, and the small decisions that depend on it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use rustix::io::Errno;

use super::LocalOptions;
use super::budget::{FdBudget, lock};
use super::dir::LocalDir;
use super::sys;
use super::whiteout::Whiteouts;
use crate::attr::{Attr, Kind};
use crate::entry::{Entry, Found, Mark};
use crate::error::{Error, Result};
use crate::layer::Target;
use crate::marker::kernel::{FUSE_OVERLAYFS_OPAQUE, HOLDS_WHITEOUTS, Namespace, OPAQUE};
use crate::name::Name;

/// One local layer.
pub(super) struct Tree {
    pub(super) label: Arc<str>,
    pub(super) budget: FdBudget,
    pub(super) namespace: Namespace,
    /// Whether fuse-overlayfs's own opaque mark counts.
    pub(super) fuse_overlayfs: bool,
    /// Whether mount points inside the layer must be stepped around, since its mount could not be cloned.
    pub(super) beneath: bool,
    /// Whether the process's umask takes bits from the modes of new objects.
    pub(super) masked: bool,
    /// How whiteouts are written; those of the second kind need no mark on their directory here.
    pub(super) whiteouts: Whiteouts,
    /// The root, open for reading, and the UUID of its file system; once somebody asked.
    pub(super) fs: OnceLock<Option<(OwnedFd, [u8; 16])>>,
    /// One handle a directory, by (dev, ino), so that a rename finds the handles it moves. Unused by lowers.
    pub(super) dirs: Option<Mutex<Handles>>,
}

/// Directory handles by (dev, ino).
pub(super) type Handles = HashMap<(u64, u64), Weak<LocalDir>>;

impl Tree {
    /// A layer whose mount could be cloned, or not (`beneath`). An upper says how it writes whiteouts, and has more to
    /// keep than a lower.
    pub(super) fn new(
        label: Arc<str>,
        options: &LocalOptions,
        beneath: bool,
        upper: Option<Whiteouts>,
    ) -> Arc<Self> {
        let is_upper = upper.is_some();
        Arc::new(Self {
            whiteouts: upper.unwrap_or(Whiteouts::Devices),
            label,
            budget: options.budget.clone(),
            namespace: options.namespace,
            fuse_overlayfs: options.fuse_overlayfs,
            beneath,
            fs: OnceLock::new(),
            masked: is_upper && sys::is_masked(),
            dirs: is_upper.then(Mutex::default),
        })
    }

    /// Names operation, layer and object in the error of a system call.
    pub(super) fn fail(&self, errno: Errno, op: &'static str, name: Option<&Name>) -> Error {
        let error = Error::os(errno, op).in_layer(&self.label);
        match name {
            Some(name) => error.at(name),
            None => error,
        }
    }

    /// Adds the marks of the object `name` in `dir` to its attributes.
    pub(super) fn found(
        &self,
        dir: impl AsFd,
        name: &Name,
        attr: Attr,
        holds_whiteouts: bool,
    ) -> Result<Found> {
        if is_whiteout(&attr) {
            return Ok(Found::Whiteout);
        }
        // Other objects have no marks but the origin of a copy.
        if !matches!(attr.kind, Kind::File | Kind::Dir) && self.dirs.is_none() {
            return Ok(Found::plain(attr));
        }
        let dir = dir.as_fd();
        let keys =
            sys::xattr_keys(dir, name.as_bytes()).map_err(|e| self.fail(e, "listxattr", Some(name)))?;
        let mut entry = Entry::plain(attr);
        for key in keys {
            let Some(mark) = self.mark(&key) else { continue };
            let value = sys::xattr(dir, name.as_bytes(), &key);
            let value = value.map_err(|e| self.fail(e, "getxattr", Some(name)))?.unwrap_or_default();
            if mark == Mark::Whiteout
                && (holds_whiteouts || self.whiteouts == Whiteouts::Xattrs)
                && entry.attr.kind == Kind::File
                && entry.attr.size == 0
            {
                return Ok(Found::Whiteout);
            }
            apply(&mut entry, mark, value);
        }
        Ok(Found::Entry(entry))
    }

    fn mark(&self, key: &[u8]) -> Option<Mark> {
        if self.fuse_overlayfs && key == FUSE_OVERLAYFS_OPAQUE.as_bytes() {
            return Some(Mark::Opaque);
        }
        self.namespace.mark(key)
    }

    /// Whether regular files of the directory may be whiteouts: its `opaque` mark is `x`.
    pub(super) fn holds_whiteouts(&self, dir: impl AsFd) -> Result<bool> {
        let key = self.namespace.key(Mark::Opaque);
        let value = sys::xattr(dir.as_fd(), b"", key.as_bytes());
        Ok(value.map_err(|e| self.fail(e, "getxattr", None))?.as_deref() == Some(HOLDS_WHITEOUTS))
    }

    /// The root, open for reading, and the UUID of its file system.
    pub(super) fn fs(&self, root: BorrowedFd<'_>) -> Option<&(OwnedFd, [u8; 16])> {
        let open = || {
            let fd = sys::reopen_dir(root).ok()?;
            let uuid = sys::fs_uuid(fd.as_fd());
            Some((fd, uuid))
        };
        self.fs.get_or_init(open).as_ref()
    }

    /// The xattr keys that users see.
    pub(super) fn visible(&self, keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        keys.iter().filter_map(|key| self.namespace.unescape(key)).collect()
    }

    /// Records the one handle of a directory, or returns the one that exists.
    pub(super) fn unique(&self, dir: Arc<LocalDir>) -> Arc<LocalDir> {
        let Some(dirs) = &self.dirs else { return dir };
        let mut dirs = lock(dirs);
        if let Some(known) = dirs.get(&dir.id).and_then(Weak::upgrade) {
            return known;
        }
        dirs.insert(dir.id, Arc::downgrade(&dir));
        dir
    }

    /// The handle of a directory, if one was given out and is in use.
    pub(super) fn known(&self, id: (u64, u64)) -> Option<Arc<LocalDir>> {
        lock(self.dirs.as_ref()?).get(&id)?.upgrade()
    }

    /// Forgets a directory whose last handle goes.
    pub(super) fn forget(&self, id: (u64, u64)) {
        if let Some(dirs) = &self.dirs {
            let mut dirs = lock(dirs);
            if dirs.get(&id).is_some_and(|weak| weak.strong_count() == 0) {
                dirs.remove(&id);
            }
        }
    }
}

/// Whether an object is the kernel's mark of a deletion.
pub(super) fn is_whiteout(attr: &Attr) -> bool {
    attr.kind == Kind::Char && attr.rdev == 0
}

fn apply(entry: &mut Entry, mark: Mark, value: Vec<u8>) {
    let is_dir = entry.attr.is_dir();
    match mark {
        Mark::Opaque => entry.opaque = is_dir && value == OPAQUE,
        Mark::Redirect => entry.redirect = Some(value),
        Mark::Metacopy => entry.metacopy = entry.attr.kind == Kind::File,
        Mark::Whiteout => {}
        Mark::Origin => entry.origin = Some(value),
        Mark::Impure => entry.impure = is_dir,
        Mark::Nlink => entry.nlink = Some(value),
    }
}

/// The bytes that a [`Target`] is called by relative to its directory: nothing for the directory itself.
pub(super) fn relative<'a>(target: Target<'a>) -> &'a [u8] {
    target.name().map_or(b"", Name::as_bytes)
}
