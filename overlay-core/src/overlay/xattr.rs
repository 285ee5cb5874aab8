//! Extended attributes.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Ino, Inode};
use crate::copy_up::Data;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::SetXattr;
use crate::merge::inherit::DEFAULT_ACL;

impl Overlay {
    /// The value of an xattr; `NoData` if there is none.
    pub async fn getxattr(&self, ino: Ino, key: &[u8]) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        let _place = inode.lock.read().await;
        let value = self.place(&inode)?.xattr(key).await?;
        value.ok_or_else(|| Error::new(ErrorKind::NoData, "getxattr"))
    }

    /// The xattr keys; the union's own are not among them.
    pub async fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let inode = self.inode(ino)?;
        let _place = inode.lock.read().await;
        self.place(&inode)?.xattr_keys().await
    }

    /// Sets an xattr, copying the object up first.
    pub async fn setxattr(&self, ino: Ino, key: &[u8], value: &[u8], how: SetXattr) -> Result<()> {
        let inode = self.inode(ino)?;
        self.copy_up(&inode, Data::Below).await?;
        let _place = inode.lock.write().await;
        self.forget_acl(&inode, key);
        self.changeable(&inode, "setxattr")?.set_xattr(key, value, how).await
    }

    /// Removes an xattr. One that a lower object does not have is `NoData`, and nothing is copied up for it; what
    /// the upper says of its own is passed on.
    pub async fn removexattr(&self, ino: Ino, key: &[u8]) -> Result<()> {
        let inode = self.inode(ino)?;
        self.work("removexattr")?;
        if !inode.has_upper() {
            self.getxattr(ino, key).await?;
        }
        self.copy_up(&inode, Data::Below).await?;
        let _place = inode.lock.write().await;
        self.forget_acl(&inode, key);
        self.changeable(&inode, "removexattr")?.remove_xattr(key).await
    }

    fn forget_acl(&self, inode: &Inode, key: &[u8]) {
        if key == DEFAULT_ACL {
            inode.state_mut().default_acl = None;
        }
    }

    /// The default ACL of a directory, asked for once.
    pub(super) async fn default_acl(&self, dir: &Inode) -> Result<Option<Arc<[u8]>>> {
        if let Some(known) = &dir.state().default_acl {
            return Ok(known.clone());
        }
        let acl: Option<Arc<[u8]>> = self.place(dir)?.xattr(DEFAULT_ACL).await?.map(Into::into);
        dir.state_mut().default_acl = Some(acl.clone());
        Ok(acl)
    }
}
