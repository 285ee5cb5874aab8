//! The writing side of [`Overridden`](super::Overridden): owner, mode and type go to the xattr; everything else is passed on.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use super::value::{Division, Override, divide, is_private, real_mode};
use super::{Overridden, Rules};
use crate::attr::{Attr, Kind, SetAttr};
use crate::entry::Mark;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{
    Allocate, File, Make, Node, Rename, SetXattr, Target, UpperDir, UpperFile, UpperLayer, UpperNode,
};
use crate::merge::inherit::ACCESS_ACL;
use crate::name::Name;

/// The layer's own directory, where `dir` is wrapped; a rename works between directories of one type.
fn unwrap(dir: &dyn UpperDir) -> &dyn UpperDir {
    dir.as_any().downcast_ref::<Overridden<dyn UpperDir>>().map_or(dir, |wrapped| &*wrapped.inner)
}

impl Rules {
    fn refuse_private(&self, key: &[u8], op: &'static str) -> Result<()> {
        if !is_private(key) {
            return Ok(());
        }
        let sentence = "the xattr holds what the object shows, and changes with it";
        Err(Error::new(ErrorKind::NotPermitted, op).in_layer(&self.label).because(sentence))
    }

    fn divide(&self, real: &Attr, shown: &Attr, change: &SetAttr) -> Division {
        divide(self.form, real.kind, shown, change)
    }
}

/// An owner that the process may not set is not set: what cannot carry the xattr shows its own.
fn if_permitted(set: Result<()>) -> Result<()> {
    match set {
        Err(error) if error.kind() == ErrorKind::NotPermitted => Ok(()),
        other => other,
    }
}

/// The change after an ACL was set: its entries are the mode, which the file system has put into the real one.
fn as_acl(real: &Attr, shown: &Attr) -> SetAttr {
    SetAttr { mode: Some((shown.mode & 0o7000) | (real.mode & 0o777)), ..SetAttr::default() }
}

impl Overridden<dyn UpperDir> {
    async fn real(&self, target: Target<'_>) -> Result<Attr> {
        let Some(name) = target.name() else { return self.inner.attr().await };
        let absent = || Error::new(ErrorKind::NotFound, "stat").at(name).in_layer(&self.rules.label);
        self.inner.stat(name).await?.ok_or_else(absent)
    }

    /// Writes the xattr of what was just made, or unmakes it: without the xattr it would be somebody else's.
    async fn mark_new(&self, name: &Name, kind: Kind, mode: u32, rdev: u64) -> Result<()> {
        let marked = async {
            let real = self.real(Target::Child(name)).await?;
            let value = Override::of(&Attr { kind, mode, rdev, ..real }).print();
            self.inner.set_xattr(Target::Child(name), self.rules.form.key(), &value, SetXattr::Any).await
        };
        let Err(error) = marked.await else { return Ok(()) };
        match kind {
            Kind::Dir => self.inner.rmdir(name).await?,
            _ => self.inner.unlink(name).await?,
        }
        Err(error)
    }
}

#[async_trait]
impl<T: UpperLayer + ?Sized> UpperLayer for Overridden<T> {
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
impl UpperDir for Overridden<dyn UpperDir> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn upper_dir(&self, name: &Name) -> Result<Arc<dyn UpperDir>> {
        Ok(Arc::new(self.wrap(self.inner.upper_dir(name).await?)))
    }

    async fn upper_file(&self, name: &Name) -> Result<Arc<dyn UpperFile>> {
        let file = self.wrap(self.inner.upper_file(name).await?);
        self.rules.only_files(&Node::attr(&file).await?).map_err(|error| error.at(name))?;
        Ok(Arc::new(file))
    }

    async fn pin(&self, name: &Name) -> Result<Arc<dyn UpperNode>> {
        Ok(Arc::new(self.wrap(self.inner.pin(name).await?)))
    }

    async fn create(&self, name: &Name, mode: u32) -> Result<Arc<dyn UpperFile>> {
        let file = self.inner.create(name, real_mode(false, mode)).await?;
        self.mark_new(name, Kind::File, mode, 0).await?;
        Ok(Arc::new(self.wrap(file)))
    }

    async fn make(&self, name: &Name, what: &Make) -> Result<()> {
        match what {
            // It has no permissions, and belongs to the process until it is given away.
            Make::Symlink(_) => self.inner.make(name, what).await,
            Make::Dir(mode) => {
                self.inner.make(name, &Make::Dir(real_mode(true, *mode))).await?;
                self.mark_new(name, Kind::Dir, *mode, 0).await
            }
            Make::Node(kind, mode, rdev) => {
                self.inner.make(name, &Make::Node(Kind::File, real_mode(false, *mode), 0)).await?;
                self.mark_new(name, *kind, *mode, *rdev).await
            }
        }
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
        let real = self.real(target).await?;
        let shown = self.rules.show_in(&*self.inner, target, real.clone()).await?;
        let Division { owner, value, real } = self.rules.divide(&real, &shown, change);
        if !owner.is_empty() {
            if_permitted(self.inner.set_attr(target, &owner).await)?;
        }
        if let Some(value) = value {
            self.inner.set_xattr(target, self.rules.form.key(), &value, SetXattr::Any).await?;
        }
        if real.is_empty() { Ok(()) } else { self.inner.set_attr(target, &real).await }
    }

    async fn set_xattr(&self, target: Target<'_>, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.rules.refuse_private(key, "setxattr").map_err(|error| target.named(error))?;
        self.inner.set_xattr(target, key, value, how).await?;
        if key != ACCESS_ACL {
            return Ok(());
        }
        let real = self.real(target).await?;
        let shown = self.rules.show_in(&*self.inner, target, real.clone()).await?;
        UpperDir::set_attr(self, target, &as_acl(&real, &shown)).await
    }

    async fn remove_xattr(&self, target: Target<'_>, key: &[u8]) -> Result<()> {
        self.rules.refuse_private(key, "removexattr").map_err(|error| target.named(error))?;
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
impl<T: UpperNode + ?Sized> UpperNode for Overridden<T> {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let real = self.inner.attr().await?;
        let shown = self.rules.show_of(&*self.inner, real.clone()).await?;
        let Division { owner, value, real } = self.rules.divide(&real, &shown, change);
        if !owner.is_empty() {
            if_permitted(self.inner.set_attr(&owner).await)?;
        }
        if let Some(value) = value {
            self.inner.set_xattr(self.rules.form.key(), &value, SetXattr::Any).await?;
        }
        if real.is_empty() { Ok(()) } else { self.inner.set_attr(&real).await }
    }

    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.rules.refuse_private(key, "setxattr")?;
        self.inner.set_xattr(key, value, how).await?;
        if key != ACCESS_ACL {
            return Ok(());
        }
        let real = self.inner.attr().await?;
        let shown = self.rules.show_of(&*self.inner, real.clone()).await?;
        UpperNode::set_attr(self, &as_acl(&real, &shown)).await
    }

    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        self.rules.refuse_private(key, "removexattr")?;
        self.inner.remove_xattr(key).await
    }

    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.inner.set_mark(mark, value).await
    }

    async fn open(&self, write: bool) -> Result<Arc<dyn UpperFile>> {
        self.rules.only_files(&Node::attr(self).await?)?;
        Ok(Arc::new(self.wrap(self.inner.open(write).await?)))
    }

    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.inner.set_flags(flags).await
    }
}

#[async_trait]
impl<T: UpperFile + ?Sized> UpperFile for Overridden<T> {
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
