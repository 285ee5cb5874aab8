//! The writing side of [`Mapped`](super::Mapped): owners and ACLs as they are stored; everything else is passed on.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;

use super::Mapped;
use super::acl;
use crate::attr::SetAttr;
use crate::entry::Mark;
use crate::error::Result;
use crate::layer::{
    Allocate, File, Make, Rename, SetXattr, Target, UpperDir, UpperFile, UpperLayer, UpperNode,
};
use crate::name::Name;

/// The layer's own directory, where `dir` is wrapped; a rename works between directories of one type.
fn unwrap(dir: &dyn UpperDir) -> &dyn UpperDir {
    dir.as_any().downcast_ref::<Mapped<dyn UpperDir>>().map_or(dir, |mapped| &*mapped.inner)
}

impl<T: ?Sized> Mapped<T> {
    fn stored_xattr<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        if !acl::is_acl(key) {
            return Ok(Cow::Borrowed(value));
        }
        let stored = acl::store(&self.rules.owners, value);
        stored.map(Cow::Owned).map_err(|error| error.in_layer(&self.rules.label))
    }

    fn stored(&self, change: &SetAttr) -> Result<SetAttr> {
        self.rules.owners.store(change).map_err(|error| error.in_layer(&self.rules.label))
    }
}

#[async_trait]
impl<T: UpperLayer + ?Sized> UpperLayer for Mapped<T> {
    async fn upper_root(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(Arc::new(self.wrap(self.inner.upper_root().await?)))
    }

    async fn work(&self) -> Result<Arc<dyn UpperDir>> {
        Ok(Arc::new(self.wrap(self.inner.work().await?)))
    }

    async fn index(&self) -> Result<Option<Arc<dyn UpperDir>>> {
        Ok(self.inner.index().await?.map(|index| Arc::new(self.wrap(index)) as Arc<dyn UpperDir>))
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }
}

#[async_trait]
impl UpperDir for Mapped<dyn UpperDir> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>> {
        Ok(Arc::new(self.wrap(self.inner.upper_dir(name).await?)))
    }

    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>> {
        Ok(Arc::new(self.wrap(self.inner.upper_file(name).await?)))
    }

    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>> {
        Ok(Arc::new(self.wrap(self.inner.pin(name).await?)))
    }

    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>> {
        Ok(Arc::new(self.wrap(self.inner.create(name, mode).await?)))
    }

    async fn make(&self, name: &Name, what: &Make) -> Result<()> {
        self.inner.make(name, what).await
    }

    async fn whiteout(&self, name: &Name) -> Result<()> {
        self.inner.whiteout(name).await
    }

    async fn set_opaque(&self, target: Target<'_>) -> Result<()> {
        self.inner.set_opaque(target).await
    }

    async fn set_mark(&self, target: Target<'_>, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.inner.set_mark(target, mark, value).await
    }

    async fn link(&self, name: &Name, to: &dyn UpperDir, to_name: &Name) -> Result<()> {
        self.inner.link(name, unwrap(to), to_name).await
    }

    async fn unlink(&self, name: &Name) -> Result<()> {
        self.inner.unlink(name).await
    }

    async fn rmdir(&self, name: &Name) -> Result<()> {
        self.inner.rmdir(name).await
    }

    async fn rename(&self, name: &Name, to: &dyn UpperDir, to_name: &Name, how: Rename) -> Result<()> {
        self.inner.rename(name, unwrap(to), to_name, how).await
    }

    async fn set_attr(&self, target: Target<'_>, change: &SetAttr) -> Result<()> {
        let stored = self.stored(change).map_err(|error| target.named(error));
        self.inner.set_attr(target, &stored?).await
    }

    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let stored = self.stored_xattr(key, value).map_err(|error| target.named(error));
        self.inner.set_xattr(target, key, &stored?, how).await
    }

    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()> {
        self.inner.remove_xattr(target, key).await
    }

    async fn set_flags(&self, target: Target<'_>, flags: u32) -> Result<()> {
        self.inner.set_flags(target, flags).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }
}

#[async_trait]
impl<T: UpperNode + ?Sized> UpperNode for Mapped<T> {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.inner.set_attr(&self.stored(change)?).await
    }

    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.inner.set_xattr(key, &self.stored_xattr(key, value)?, how).await
    }

    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        self.inner.remove_xattr(key).await
    }

    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.inner.set_mark(mark, value).await
    }

    async fn open(&self, write: bool) -> Result<Arc<dyn UpperFile>> {
        Ok(Arc::new(self.wrap(self.inner.open(write).await?)))
    }

    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.inner.set_flags(flags).await
    }
}

#[async_trait]
impl<T: UpperFile + ?Sized> UpperFile for Mapped<T> {
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.inner.write_at(offset, data).await
    }

    async fn reflink(&self, source: &dyn File) -> Result<bool> {
        self.inner.reflink(source).await
    }

    async fn copy_range(&self, source: &dyn File, from: u64, to: u64, len: u64) -> Result<u64> {
        self.inner.copy_range(source, from, to, len).await
    }

    async fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> {
        self.inner.allocate(how, offset, len).await
    }

    async fn sync(&self, attributes: bool) -> Result<()> {
        self.inner.sync(attributes).await
    }
}
