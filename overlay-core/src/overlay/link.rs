//! Hard links.

use std::sync::Arc;

use super::inode::{Ino, Inode};
use super::reach::UpperPlace;
use super::{Overlay, stale};
use crate::attr::Attr;
use crate::copy_up::Data;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Rename, UpperDir};
use crate::merge::plan::Creation;
use crate::name::Name;

impl Overlay {
    /// Gives an inode another name, copying it up first. Its attributes, with one more reference.
    pub async fn link(&self, ino: Ino, parent: Ino, name: &Name) -> Result<Attr> {
        let inode = self.inode(ino)?;
        let parent = self.live_dir(parent, "link")?;
        if inode.is_dir() {
            return Err(Error::new(ErrorKind::NotPermitted, "link"));
        }
        self.copy_up(&parent, Data::Full).await?;
        self.copy_up(&inode, Data::Below).await?;
        let _shape = if inode.state().metacopy { Some(self.renaming.lock().await) } else { None };
        let _names = parent.lock.write().await;
        let _place = inode.lock.write().await;
        let parent = self.live_dir(parent.ino, "link")?;
        let how = self.free_name(&parent, name).await?;
        let (holder, from, old) = self.named_place(&inode)?;
        let to = self.upper_of(&parent, "link")?;
        let before = from.stat(&old).await?.ok_or_else(|| stale("link").at(&old))?;
        let before = self.with_data(&inode, before).await?;
        if inode.state().metacopy {
            let (holder, name) = holder;
            self.redirect(&inode, (&holder, &name), (from.as_ref(), &old), true).await?;
        }
        self.arrive_impure(Some(&inode), &parent, to.as_ref()).await?;
        self.count_by_upper(&inode).await?;
        match how {
            Creation::Free => from.link(&old, to.as_ref(), name).await?,
            Creation::OverWhiteout => self.link_over_whiteout(from.as_ref(), &old, to.as_ref(), name).await?,
        }
        // The link is made: from here on nothing may fail. Attributes that cannot be read are worked out.
        let attr = match to.stat(name).await {
            Ok(Some(attr)) if inode.state().metacopy => Attr { blocks: before.blocks, ..attr },
            Ok(Some(attr)) => attr,
            _ => Attr { nlink: before.nlink + 1, ..before },
        };
        self.table.remove_name(parent.ino, name);
        self.table.add_name(&parent, name, &inode);
        if inode.state().indexed.is_none() {
            self.table.add_link((attr.dev, attr.ino), &inode);
        }
        if !self.table.refer(&inode) {
            return Err(stale("link"));
        }
        Ok(self.shown(&inode, attr))
    }

    async fn link_over_whiteout(
        &self,
        from: &dyn UpperDir,
        old: &Name,
        to: &dyn UpperDir,
        name: &Name,
    ) -> Result<()> {
        let staged = self.staged("link")?;
        from.link(old, staged.work.as_ref(), &staged.name).await?;
        staged.publish(to, name, Rename::Replace).await
    }

    /// A name of a non-directory, and its place in the upper. An object without a name cannot get one again.
    #[expect(clippy::type_complexity, reason = "a name in the union, and a name in the upper")]
    fn named_place(&self, inode: &Inode) -> Result<((Arc<Inode>, Name), Arc<dyn UpperDir>, Name)> {
        let named = inode.first_name();
        match (self.upper_place(inode)?, named) {
            (Some(UpperPlace::Child(dir, place)), Some(named)) => Ok((named, dir, place)),
            _ => Err(Error::new(ErrorKind::NotFound, "link")),
        }
    }
}
