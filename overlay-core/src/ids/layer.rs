//! The reading side of [`Mapped`](super::Mapped): attributes and ACLs as they are shown; everything else is passed on.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Mapped;
use super::acl;
use crate::attr::{Attr, StatFs};
use crate::entry::{FileId, Found, ListEntry};
use crate::error::Result;
use crate::layer::{Dir, File, Layer, Node, Seek, Target};
use crate::name::Name;

impl<T: ?Sized> Mapped<T> {
    fn shown_xattr(&self, key: &[u8], value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if acl::is_acl(key) { value.map(|value| acl::show(&self.rules.owners, value)) } else { value }
    }
}

#[async_trait]
impl<T: Layer + ?Sized> Layer for Mapped<T> {
    fn label(&self) -> &Arc<str> {
        self.inner.label()
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(self.wrap(self.inner.root().await?)))
    }

    async fn statfs(&self) -> Result<StatFs> {
        self.inner.statfs().await
    }

    async fn find(&self, id: &FileId) -> Result<Option<Attr>> {
        Ok(self.inner.find(id).await?.map(|attr| self.rules.owners.show(attr)))
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
impl<T: Dir + ?Sized> Dir for Mapped<T> {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.rules.owners.show(self.inner.attr().await?))
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        Ok(self.inner.lookup(name).await?.map(|found| match found {
            Found::Whiteout => Found::Whiteout,
            Found::Entry(mut entry) => {
                entry.attr = self.rules.owners.show(entry.attr);
                Found::Entry(entry)
            }
        }))
    }

    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        Ok(self.inner.stat(name).await?.map(|attr| self.rules.owners.show(attr)))
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        self.inner.list().await
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(self.wrap(self.inner.dir(name).await?)))
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Ok(Arc::new(self.wrap(self.inner.file(name).await?)))
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.inner.read_link(name).await
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.shown_xattr(key, self.inner.xattr(target, key).await?))
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        self.inner.xattr_keys(target).await
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        self.inner.id(target).await
    }

    async fn is_protected(&self, target: Target<'_>) -> Result<bool> {
        self.inner.is_protected(target).await
    }

    async fn flags(&self, target: Target<'_>) -> Result<u32> {
        self.inner.flags(target).await
    }
}

#[async_trait]
impl<T: Node + ?Sized> Node for Mapped<T> {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.rules.owners.show(self.inner.attr().await?))
    }

    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.shown_xattr(key, self.inner.xattr(key).await?))
    }

    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        self.inner.xattr_keys().await
    }

    async fn flags(&self) -> Result<u32> {
        self.inner.flags().await
    }
}

#[async_trait]
impl<T: File + ?Sized> File for Mapped<T> {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.inner.read_at(offset, len).await
    }

    async fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        self.inner.seek(offset, what).await
    }

    fn backing(&self) -> Option<BorrowedFd<'_>> {
        self.inner.backing()
    }
}
