//! New objects.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Ino, Inode};
use super::io::{FileHandle, Open};
use crate::attr::{Attr, Kind, SetAttr};
use crate::error::{Error, Result};
use crate::layer::{Make, Rename, SetXattr, Target, UpperDir, UpperFile};
use crate::merge::inherit::{ACCESS_ACL, Caller, DEFAULT_ACL, Inherited, inherit};
use crate::merge::plan::{Creation, creation};
use crate::name::Name;

/// What to make.
#[derive(Clone, Debug)]
enum New<'a> {
    Object(Kind, u64),
    Symlink(&'a [u8]),
}

impl New<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Object(kind, _) => *kind,
            Self::Symlink(_) => Kind::Symlink,
        }
    }

    fn make(&self, mode: u32) -> Make {
        match self {
            Self::Object(Kind::Dir, _) => Make::Dir(mode),
            Self::Object(kind, rdev) => Make::Node(*kind, mode, *rdev),
            Self::Symlink(target) => Make::Symlink(target.to_vec()),
        }
    }
}

impl Overlay {
    /// Makes a directory. Returns its attributes with one reference to its inode, as all that make something do.
    pub async fn mkdir(&self, caller: Caller, parent: Ino, name: &Name, mode: u32) -> Result<Attr> {
        self.make(caller, parent, name, mode & 0o1777, New::Object(Kind::Dir, 0)).await
    }

    /// Makes a special file or an empty regular file. A 0:0 character device is `NotPermitted`: it would be a
    /// whiteout.
    pub async fn mknod(
        &self,
        caller: Caller,
        parent: Ino,
        name: &Name,
        kind: Kind,
        mode: u32,
        rdev: u64,
    ) -> Result<Attr> {
        if kind == Kind::Char && rdev == 0 {
            return Err(Error::new(crate::error::Kind::NotPermitted, "mknod").at(name));
        }
        self.make(caller, parent, name, mode, New::Object(kind, rdev)).await
    }

    /// Makes a symbolic link.
    pub async fn symlink(&self, caller: Caller, parent: Ino, name: &Name, target: &[u8]) -> Result<Attr> {
        self.make(caller, parent, name, 0o777, New::Symlink(target)).await
    }

    /// Makes a regular file and opens it.
    pub async fn create(
        &self,
        caller: Caller,
        parent: Ino,
        name: &Name,
        mode: u32,
        open: Open,
    ) -> Result<(Attr, u64)> {
        let new = New::Object(Kind::File, 0);
        let (attr, inode, file) = self.make_open(caller, parent, name, mode, new).await?;
        let file = file.ok_or_else(|| super::stale("create"))?;
        let handle = FileHandle::upper(inode, file, open);
        Ok((attr, self.keep(handle)))
    }

    async fn make(&self, caller: Caller, parent: Ino, name: &Name, mode: u32, new: New<'_>) -> Result<Attr> {
        Ok(self.make_open(caller, parent, name, mode, new).await?.0)
    }

    async fn make_open(
        &self,
        caller: Caller,
        parent: Ino,
        name: &Name,
        mode: u32,
        new: New<'_>,
    ) -> Result<(Attr, Arc<Inode>, Option<Arc<dyn UpperFile>>)> {
        let parent = self.dir_to_change(parent, "create").await?;
        let _names = parent.lock.write().await;
        let parent = self.live_dir(parent.ino, "create")?;
        let how = self.free_name(&parent, name).await?;
        let dir = self.upper_of(&parent, "create")?;
        let acl = self.default_acl(&parent).await?;
        let parent_attr = dir.attr().await?;
        let inherited = inherit(&parent_attr, acl.as_deref(), caller, new.kind(), mode);
        let in_place = how == Creation::Free && acl.is_none() && self.owns(&parent_attr, &inherited);
        let made = match in_place {
            true => make_in_place(dir.as_ref(), name, &new, inherited.mode).await?,
            false => self.make_in_work(dir.as_ref(), name, &new, &inherited, how).await?,
        };
        let inode = self.enter_new(&parent, name, &made.attr, made.dir);
        Ok((self.shown(&inode, made.attr), inode, made.file))
    }

    /// Whether the name can be given to a new object, and how. The caller holds the parent's lock.
    pub(super) async fn free_name(&self, parent: &Inode, name: &Name) -> Result<Creation> {
        let facts = self.facts(parent, name).await?;
        creation(facts.upper_mark(), facts.exists()).map_err(|kind| Error::new(kind, "create").at(name))
    }

    /// Whether the upper layer gives the right owner and group by itself to what this process makes.
    fn owns(&self, parent: &Attr, new: &Inherited) -> bool {
        let Some((uid, gid)) = self.options.creates_as else { return false };
        let gid = if parent.mode & 0o2000 == 0 { gid } else { parent.gid };
        (new.uid, new.gid) == (uid, gid)
    }

    /// Makes the object where nobody sees it, so that it is never seen with a wrong owner or mode, and publishes it.
    async fn make_in_work(
        &self,
        dir: &dyn UpperDir,
        name: &Name,
        new: &New<'_>,
        inherited: &Inherited,
        how: Creation,
    ) -> Result<Made> {
        let staged = self.staged("create")?;
        let over = how == Creation::OverWhiteout;
        let prepared = prepare(staged.work.as_ref(), &staged.name, new, inherited, over).await;
        let file = staged.check(prepared).await?;
        // The handle of a directory follows it to its name. After the publication nothing may fail.
        let made = look(staged.work.as_ref(), &staged.name, file).await;
        let mut made = staged.check(made).await?;
        let rename = match (over, new.kind()) {
            (false, _) => Rename::NoReplace,
            (true, Kind::Dir) => Rename::Exchange,
            (true, _) => Rename::Replace,
        };
        staged.publish(dir, name, rename).await?;
        if let Ok(Some(attr)) = dir.stat(name).await {
            made.attr = attr;
        }
        Ok(made)
    }
}

/// A new object of the upper layer.
struct Made {
    attr: Attr,
    /// Its handle, if it is a directory.
    dir: Option<Arc<dyn UpperDir>>,
    /// Its open file, if it is a regular file.
    file: Option<Arc<dyn UpperFile>>,
}

async fn look(dir: &dyn UpperDir, name: &Name, file: Option<Arc<dyn UpperFile>>) -> Result<Made> {
    let attr = dir.stat(name).await?.ok_or_else(|| super::stale("create").at(name))?;
    let dir = if attr.is_dir() { Some(dir.upper_dir(name).await?) } else { None };
    Ok(Made { attr, dir, file })
}

/// Makes the object under its name at once. One that cannot be looked at then is taken back: the creation failed.
async fn make_in_place(dir: &dyn UpperDir, name: &Name, new: &New<'_>, mode: u32) -> Result<Made> {
    let file = make(dir, name, new, mode).await?;
    let made = look(dir, name, file).await;
    if made.is_err() {
        let undone = if new.kind() == Kind::Dir { dir.rmdir(name).await } else { dir.unlink(name).await };
        if let Err(error) = undone {
            tracing::error!(%error, %name, "what was reported as not made is there");
        }
    }
    made
}

async fn make(
    dir: &dyn UpperDir,
    name: &Name,
    new: &New<'_>,
    mode: u32,
) -> Result<Option<Arc<dyn UpperFile>>> {
    if new.kind() == Kind::File {
        return dir.create(name, mode).await.map(Some);
    }
    dir.make(name, &new.make(mode)).await.map(|()| None)
}

async fn prepare(
    work: &dyn UpperDir,
    name: &Name,
    new: &New<'_>,
    inherited: &Inherited,
    opaque: bool,
) -> Result<Option<Arc<dyn UpperFile>>> {
    let private = if new.kind() == Kind::Dir { 0o700 } else { 0o600 };
    let file = make(work, name, new, private).await?;
    let target = Target::Child(name);
    let owner = SetAttr { uid: Some(inherited.uid), gid: Some(inherited.gid), ..SetAttr::default() };
    work.set_attr(target, &owner).await?;
    for (key, acl) in [(ACCESS_ACL, &inherited.access_acl), (DEFAULT_ACL, &inherited.default_acl)] {
        if let Some(acl) = acl {
            work.set_xattr(target, key, acl, SetXattr::Any).await?;
        }
    }
    if new.kind() == Kind::Dir && opaque {
        work.set_opaque(target).await?;
    }
    if new.kind() != Kind::Symlink {
        work.set_attr(target, &SetAttr { mode: Some(inherited.mode), ..SetAttr::default() }).await?;
    }
    Ok(file)
}
