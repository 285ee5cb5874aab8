//! A handle of any object of a memory layer but a whiteout: a pin, or an open file.

use async_trait::async_trait;
use bytes::Bytes;

use super::content::{Content, range_end};
use super::handle::Handle;
use super::inode::Inode;
use crate::attr::{Attr, SetAttr};
use crate::entry::Mark;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Allocate, File, Node, Seek, SetXattr, UpperFile, UpperNode};

pub(super) struct Object(pub(super) Handle);

impl Object {
    fn read<T>(&self, f: impl FnOnce(&Inode) -> Result<T>) -> Result<T> {
        self.0.shared.read(|tree| f(tree.get(self.0.id)?))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Inode) -> Result<T>) -> Result<T> {
        self.0.shared.write(|tree| f(tree.get_mut(self.0.id)?))
    }
}

#[async_trait]
impl Node for Object {
    async fn attr(&self) -> Result<Attr> {
        self.read(|inode| Ok(inode.attr(self.0.id)))
    }

    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read(|inode| Ok(inode.xattr(key)))
    }

    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        self.read(|inode| Ok(inode.xattr_keys()))
    }

    async fn flags(&self) -> Result<u32> {
        self.read(|inode| Ok(inode.flags))
    }
}

#[async_trait]
impl File for Object {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.read(|inode| Ok(inode.content()?.read(offset, len)))
    }

    async fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        self.read(|inode| Ok(inode.content()?.seek(offset, what)))
    }
}

#[async_trait]
impl UpperNode for Object {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.write(|inode| inode.set_attr(change))
    }

    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.write(|inode| inode.set_xattr(key, value, how))
    }

    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        self.write(|inode| inode.remove_xattr(key))
    }

    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.write(|inode| inode.set_mark(mark, value))
    }

    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.write(|inode| {
            inode.set_flags(flags);
            Ok(())
        })
    }
}

#[async_trait]
impl UpperFile for Object {
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.write(|inode| {
            inode.content_mut()?.write(offset, data)?;
            if !data.is_empty() {
                inode.touch();
            }
            Ok(())
        })
    }

    async fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> {
        let end = range_end(offset, len, "fallocate")?;
        if len == 0 {
            return Err(Error::new(ErrorKind::Invalid, "fallocate"));
        }
        self.write(|inode| {
            allocate(inode.content_mut()?, how, offset, end);
            inode.touch();
            Ok(())
        })
    }

    async fn sync(&self, _attributes: bool) -> Result<()> {
        Ok(())
    }
}

/// Memory reserves nothing ahead: only sizes and zeros can be seen.
fn allocate(content: &mut Content, how: Allocate, offset: u64, end: u64) {
    if matches!(how, Allocate::PunchHole | Allocate::Zero | Allocate::ZeroKeepSize) {
        content.zero(offset, end);
    }
    if matches!(how, Allocate::Extend | Allocate::Zero) {
        content.grow(end);
    }
}
