//! The reading side of [`Overridden`](super::Overridden): attributes as the xattrs say, the xattrs hidden.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::value::is_private;
use super::{Overridden, Rules};
use crate::attr::{Attr, Kind, StatFs, Time};
use crate::entry::{FileId, Found, ListEntry};
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Dir, File, Layer, Node, Seek, Target};
use crate::name::Name;

impl Rules {
    /// An object's attributes as they are shown, from those of its own.
    pub(super) async fn show_in<D: Dir + ?Sized>(
        &self,
        dir: &D,
        target: Target<'_>,
        real: Attr,
    ) -> Result<Attr> {
        if !self.form.fits(real.kind) {
            return Ok(real);
        }
        for key in self.form.keys() {
            if let Some(value) = dir.xattr(target, key).await? {
                let shown = self.show(real, Some(value));
                return shown.map_err(|error| match target.name() {
                    None => error,
                    Some(name) => error.at(name),
                });
            }
        }
        Ok(real)
    }

    /// As [`Rules::show_in`] for an object held by a handle.
    pub(super) async fn show_of<N: Node + ?Sized>(&self, node: &N, real: Attr) -> Result<Attr> {
        if !self.form.fits(real.kind) {
            return Ok(real);
        }
        for key in self.form.keys() {
            if let Some(value) = node.xattr(key).await? {
                return self.show(real, Some(value));
            }
        }
        Ok(real)
    }
}

fn public(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.retain(|key| !is_private(key));
    keys
}

#[async_trait]
impl<T: Layer + ?Sized> Layer for Overridden<T> {
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
        // By identity no xattr can be had. Number and kind, for which this is asked, are right without: what has another
        // kind than its inode has no identity.
        self.inner.find(id).await
    }

    fn has_xattrs(&self) -> bool {
        true
    }

    fn has_marks(&self) -> bool {
        self.inner.has_marks()
    }

    fn has_backing(&self) -> bool {
        self.inner.has_backing()
    }
}

#[async_trait]
impl<T: Dir + ?Sized> Dir for Overridden<T> {
    async fn attr(&self) -> Result<Attr> {
        let real = self.inner.attr().await?;
        self.rules.show_in(&*self.inner, Target::Itself, real).await
    }

    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        let mut found = self.inner.lookup(name).await?;
        if let Some(Found::Entry(entry)) = &mut found {
            let real = entry.attr.clone();
            entry.attr = self.rules.show_in(&*self.inner, Target::Child(name), real).await?;
        }
        Ok(found)
    }

    async fn stat(&self, name: &Name) -> Result<Option<Attr>> {
        let Some(real) = self.inner.stat(name).await? else { return Ok(None) };
        self.rules.show_in(&*self.inner, Target::Child(name), real).await.map(Some)
    }

    async fn list(&self) -> Result<Vec<ListEntry>> {
        let mut rows = self.inner.list().await?;
        for row in rows.iter_mut().filter(|row| row.kind == Kind::File && !row.whiteout) {
            let real = Attr::new(row.kind, row.ino, 0, 0, Time::default());
            match self.rules.show_in(&*self.inner, Target::Child(&row.name), real).await {
                Ok(shown) => row.kind = shown.kind,
                // It went away since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(rows)
    }

    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(self.wrap(self.inner.dir(name).await?)))
    }

    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        let file = self.wrap(self.inner.file(name).await?);
        self.rules.only_files(&Node::attr(&file).await?).map_err(|error| error.at(name))?;
        Ok(Arc::new(file))
    }

    async fn read_link(&self, name: &Name) -> Result<Vec<u8>> {
        self.inner.read_link(name).await
    }

    async fn xattr(&self, target: Target<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if is_private(key) { Ok(None) } else { self.inner.xattr(target, key).await }
    }

    async fn xattr_keys(&self, target: Target<'_>) -> Result<Vec<Vec<u8>>> {
        Ok(public(self.inner.xattr_keys(target).await?))
    }

    async fn id(&self, target: Target<'_>) -> Result<Option<FileId>> {
        if let Some(name) = target.name()
            && let Some(shown) = Dir::stat(self, name).await?
            && !matches!(shown.kind, Kind::File | Kind::Dir | Kind::Symlink)
        {
            return Ok(None);
        }
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
impl<T: Node + ?Sized> Node for Overridden<T> {
    async fn attr(&self) -> Result<Attr> {
        let real = self.inner.attr().await?;
        self.rules.show_of(&*self.inner, real).await
    }

    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if is_private(key) { Ok(None) } else { self.inner.xattr(key).await }
    }

    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        Ok(public(self.inner.xattr_keys().await?))
    }

    async fn flags(&self) -> Result<u32> {
        self.inner.flags().await
    }
}

#[async_trait]
impl<T: File + ?Sized> File for Overridden<T> {
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
