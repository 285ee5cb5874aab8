//! A directory of a local layer, lower or upper.

use std::any::Any;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use rustix::io::Errno;

use super::budget::{Slot, lock};
use super::file::{LocalFile, LocalNode};
use super::sys::{self, Sys};
use super::tree::{Tree, is_whiteout, relative};
use super::whiteout::Whiteouts;
use crate::attr::{Attr, Kind, SetAttr, Time};
use crate::entry::{FileId, Found, ListEntry, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Make, Rename, SetXattr, Target, UpperDir, UpperFile, UpperNode};
use crate::marker::kernel::OPAQUE;
use crate::name::Name;

/// A directory whose descriptor may be closed between two uses and is found again through its parent.
pub(super) struct LocalDir {
    pub(super) tree: Arc<Tree>,
    slot: Arc<Slot>,
    place: Mutex<Place>,
    holds_whiteouts: OnceLock<bool>,
    /// Device and inode number: a directory found again must be the same one.
    pub(super) id: (u64, u64),
    itself: std::sync::Weak<LocalDir>,
}

/// Where a directory is.
enum Place {
    /// The root of the layer or of the work directory: always open.
    Root(Arc<OwnedFd>),
    /// A name in another directory.
    Child(Arc<LocalDir>, Name),
}

impl LocalDir {
    /// The root of a tree.
    pub(super) fn root(tree: Arc<Tree>, fd: OwnedFd) -> Result<Arc<Self>> {
        let attr = sys::stat(fd.as_fd(), b"").map_err(|e| tree.fail(e, "stat", None))?;
        Ok(Self::at(tree, Place::Root(Arc::new(fd)), (attr.dev, attr.ino)))
    }

    fn at(tree: Arc<Tree>, place: Place, id: (u64, u64)) -> Arc<Self> {
        let shared = tree.clone();
        shared.unique(Arc::new_cyclic(|itself| Self {
            tree,
            slot: Arc::default(),
            place: Mutex::new(place),
            holds_whiteouts: OnceLock::new(),
            id,
            itself: itself.clone(),
        }))
    }

    /// The descriptor, opened again if it was closed.
    pub(super) fn fd(&self) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.slot.fd() {
            return Ok(fd);
        }
        let (parent, name) = match &*lock(&self.place) {
            Place::Root(fd) => return Ok(fd.clone()),
            Place::Child(parent, name) => (parent.clone(), name.clone()),
        };
        let above = parent.fd()?;
        let open = sys::open_dir(above.as_fd(), name.as_bytes(), self.tree.beneath);
        let fd = open.map_err(|e| self.tree.fail(e, "open", Some(&name)))?;
        let attr = sys::stat(fd.as_fd(), b"").map_err(|e| self.tree.fail(e, "stat", Some(&name)))?;
        if (attr.dev, attr.ino) != self.id {
            return Err(self.tree.fail(Errno::STALE, "open", Some(&name)));
        }
        let fd = Arc::new(fd);
        self.tree.budget.fill(&self.slot, fd.clone());
        Ok(fd)
    }

    /// Does something with the descriptor and names what failed.
    pub(super) fn with<T>(
        &self,
        op: &'static str,
        name: Option<&Name>,
        call: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> Sys<T>,
    ) -> Result<T> {
        let fd = self.fd()?;
        call(fd.as_fd()).map_err(|errno| self.tree.fail(errno, op, name))
    }

    fn stat_now(&self, name: &Name) -> Result<Option<Attr>> {
        let fd = self.fd()?;
        let stat = if self.tree.beneath {
            sys::open_node(fd.as_fd(), name.as_bytes(), true).and_then(|node| sys::stat(node.as_fd(), b""))
        } else {
            sys::stat(fd.as_fd(), name.as_bytes())
        };
        match stat {
            Ok(attr) => Ok(Some(attr)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::XDEV) if self.tree.beneath => Ok(Some(covered(self.id))),
            Err(errno) => Err(self.tree.fail(errno, "lookup", Some(name))),
        }
    }

    fn open_child(&self, name: &Name) -> Result<Arc<Self>> {
        let fd = self.with("open", Some(name), |dir| {
            match sys::open_dir(dir, name.as_bytes(), self.tree.beneath) {
                Err(Errno::NOTDIR) if self.is_deleted(name) => Err(Errno::NOENT),
                other => other,
            }
        })?;
        let attr = sys::stat(fd.as_fd(), b"").map_err(|e| self.tree.fail(e, "stat", Some(name)))?;
        let parent = self.itself.upgrade().ok_or_else(|| self.tree.fail(Errno::STALE, "open", Some(name)))?;
        let child = Self::at(self.tree.clone(), Place::Child(parent, name.clone()), (attr.dev, attr.ino));
        if child.slot.fd().is_none() {
            self.tree.budget.fill(&child.slot, Arc::new(fd));
        }
        Ok(child)
    }

    /// Whether the name is a whiteout, as far as can be seen.
    fn is_deleted(&self, name: &Name) -> bool {
        matches!(self.lookup_now(name), Ok(Some(Found::Whiteout)))
    }

    fn open_file(&self, name: &Name, writable: bool) -> Result<Arc<LocalFile>> {
        // Opening a device acts on it, so what it is comes first.
        let attr = self.with("open", Some(name), |dir| sys::stat(dir, name.as_bytes()))?;
        let refuse = |kind| Err(Error::new(kind, "open").at(name).in_layer(&self.tree.label));
        match attr.kind {
            Kind::File if attr.size == 0 && self.is_xattr_whiteout(name)? => {
                return refuse(ErrorKind::NotFound);
            }
            Kind::File => {}
            Kind::Dir => return refuse(ErrorKind::IsDir),
            _ if is_whiteout(&attr) => return refuse(ErrorKind::NotFound),
            _ => return refuse(ErrorKind::Invalid),
        }
        let fd = self.with("open", Some(name), |dir| sys::open_file(dir, name.as_bytes(), writable))?;
        Ok(Arc::new(LocalFile::new(self.tree.clone(), fd)))
    }

    fn open_node(&self, name: &Name, op: &'static str) -> Result<OwnedFd> {
        self.with(op, Some(name), |dir| sys::open_node(dir, name.as_bytes(), self.tree.beneath))
    }

    fn whiteouts_possible(&self) -> Result<bool> {
        if self.tree.whiteouts == Whiteouts::Xattrs {
            return Ok(true);
        }
        if let Some(known) = self.holds_whiteouts.get() {
            return Ok(*known);
        }
        let fd = self.fd()?;
        let holds = self.tree.holds_whiteouts(fd)?;
        Ok(*self.holds_whiteouts.get_or_init(|| holds))
    }

    fn row(&self, row: sys::Row) -> Result<Option<ListEntry>> {
        let name = Name::new(&row.name)?;
        let doubtful = match row.kind {
            None | Some(Kind::Char) => true,
            Some(Kind::File) => self.whiteouts_possible()?,
            _ => false,
        };
        let plain = |kind| ListEntry { name: name.clone(), kind, ino: row.ino, whiteout: false };
        match row.kind {
            Some(kind) if !doubtful => Ok(Some(plain(kind))),
            _ => Ok(self.lookup_now(&name)?.map(|found| match found {
                Found::Whiteout => ListEntry { whiteout: true, ..plain(Kind::Char) },
                Found::Entry(entry) => plain(entry.attr.kind),
            })),
        }
    }

    pub(super) fn lookup_now(&self, name: &Name) -> Result<Option<Found>> {
        let Some(attr) = self.stat_now(name)? else { return Ok(None) };
        if attr.dev == COVERED {
            return Ok(Some(Found::plain(attr)));
        }
        let whiteouts = attr.kind == Kind::File && attr.size == 0 && self.whiteouts_possible()?;
        self.tree.found(self.fd()?, name, attr, whiteouts).map(Some)
    }

    fn sibling<'a>(&self, to: &'a dyn UpperDir, op: &'static str) -> Result<&'a Self> {
        let foreign = || Error::new(ErrorKind::CrossDevice, op).in_layer(&self.tree.label);
        to.as_any().downcast_ref().ok_or_else(foreign)
    }

    /// Tells the handle of a directory, if there is one, that it lies elsewhere now.
    fn moved(&self, handle: Option<Arc<Self>>, name: &Name) {
        if let (Some(handle), Some(parent)) = (handle, self.itself.upgrade()) {
            *lock(&handle.place) = Place::Child(parent, name.clone());
        }
    }

    /// The handle of the child directory `name`, if one was given out.
    fn handle_of(&self, name: &Name) -> Result<Option<Arc<Self>>> {
        let attr = self.stat_now(name)?.filter(Attr::is_dir);
        Ok(attr.and_then(|attr| self.tree.known((attr.dev, attr.ino))))
    }

    /// The attributes of an object of this file system by its identity.
    pub(super) fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        let Some((root, fs)) = self.tree.fs(self.fd()?.as_fd()) else { return Ok(None) };
        if *fs != id.fs {
            return Ok(None);
        }
        let found = sys::open_handle(root.as_fd(), id.kind, &id.handle);
        match found.and_then(|fd| sys::stat(fd.as_fd(), b"")) {
            Ok(attr) => Ok(Some(attr)),
            // It is gone, or this process may not look things up by handle at all.
            Err(Errno::STALE | Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => Ok(None),
            Err(errno) => Err(self.tree.fail(errno, "find", None)),
        }
    }

    fn set_mode(&self, target: Target<'_>, mode: u32) -> Result<()> {
        match target.name() {
            None => self.with("chmod", None, |dir| sys::chmod(dir, mode)),
            Some(name) => {
                let node = self.open_node(name, "chmod")?;
                sys::chmod(node.as_fd(), mode).map_err(|e| self.tree.fail(e, "chmod", Some(name)))
            }
        }
    }

    fn set_size(&self, target: Target<'_>, size: u64) -> Result<()> {
        let is_dir = || Error::new(ErrorKind::IsDir, "truncate").in_layer(&self.tree.label);
        let name = target.name().ok_or_else(is_dir)?;
        let file = self.open_file(name, true)?;
        sys::truncate(file.fd(), size).map_err(|e| self.tree.fail(e, "truncate", Some(name)))
    }
}

impl Drop for LocalDir {
    fn drop(&mut self) {
        self.tree.forget(self.id);
    }
}

/// The `dev` of a directory that something is mounted on: unlike any real device.
const COVERED: u64 = u64::MAX;

/// What stands for a directory that something is mounted on, where the layer's mount could not be cloned: the
/// mount must not be entered (it may be our own), and what lies under it cannot be seen. It is empty.
fn covered(parent: (u64, u64)) -> Attr {
    let ino = (1 << 62) | parent.1;
    Attr { dev: COVERED, nlink: 2, ..Attr::new(Kind::Dir, ino, 0o755, 0, Time::default()) }
}

/// An empty directory.
struct CoveredDir(Attr);

#[async_trait]
impl Dir for CoveredDir {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.0.clone())
    }
    async fn lookup(&self, _name: &Name) -> Result<Option<Found>> {
        Ok(None)
    }
    async fn list(&self) -> Result<Vec<ListEntry>> {
        Ok(Vec::new())
    }
    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Err(Error::new(ErrorKind::NotFound, "open").at(name))
    }
    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Err(Error::new(ErrorKind::NotFound, "open").at(name))
    }
}

#[async_trait]
impl Dir for LocalDir {
    async fn attr(&self) -> Result<Attr> {
        self.with("stat", None, |dir| sys::stat(dir, b""))
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        self.lookup_now(name)
    }

    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        let found = self.stat_now(name)?.filter(|attr| !is_whiteout(attr));
        let is_empty_file = |attr: &Attr| attr.kind == Kind::File && attr.size == 0;
        if found.as_ref().is_some_and(is_empty_file) && self.is_xattr_whiteout(name)? {
            return Ok(None);
        }
        Ok(found)
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        let rows = self.with("readdir", None, sys::list)?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            entries.extend(self.row(row)?);
        }
        Ok(entries)
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        if self.tree.beneath && self.stat_now(name)?.is_some_and(|attr| attr.dev == COVERED) {
            return Ok(Arc::new(CoveredDir(covered(self.id))));
        }
        Ok(self.open_child(name)?)
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Ok(self.open_file(name, false)?)
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.with("readlink", Some(name), |dir| sys::read_link(dir, name.as_bytes()))
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = self.tree.namespace.escape(key);
        self.with("getxattr", target.name(), |dir| sys::xattr(dir, relative(target), &key))
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        let keys = self.with("listxattr", target.name(), |dir| sys::xattr_keys(dir, relative(target)))?;
        Ok(self.tree.visible(keys))
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        let fd = self.fd()?;
        let Some((_, fs)) = self.tree.fs(fd.as_fd()) else { return Ok(None) };
        let told = sys::handle(fd.as_fd(), relative(target));
        let told = told.map_err(|e| self.tree.fail(e, "name_to_handle", target.name()))?;
        Ok(told.map(|(kind, handle)| FileId { fs: *fs, kind, handle }))
    }

    async fn is_protected(&self, target: Target<'_>) -> Result<bool> {
        self.with("stat", target.name(), |dir| sys::is_protected(dir, relative(target)))
    }

    async fn flags(&self, target: Target<'_>) -> Result<u32> {
        self.with_node(target, "getflags", sys::flags)
    }
}

impl LocalDir {
    /// Does something with a descriptor of a file or directory; `NotTty` for anything else, which must not be
    /// opened.
    fn with_node<T>(
        &self,
        target: Target<'_>,
        op: &'static str,
        call: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> Sys<T>,
    ) -> Result<T> {
        let Some(name) = target.name() else { return self.with(op, None, call) };
        let node = self.open_node(name, op)?;
        let attr = sys::stat(node.as_fd(), b"").map_err(|e| self.tree.fail(e, op, Some(name)))?;
        if !matches!(attr.kind, Kind::File | Kind::Dir) {
            return Err(self.tree.fail(Errno::NOTTY, op, Some(name)));
        }
        call(node.as_fd()).map_err(|e| self.tree.fail(e, op, Some(name)))
    }
}

#[async_trait]
impl UpperDir for LocalDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>> {
        Ok(self.open_child(name)?)
    }

    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>> {
        Ok(self.open_file(name, true)?)
    }

    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>> {
        let fd = self.open_node(name, "open")?;
        Ok(Arc::new(LocalNode::new(self.tree.clone(), fd)))
    }

    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>> {
        let fd = self.with("create", Some(name), |dir| sys::create(dir, name.as_bytes(), mode))?;
        if self.tree.masked {
            sys::chmod(fd.as_fd(), mode).map_err(|e| self.tree.fail(e, "create", Some(name)))?;
        }
        Ok(Arc::new(LocalFile::new(self.tree.clone(), fd)))
    }

    async fn make(&self, name: &Name, what: &Make) -> Result<()> {
        let bytes = name.as_bytes();
        match what {
            Make::Dir(mode) => self.with("mkdir", Some(name), |dir| sys::mkdir(dir, bytes, *mode))?,
            Make::Symlink(target) => {
                self.with("symlink", Some(name), |dir| sys::symlink(dir, bytes, target))?
            }
            Make::Node(kind, mode, rdev) => {
                self.with("mknod", Some(name), |dir| sys::mknod(dir, bytes, *kind, *mode, *rdev))?;
            }
        }
        match what {
            // mkdir(2) leaves set-user-ID and set-group-ID out; the umask takes more.
            Make::Dir(mode) if self.tree.masked || mode & 0o6000 != 0 => {
                self.set_mode(Target::Child(name), *mode)
            }
            Make::Node(_, mode, _) if self.tree.masked => self.set_mode(Target::Child(name), *mode),
            _ => Ok(()),
        }
    }

    async fn whiteout(&self, name: &Name) -> Result<()> {
        self.make_whiteout(name)
    }

    async fn set_opaque(&self, target: Target<'_>) -> Result<()> {
        let key = self.tree.namespace.key(Mark::Opaque);
        self.with("opaque", target.name(), |dir| {
            sys::set_xattr(dir, relative(target), key.as_bytes(), OPAQUE, SetXattr::Any)
        })
    }

    async fn set_mark(&self, target: Target<'_>, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        let key = self.tree.namespace.key(mark);
        self.with("mark", target.name(), |dir| sys::put_xattr(dir, relative(target), key.as_bytes(), value))
    }

    async fn link(&self, name: &Name, to: &dyn UpperDir, to_name: &Name) -> Result<()> {
        let to = self.sibling(to, "link")?.fd()?;
        self.with("link", Some(to_name), |dir| {
            sys::link(dir, name.as_bytes(), to.as_fd(), to_name.as_bytes())
        })
    }

    async fn unlink(&self, name: &Name) -> Result<()> {
        self.with("unlink", Some(name), |dir| sys::unlink(dir, name.as_bytes()))
    }

    async fn rmdir(&self, name: &Name) -> Result<()> {
        self.with("rmdir", Some(name), |dir| sys::rmdir(dir, name.as_bytes()))
    }

    async fn rename(&self, name: &Name, to: &dyn UpperDir, to_name: &Name, how: Rename) -> Result<()> {
        let target = self.sibling(to, "rename")?;
        self.mark_holders(name, target, to_name, how)?;
        let forth = self.handle_of(name)?;
        let back = if how == Rename::Exchange { target.handle_of(to_name)? } else { None };
        let to_fd = target.fd()?;
        self.with("rename", Some(name), |dir| {
            sys::rename(dir, name.as_bytes(), to_fd.as_fd(), to_name.as_bytes(), how)
        })?;
        target.moved(forth, to_name);
        self.moved(back, name);
        Ok(())
    }

    async fn set_attr(&self, target: Target<'_>, change: &SetAttr) -> Result<()> {
        let (name, rel) = (target.name(), relative(target));
        if let Some(size) = change.size {
            self.set_size(target, size)?;
        }
        // Changing the owner clears set-user-ID, so the mode comes after it, and the times last.
        if change.uid.is_some() || change.gid.is_some() {
            self.with("chown", name, |dir| sys::chown(dir, rel, change.uid, change.gid))?;
        }
        if let Some(mode) = change.mode {
            self.set_mode(target, mode)?;
        }
        let (atime, mtime) = (change.atime, change.mtime);
        if atime.is_none() && mtime.is_none() {
            return Ok(());
        }
        self.with("utimens", name, |dir| match name {
            None => sys::set_times_of(dir, atime, mtime),
            Some(_) => sys::set_times(dir, rel, atime, mtime),
        })
    }

    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let key = self.tree.namespace.escape(key);
        self.with("setxattr", target.name(), |dir| sys::set_xattr(dir, relative(target), &key, value, how))
    }

    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()> {
        let key = self.tree.namespace.escape(key);
        self.with("removexattr", target.name(), |dir| sys::remove_xattr(dir, relative(target), &key))
    }

    async fn set_flags(&self, target: Target<'_>, flags: u32) -> Result<()> {
        self.with_node(target, "setflags", |node| sys::set_flags(node, flags))
    }

    async fn sync(&self) -> Result<()> {
        let fd = self.fd()?;
        super::blocking(move || sys::sync_dir(fd.as_fd()))
            .await?
            .map_err(|e| self.tree.fail(e, "fsync", None))
    }
}
