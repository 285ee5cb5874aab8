//! A directory handle of a memory layer, as the contract wants it.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use super::content::Content;
use super::handle::{Handle, Shared};
use super::inode::{Body, Inode, now};
use super::object::Object;
use super::tree::{self, Place, Tree};
use crate::attr::{Attr, Kind, SetAttr};
use crate::entry::{FileId, Found, ListEntry, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Make, Rename, SetXattr, Target, UpperDir, UpperFile, UpperNode};
use crate::marker::kernel::OPAQUE;
use crate::name::Name;

pub(super) struct Directory(pub(super) Handle);

impl Directory {
    /// The directory of inode `id`: the root or work.
    pub(super) fn top(shared: &Arc<Shared>, id: u64) -> Result<Arc<Self>> {
        Handle::open(shared, |_| Ok(id)).map(|handle| Arc::new(Self(handle)))
    }

    fn at<'a>(&self, name: &'a Name) -> Place<'a> {
        Place { dir: self.0.id, name }
    }

    fn child_dir(&self, name: &Name) -> Result<Arc<Self>> {
        let choose = |tree: &mut Tree| {
            let id = tree.object(self.at(name))?;
            tree.entries(id).map(|_| id)
        };
        Handle::open(&self.0.shared, choose).map(|handle| Arc::new(Self(handle))).map_err(|e| e.at(name))
    }

    fn child_file(&self, name: &Name) -> Result<Arc<Object>> {
        let choose = |tree: &mut Tree| {
            let id = tree.object(self.at(name))?;
            tree.get(id)?.content().map(|_| id)
        };
        Handle::open(&self.0.shared, choose).map(|handle| Arc::new(Object(handle))).map_err(|e| e.at(name))
    }

    fn read<T>(&self, target: Target<'_>, f: impl FnOnce(&Inode) -> Result<T>) -> Result<T> {
        let result = self.0.shared.read(|tree| f(tree.get(tree.target(self.0.id, target)?)?));
        result.map_err(|error| named(error, target))
    }

    fn write<T>(&self, target: Target<'_>, f: impl FnOnce(&mut Inode) -> Result<T>) -> Result<T> {
        let result = self.0.shared.write(|tree| {
            let id = tree.target(self.0.id, target)?;
            f(tree.get_mut(id)?)
        });
        result.map_err(|error| named(error, target))
    }

    fn change<T>(&self, name: &Name, f: impl FnOnce(&mut Tree, Place<'_>) -> Result<T>) -> Result<T> {
        self.0.shared.write(|tree| f(tree, self.at(name))).map_err(|error| error.at(name))
    }

    /// The directory's number in this layer; `CrossDevice` if it is another layer's.
    fn sibling(&self, other: &dyn UpperDir, op: &'static str) -> Result<u64> {
        let other = other.as_any().downcast_ref::<Self>();
        let same = other.filter(|other| Arc::ptr_eq(&other.0.shared, &self.0.shared));
        same.map(|other| other.0.id).ok_or_else(|| Error::new(ErrorKind::CrossDevice, op))
    }
}

#[async_trait]
impl Dir for Directory {
    async fn attr(&self) -> Result<Attr> {
        self.read(Target::Itself, |inode| Ok(inode.attr(self.0.id)))
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        self.0.shared.read(|tree| match tree.find(self.at(name))? {
            Some(id) => Ok(Some(tree.get(id)?.found(id))),
            None => Ok(None),
        })
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        self.0.shared.read(|tree| {
            let names = tree.entries(self.0.id)?.names.iter();
            let row = |(name, id): (&Name, &u64)| {
                let body = &tree.get(*id)?.body;
                let whiteout = matches!(body, Body::Whiteout);
                Ok(ListEntry { name: name.clone(), kind: body.kind(), ino: *id, whiteout })
            };
            names.map(row).collect()
        })
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(self.child_dir(name)?)
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Ok(self.child_file(name)?)
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.read(Target::Child(name), |inode| match &inode.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Error::new(ErrorKind::Invalid, "readlink")),
        })
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(target, |inode| Ok(inode.xattr(key)))
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        self.read(target, |inode| Ok(inode.xattr_keys()))
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        let shared = &self.0.shared;
        let ino = shared.read(|tree| tree.target(self.0.id, target)).map_err(|error| named(error, target))?;
        Ok(Some(shared.id(ino)))
    }

    async fn flags(&self, target: Target<'_>) -> Result<u32> {
        self.read(target, |inode| Ok(inode.flags))
    }
}

#[async_trait]
impl UpperDir for Directory {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>> {
        Ok(self.child_dir(name)?)
    }

    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>> {
        Ok(self.child_file(name)?)
    }

    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>> {
        let handle = Handle::open(&self.0.shared, |tree| tree.object(self.at(name)));
        Ok(Arc::new(Object(handle.map_err(|error| error.at(name))?)))
    }

    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>> {
        let file = Inode::new(Body::File(Content::default()), mode, now());
        let handle = Handle::open(&self.0.shared, |tree| tree.add(self.at(name), file));
        Ok(Arc::new(Object(handle.map_err(|error| error.at(name))?)))
    }

    async fn make(&self, name: &Name, what: &Make) -> Result<()> {
        let inode = match what {
            Make::Dir(mode) => Inode::new(Body::empty_dir(self.0.id), *mode, now()),
            Make::Symlink(target) => Inode::new(symlink(target)?, 0o777, now()),
            Make::Node(kind, mode, rdev) => Inode::new(node(*kind, *rdev)?, *mode, now()),
        };
        self.change(name, |tree, at| tree.add(at, inode).map(drop))
    }

    async fn whiteout(&self, name: &Name) -> Result<()> {
        self.change(name, |tree, at| tree.add(at, tree::whiteout()).map(drop))
    }

    async fn set_opaque(&self, target: Target<'_>) -> Result<()> {
        self.write(target, |inode| {
            inode.entries()?;
            inode.set_mark(Mark::Opaque, Some(OPAQUE))
        })
    }

    async fn set_mark(&self, target: Target<'_>, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.write(target, |inode| inode.set_mark(mark, value))
    }

    async fn link(&self, name: &Name, to: &dyn UpperDir, to_name: &Name) -> Result<()> {
        let to = Place { dir: self.sibling(to, "link")?, name: to_name };
        self.change(name, |tree, at| tree.link(at, to))
    }

    async fn unlink(&self, name: &Name) -> Result<()> {
        self.change(name, Tree::unlink)
    }

    async fn rmdir(&self, name: &Name) -> Result<()> {
        self.change(name, Tree::rmdir)
    }

    async fn rename(&self, name: &Name, to: &dyn UpperDir, to_name: &Name, how: Rename) -> Result<()> {
        let to = Place { dir: self.sibling(to, "rename")?, name: to_name };
        self.change(name, |tree, at| tree.rename(at, to, how))
    }

    async fn set_attr(&self, target: Target<'_>, change: &SetAttr) -> Result<()> {
        self.write(target, |inode| inode.set_attr(change))
    }

    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.write(target, |inode| inode.set_xattr(key, value, how))
    }

    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()> {
        self.write(target, |inode| inode.remove_xattr(key))
    }

    async fn set_flags(&self, target: Target<'_>, flags: u32) -> Result<()> {
        self.write(target, |inode| {
            inode.set_flags(flags);
            Ok(())
        })
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}

fn named(error: Error, target: Target<'_>) -> Error {
    match target.name() {
        Some(name) => error.at(name),
        None => error,
    }
}

/// The longest target that Linux takes is one byte short of `PATH_MAX`.
fn symlink(target: &[u8]) -> Result<Body> {
    match target.len() {
        0 => Err(Error::new(ErrorKind::NotFound, "symlink")),
        1..4096 => Ok(Body::Symlink(target.into())),
        _ => Err(Error::new(ErrorKind::NameTooLong, "symlink")),
    }
}

fn node(kind: Kind, rdev: u64) -> Result<Body> {
    match kind {
        Kind::File => Ok(Body::File(Content::default())),
        Kind::Block | Kind::Char => Ok(Body::Special(kind, rdev)),
        Kind::Fifo | Kind::Socket => Ok(Body::Special(kind, 0)),
        Kind::Dir | Kind::Symlink => Err(Error::new(ErrorKind::Invalid, "mknod")),
    }
}
