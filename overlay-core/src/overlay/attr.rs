//! Attributes: reading and changing them.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Ino, Inode};
use super::reach::UpperPlace;
use crate::attr::{Attr, Kind, SetAttr, SetTime};
use crate::copy_up::Data;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::merge::inherit::{Caller, without_privilege};

/// A change of attributes as a client asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The new values.
    pub set: SetAttr,
    /// Take set-user-ID and set-group-ID off as after a write without privilege.
    pub kill_privilege: bool,
}

impl Overlay {
    /// The attributes of an inode.
    pub async fn getattr(&self, ino: Ino) -> Result<Attr> {
        let inode = self.inode(ino)?;
        let _place = inode.lock.read().await;
        self.attr_of(&inode).await
    }

    /// The attributes of an inode; the caller holds its lock, or the lock of the directory that it is in.
    pub(super) async fn attr_of(&self, inode: &Inode) -> Result<Attr> {
        let attr = self.place(inode)?.attr().await?;
        Ok(self.shown(inode, self.with_data(inode, attr).await?))
    }

    /// The target of a symbolic link.
    pub async fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        if inode.kind != Kind::Symlink {
            return Err(Error::new(ErrorKind::Invalid, "readlink"));
        }
        let _place = inode.lock.read().await;
        self.place(&inode)?.read_link().await
    }

    /// Changes attributes, copying the object up first. `handle` is an open handle of the file, if the client
    /// has one. Returns the new attributes.
    pub async fn setattr(&self, ino: Ino, handle: Option<u64>, change: &Change) -> Result<Attr> {
        let inode = self.inode(ino)?;
        self.work("setattr")?;
        refuse_size(&inode, change)?;
        let data = match change.set.size {
            None => Data::Below,
            Some(0) => Data::None,
            Some(_) => Data::Full,
        };
        let copied = self.copy_up(&inode, data).await?;
        let _place = inode.lock.write().await;
        let place = self.changeable(&inode, "setattr")?;
        let mut change = self.effective(&inode, change).await?;
        if copied && data == Data::None {
            change.size = None;
        }
        let change = self.truncate_by_handle(handle, change).await?;
        if !change.is_empty() {
            place.set_attr(&change).await?;
        }
        drop(place);
        self.attr_of(&inode).await
    }

    /// The change with the loss of privilege worked in: a truncation, too, makes privilege go.
    async fn effective(&self, inode: &Inode, change: &Change) -> Result<SetAttr> {
        let mut set = change.set.clone();
        if change.kill_privilege && !inode.is_dir() {
            let mode = match set.mode {
                Some(mode) => mode,
                None => self.place(inode)?.attr().await?.mode,
            };
            if let Some(stripped) = without_privilege(mode) {
                set.mode = Some(stripped);
            }
        }
        Ok(set)
    }

    /// Sets the size through an open handle where there is one: it holds even if the mode forbids a new open.
    async fn truncate_by_handle(&self, handle: Option<u64>, mut set: SetAttr) -> Result<SetAttr> {
        if let (Some(size), Some(handle)) = (set.size, handle)
            && let Some(file) = self.file(handle)?.upper_file()
        {
            set.size = None;
            file.set_attr(&SetAttr { size: Some(size), ..SetAttr::default() }).await?;
        }
        Ok(set)
    }

    /// Takes set-user-ID and set-group-ID off, if they are on: somebody without privilege writes.
    pub async fn kill_privilege(&self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        let _place = inode.lock.write().await;
        let Some(place) = self.upper_place(&inode)? else { return Ok(()) };
        match without_privilege(self.place(&inode)?.attr().await?.mode) {
            None => Ok(()),
            Some(mode) => place.set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }).await,
        }
    }

    /// Takes set-user-ID and set-group-ID off at the word of the client alone. It says so after a write that it did
    /// by itself, and in the same words at a `chown` that changes nothing; strangers may do the first only.
    pub async fn give_up_privilege(&self, caller: Caller, ino: Ino) -> Result<Attr> {
        let attr = self.getattr(ino).await?;
        let privileged = !attr.is_dir() && without_privilege(attr.mode).is_some();
        if privileged && caller.uid != 0 && caller.uid != attr.uid && !self.is_written(ino) {
            return Err(Error::new(ErrorKind::NotPermitted, "setattr"));
        }
        self.setattr(ino, None, &Change { kill_privilege: true, ..Change::default() }).await
    }

    /// Whether `caller` may do what the bits of `mask` say (4 read, 2 write, 1 execute), by owner, group and mode;
    /// ACLs and supplementary groups are the client's affair.
    pub async fn access(&self, caller: Caller, ino: Ino, mask: u32) -> Result<()> {
        let attr = self.getattr(ino).await?;
        if mask & 2 != 0 && !self.is_writable() {
            return Err(Error::new(ErrorKind::ReadOnly, "access"));
        }
        if may(caller, &attr, mask) { Ok(()) } else { Err(Error::new(ErrorKind::Access, "access")) }
    }

    /// The inode flags of `FS_IOC_GETFLAGS`.
    pub async fn flags(&self, ino: Ino) -> Result<u32> {
        let inode = self.inode(ino)?;
        let _place = inode.lock.read().await;
        self.place(&inode)?.flags().await
    }

    /// Sets the inode flags of `FS_IOC_SETFLAGS`, copying the object up first.
    pub async fn set_flags(&self, ino: Ino, flags: u32) -> Result<()> {
        let inode = self.inode(ino)?;
        self.copy_up(&inode, Data::Below).await?;
        let _place = inode.lock.write().await;
        self.changeable(&inode, "setflags")?.set_flags(flags).await
    }

    /// The upper object of an inode that was copied up.
    pub(super) fn changeable(&self, inode: &Arc<Inode>, op: &'static str) -> Result<UpperPlace> {
        self.upper_place(inode)?.ok_or_else(|| super::stale(op))
    }
}

fn refuse_size(inode: &Inode, change: &Change) -> Result<()> {
    match (change.set.size, inode.kind) {
        (None, _) | (Some(_), Kind::File) => Ok(()),
        (Some(_), Kind::Dir) => Err(Error::new(ErrorKind::IsDir, "truncate")),
        (Some(_), _) => Err(Error::new(ErrorKind::Invalid, "truncate")),
    }
}

fn may(caller: Caller, attr: &Attr, mask: u32) -> bool {
    let executable = attr.is_dir() || attr.mode & 0o111 != 0;
    if caller.uid == 0 {
        return mask & 1 == 0 || executable;
    }
    let shift = match (caller.uid == attr.uid, caller.gid == attr.gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    (attr.mode >> shift) & mask & 7 == mask & 7
}

/// The change that sets just these times.
pub(super) fn times(attr: &Attr) -> SetAttr {
    SetAttr {
        atime: Some(SetTime::At(attr.atime)),
        mtime: Some(SetTime::At(attr.mtime)),
        ..SetAttr::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::Time;

    #[test]
    fn access_is_by_owner_then_group_then_others() {
        let attr = Attr { uid: 1, gid: 2, ..Attr::new(Kind::File, 1, 0o640, 0, Time::default()) };
        let caller = |uid, gid| Caller { uid, gid, umask: 0 };
        assert!(may(caller(1, 9), &attr, 6) && !may(caller(1, 9), &attr, 1));
        assert!(may(caller(9, 2), &attr, 4) && !may(caller(9, 2), &attr, 2));
        assert!(!may(caller(9, 9), &attr, 4));
        assert!(may(caller(0, 0), &attr, 6) && !may(caller(0, 0), &attr, 1), "root needs one execute bit");
    }
}
