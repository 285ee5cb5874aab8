//! An open regular file of a local layer, and a handle of any object that outlives its name.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::sys;
use super::tree::Tree;
use crate::attr::{Attr, Kind, SetAttr};
use crate::entry::Mark;
use crate::error::Result;
use crate::layer::{Allocate, File, Node, Seek, SetXattr, UpperFile, UpperNode, copy_through};

/// An open regular file.
pub(super) struct LocalFile {
    node: LocalNode,
}

impl LocalFile {
    pub(super) fn new(tree: Arc<Tree>, fd: OwnedFd) -> Self {
        Self { node: LocalNode::new(tree, fd) }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.node.fd.as_fd()
    }

    fn fail(&self, op: &'static str) -> impl Fn(Errno) -> crate::error::Error + '_ {
        move |errno| self.node.tree.fail(errno, op, None)
    }
}

/// What a descriptor of any kind names. `fd` may be `O_PATH`, so everything goes through `/proc/self/fd`.
pub(super) struct LocalNode {
    tree: Arc<Tree>,
    fd: Arc<OwnedFd>,
}

impl LocalNode {
    pub(super) fn new(tree: Arc<Tree>, fd: OwnedFd) -> Self {
        Self { tree, fd: Arc::new(fd) }
    }

    fn call<T>(&self, op: &'static str, call: impl FnOnce(BorrowedFd<'_>) -> sys::Sys<T>) -> Result<T> {
        call(self.fd.as_fd()).map_err(|errno| self.tree.fail(errno, op, None))
    }

    fn openable(&self, op: &'static str) -> Result<()> {
        let kind = self.call("stat", |fd| sys::stat(fd, b""))?.kind;
        let refused = !matches!(kind, Kind::File | Kind::Dir);
        if refused { Err(self.tree.fail(Errno::NOTTY, op, None)) } else { Ok(()) }
    }
}

#[async_trait]
impl Node for LocalNode {
    async fn attr(&self) -> Result<Attr> {
        self.call("stat", |fd| sys::stat(fd, b""))
    }

    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = self.tree.namespace.escape(key);
        self.call("getxattr", |fd| sys::xattr(fd, b"", &key))
    }

    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        let keys = self.call("listxattr", |fd| sys::xattr_keys(fd, b""))?;
        Ok(self.tree.visible(keys))
    }

    async fn flags(&self) -> Result<u32> {
        self.openable("getflags")?;
        self.call("getflags", sys::flags)
    }
}

#[async_trait]
impl UpperNode for LocalNode {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if let Some(size) = change.size {
            let fd = self.call("truncate", |fd| sys::reopen(fd, OFlags::WRONLY | OFlags::NONBLOCK))?;
            sys::truncate(fd.as_fd(), size).map_err(|e| self.tree.fail(e, "truncate", None))?;
        }
        if change.uid.is_some() || change.gid.is_some() {
            self.call("chown", |fd| sys::chown(fd, b"", change.uid, change.gid))?;
        }
        if let Some(mode) = change.mode {
            self.call("chmod", |fd| sys::chmod(fd, mode))?;
        }
        if change.atime.is_some() || change.mtime.is_some() {
            self.call("utimens", |fd| sys::set_times_of(fd, change.atime, change.mtime))?;
        }
        Ok(())
    }

    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let key = self.tree.namespace.escape(key);
        self.call("setxattr", |fd| sys::set_xattr(fd, b"", &key, value, how))
    }

    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        let key = self.tree.namespace.escape(key);
        self.call("removexattr", |fd| sys::remove_xattr(fd, b"", &key))
    }

    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        let key = self.tree.namespace.key(mark);
        self.call("mark", |fd| sys::put_xattr(fd, b"", key.as_bytes(), value))
    }

    async fn open(&self, write: bool) -> Result<Arc<dyn UpperFile>> {
        // Opening a device acts on it, so what it is comes first.
        if self.call("stat", |fd| sys::stat(fd, b""))?.kind != Kind::File {
            return Err(self.tree.fail(Errno::INVAL, "open", None));
        }
        let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
        let fd = self.call("open", |fd| sys::reopen(fd, access | OFlags::NONBLOCK))?;
        Ok(Arc::new(LocalFile::new(self.tree.clone(), fd)))
    }

    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.openable("setflags")?;
        self.call("setflags", |fd| sys::set_flags(fd, flags))
    }
}

#[async_trait]
impl Node for LocalFile {
    async fn attr(&self) -> Result<Attr> {
        self.node.attr().await
    }
    async fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.node.xattr(key).await
    }
    async fn xattr_keys(&self) -> Result<Vec<Vec<u8>>> {
        self.node.xattr_keys().await
    }
    async fn flags(&self) -> Result<u32> {
        self.node.flags().await
    }
}

#[async_trait]
impl UpperNode for LocalFile {
    async fn set_attr(&self, change: &SetAttr) -> Result<()> {
        // A file that is open for writing can be cut even when its mode forbids opening it again.
        if let Some(size) = change.size {
            sys::truncate(self.fd(), size).map_err(self.fail("truncate"))?;
        }
        self.node.set_attr(&SetAttr { size: None, ..change.clone() }).await
    }
    async fn set_xattr(&self, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        self.node.set_xattr(key, value, how).await
    }
    async fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        self.node.remove_xattr(key).await
    }
    async fn set_mark(&self, mark: Mark, value: Option<&[u8]>) -> Result<()> {
        self.node.set_mark(mark, value).await
    }
    async fn set_flags(&self, flags: u32) -> Result<()> {
        self.node.set_flags(flags).await
    }
}

#[async_trait]
impl File for LocalFile {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        sys::read_at(self.fd(), offset, len).map(Bytes::from).map_err(self.fail("read"))
    }

    async fn seek(&self, offset: u64, what: Seek) -> Result<Option<u64>> {
        sys::seek(self.fd(), offset, what).map_err(self.fail("lseek"))
    }

    fn backing(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd())
    }
}

#[async_trait]
impl UpperFile for LocalFile {
    async fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        sys::write_at(self.fd(), offset, data).map_err(self.fail("write"))
    }

    async fn reflink(&self, source: &dyn File) -> Result<bool> {
        let Some(from) = source.backing() else { return Ok(false) };
        // The errno differs with the reason (other file system, no reflinks, swap file); a copy is always right.
        Ok(sys::reflink(self.fd(), from).is_ok())
    }

    async fn copy_range(&self, source: &dyn File, from: u64, to: u64, len: u64) -> Result<u64> {
        if let Some(fd) = source.backing() {
            match self.copy_by_kernel(fd, from, to, len).await? {
                Ok(copied) => return Ok(copied),
                Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
                Err(errno) => return Err(self.fail("copy_file_range")(errno)),
            }
        }
        copy_through(self, source, from, to, len).await
    }

    async fn allocate(&self, how: Allocate, offset: u64, len: u64) -> Result<()> {
        sys::allocate(self.fd(), how, offset, len).map_err(self.fail("fallocate"))
    }

    async fn sync(&self, attributes: bool) -> Result<()> {
        let fd = self.node.fd.clone();
        super::blocking(move || sys::sync(fd.as_fd(), attributes)).await?.map_err(self.fail("fsync"))
    }
}

/// The longest copy that may hold up a FUSE worker; longer ones go to the blocking pool, at a thread switch each.
const INLINE_COPY: u64 = 1 << 20;

impl LocalFile {
    async fn copy_by_kernel(
        &self,
        source: BorrowedFd<'_>,
        from: u64,
        to: u64,
        len: u64,
    ) -> Result<sys::Sys<u64>> {
        if len <= INLINE_COPY {
            return Ok(sys::copy_range(source, from, self.fd(), to, len));
        }
        let dup = source.try_clone_to_owned();
        let source = dup.map_err(|e| self.fail("dup")(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let target = self.node.fd.clone();
        super::blocking(move || sys::copy_range(source.as_fd(), from, target.as_fd(), to, len)).await
    }
}
