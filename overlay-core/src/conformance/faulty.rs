//! The wrapper of [`Faults`](super::Faults): asks before each call and forwards every method, defaults included.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::faults::Faults;
use crate::attr::{Attr, SetAttr, StatFs};
use crate::entry::{FileId, Found, ListEntry, Mark};
use crate::error::Result;
use crate::layer::{
    Allocate, Dir, File, Layer, Make, Node, Rename, Seek, SetXattr, Target, UpperDir, UpperFile, UpperLayer,
    UpperNode,
};
use crate::name::Name;

/// A layer, or a handle of one, whose calls may fail.
pub(super) struct Faulty<T: ?Sized> {
    pub(super) inner: Arc<T>,
    pub(super) faults: Faults,
}

impl<T: ?Sized> Faulty<T> {
    /// What the layer gave out is subject to the same faults.
    fn wrap<U: ?Sized>(&self, inner: Arc<U>) -> Faulty<U> {
        Faulty { inner, faults: self.faults.clone() }
    }
}

/// The layer's own directory, where `dir` is wrapped; a rename works between directories of one type.
fn unwrap(dir: &dyn UpperDir) -> &dyn UpperDir {
    dir.as_any().downcast_ref::<Faulty<dyn UpperDir>>().map_or(dir, |faulty| &*faulty.inner)
}

#[async_trait]
impl<T: Layer + ?Sized> Layer for Faulty<T> {
    fn label(&self) -> &Arc<str> {
        self.inner.label()
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        self.faults.pass("root", None)?;
        Ok(Arc::new(self.wrap(self.inner.root().await?)))
    }

    async fn statfs(&self) -> Result<StatFs> {
        self.faults.pass("statfs", None)?;
        self.inner.statfs().await
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        self.faults.pass("find", None)?;
        self.inner.find(id).await
    }

    fn has_xattrs(&self) -> bool {
        self.inner.has_xattrs()
    }

    fn has_marks(&self) -> bool {
        self.inner.has_marks()
    }

    fn has_backing(&self) -> bool {
        self.inner.has_backing()
    }
}

#[async_trait]
impl<T: Dir + ?Sized> Dir for Faulty<T> {
    async fn attr(&self) -> Result<Attr> {
        self.faults.pass("attr", None)?;
        self.inner.attr().await
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        self.faults.pass("lookup", Some(name))?;
        self.inner.lookup(name).await
    }

    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        self.faults.pass("stat", Some(name))?;
        self.inner.stat(name).await
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        self.faults.pass("list", None)?;
        self.inner.list().await
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        self.faults.pass("dir", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.dir(name).await?)))
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        self.faults.pass("file", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.file(name).await?)))
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.faults.pass("read_link", Some(name))?;
        self.inner.read_link(name).await
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.faults.pass("xattr", target.name())?;
        self.inner.xattr(target, key).await
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        self.faults.pass("xattr_keys", target.name())?;
        self.inner.xattr_keys(target).await
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        self.faults.pass("id", target.name())?;
        self.inner.id(target).await
    }

    async fn is_protected(&self, target: Target<'_>) -> Result<bool> {
        self.faults.pass("is_protected", target.name())?;
        self.inner.is_protected(target).await
    }

    async fn flags(&self, target: Target<'_>) -> Result<u32> {
        self.faults.pass("flags", target.name())?;
        self.inner.flags(target).await
    }
}

#[async_trait]
impl<T: Node + ?Sized> Node for Faulty<T> {
    async fn attr(&self) -> Result<Attr> {
        self.faults.pass("attr", None)?;
        self.inner.attr().await
    }

    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.faults.pass("xattr", None)?;
        self.inner.xattr(key).await
    }

    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        self.faults.pass("xattr_keys", None)?;
        self.inner.xattr_keys().await
    }

    async fn flags(&self) -> Result<u32> {
        self.faults.pass("flags", None)?;
        self.inner.flags().await
    }
}

#[async_trait]
impl<T: File + ?Sized> File for Faulty<T> {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.faults.pass("read_at", None)?;
        self.inner.read_at(offset, len).await
    }

    async fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        self.faults.pass("seek", None)?;
        self.inner.seek(offset, what).await
    }

    fn backing(&self) -> Option<BorrowedFd<'_>> {
        self.inner.backing()
    }
}

#[async_trait]
impl<T: UpperLayer + ?Sized> UpperLayer for Faulty<T> {
    async fn upper_root(&self) -> Result<Arc<dyn UpperDir>> {
        self.faults.pass("upper_root", None)?;
        Ok(Arc::new(self.wrap(self.inner.upper_root().await?)))
    }

    async fn work(&self) -> Result<Arc<dyn UpperDir>> {
        self.faults.pass("work", None)?;
        Ok(Arc::new(self.wrap(self.inner.work().await?)))
    }

    async fn index(&self) -> Result<Option<Arc<dyn UpperDir>>> {
        self.faults.pass("index", None)?;
        Ok(self.inner.index().await?.map(|index| Arc::new(self.wrap(index)) as Arc<dyn UpperDir>))
    }

    async fn sync(&self) -> Result<()> {
        self.faults.pass("sync", None)?;
        self.inner.sync().await
    }
}

#[async_trait]
impl UpperDir for Faulty<dyn UpperDir> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>> {
        self.faults.pass("upper_dir", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.upper_dir(name).await?)))
    }

    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>> {
        self.faults.pass("upper_file", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.upper_file(name).await?)))
    }

    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>> {
        self.faults.pass("pin", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.pin(name).await?)))
    }

    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>> {
        self.faults.pass("create", Some(name))?;
        Ok(Arc::new(self.wrap(self.inner.create(name, mode).await?)))
    }

    async fn make(&self, name: &Name, what: &Make) -> Result<()> {
        self.faults.pass("make", Some(name))?;
        self.inner.make(name, what).await
    }

    async fn whiteout(&self, name: &Name) -> Result<()> {
        self.faults.pass("whiteout", Some(name))?;
        self.inner.whiteout(name).await
    }

    async fn set_opaque(&self, target: Target<'_>) -> Result<()> {
        self.faults.pass("set_opaque", target.name())?;
        self.inner.set_opaque(target).await
    }

    async fn set_mark(&self, target: Target<'_>, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.faults.pass("set_mark", target.name())?;
        self.inner.set_mark(target, mark, value).await
    }

    async fn link(&self, name: &Name, to: &dyn UpperDir, to_name: &Name) -> Result<()> {
        self.faults.pass("link", Some(name))?;
        self.inner.link(name, unwrap(to), to_name).await
    }

    async fn unlink(&self, name: &Name) -> Result<()> {
        self.faults.pass("unlink", Some(name))?;
        self.inner.unlink(name).await
    }

    async fn rmdir(&self, name: &Name) -> Result<()> {
        self.faults.pass("rmdir", Some(name))?;
        self.inner.rmdir(name).await
    }

    async fn rename(&self, name: &Name, to: &dyn UpperDir, to_name: &Name, how: Rename) -> Result<()> {
        self.faults.pass("rename", Some(name))?;
        self.inner.rename(name, unwrap(to), to_name, how).await
    }

    async fn set_attr(&self, target: Target<'_>, change: &SetAttr) -> Result<()> {
        self.faults.pass("set_attr", target.name())?;
        self.inner.set_attr(target, change).await
    }

    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.faults.pass("set_xattr", target.name())?;
        self.inner.set_xattr(target, key, value, how).await
    }

    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()> {
        self.faults.pass("remove_xattr", target.name())?;
        self.inner.remove_xattr(target, key).await
    }

    async fn set_flags(&self, target: Target<'_>, flags: u32) -> Result<()> {
        self.faults.pass("set_flags", target.name())?;
        self.inner.set_flags(target, flags).await
    }

    async fn sync(&self) -> Result<()> {
        self.faults.pass("sync", None)?;
        self.inner.sync().await
    }
}

#[async_trait]
impl<T: UpperNode + ?Sized> UpperNode for Faulty<T> {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.faults.pass("set_attr", None)?;
        self.inner.set_attr(change).await
    }

    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.faults.pass("set_xattr", None)?;
        self.inner.set_xattr(key, value, how).await
    }

    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        self.faults.pass("remove_xattr", None)?;
        self.inner.remove_xattr(key).await
    }

    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.faults.pass("set_mark", None)?;
        self.inner.set_mark(mark, value).await
    }

    async fn open(&self, write: bool) -> Result<Arc<dyn UpperFile>> {
        self.faults.pass("open", None)?;
        Ok(Arc::new(self.wrap(self.inner.open(write).await?)))
    }

    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.faults.pass("set_flags", None)?;
        self.inner.set_flags(flags).await
    }
}

#[async_trait]
impl<T: UpperFile + ?Sized> UpperFile for Faulty<T> {
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.faults.pass("write_at", None)?;
        self.inner.write_at(offset, data).await
    }

    async fn reflink(&self, source: &dyn File) -> Result<bool> {
        self.faults.pass("reflink", None)?;
        self.inner.reflink(source).await
    }

    async fn copy_range(&self, source: &dyn File, from: u64, to: u64, len: u64) -> Result<u64> {
        self.faults.pass("copy_range", None)?;
        self.inner.copy_range(source, from, to, len).await
    }

    async fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> {
        self.faults.pass("allocate", None)?;
        self.inner.allocate(how, offset, len).await
    }

    async fn sync(&self, attributes: bool) -> Result<()> {
        self.faults.pass("sync", None)?;
        self.inner.sync(attributes).await
    }
}
