//! Removing names.

use std::sync::Arc;

use super::Overlay;
use super::index::Loss;
use super::inode::{Ino, Inode, Upper};
use super::lookup::Held;
use crate::copy_up::Data;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Rename, UpperDir, UpperNode};
use crate::merge::plan::{Removal, Upper as UpperFact, removal};
use crate::name::Name;

impl Overlay {
    /// Removes a name of anything but a directory. Its content stays for those who have it open.
    pub async fn unlink(&self, parent: Ino, name: &Name) -> Result<()> {
        let parent = self.dir_to_change(parent, "unlink").await?;
        loop {
            self.index_first(&parent, name).await?;
            let _names = parent.lock.write().await;
            let child = self.child_to_change(&parent, name, "unlink").await?;
            if child.is_dir() {
                return Err(Error::new(ErrorKind::IsDir, "unlink").at(name));
            }
            let _place = child.lock.write().await;
            if self.is_to_be_indexed(&child) {
                // Somebody put it under the name in between.
                continue;
            }
            let upper = self.upper_fact(&parent, name, &child).await?;
            return self.remove(&parent, name, &child, upper).await;
        }
    }

    /// What the upper holds under a name of a non-directory.
    pub(super) async fn upper_fact(&self, parent: &Inode, name: &Name, child: &Inode) -> Result<UpperFact> {
        let dir = self.upper_of(parent, "remove")?;
        let above = self.is_named_above(child, dir.as_ref(), name).await?;
        Ok(if above { UpperFact::Other } else { UpperFact::Absent })
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, parent: Ino, name: &Name) -> Result<()> {
        let parent = self.live_dir(parent, "rmdir")?;
        if !parent.has_upper() {
            // A refusal copies nothing up.
            self.refuse_full(&parent, name).await?;
            self.copy_up(&parent, Data::Full).await?;
        }
        let _names = parent.lock.write().await;
        let child = self.child_to_change(&parent, name, "rmdir").await?;
        if !child.is_dir() {
            return Err(Error::new(ErrorKind::NotDir, "rmdir").at(name));
        }
        let _inside = child.lock.write().await;
        self.refuse_protected(&child, "rmdir").await.map_err(|error| error.at(name))?;
        let found = self.emptiness(&child).await?;
        if !found.empty {
            return Err(Error::new(ErrorKind::NotEmpty, "rmdir").at(name));
        }
        let upper = if child.has_upper() { UpperFact::Dir { bare: found.bare } } else { UpperFact::Absent };
        self.remove(&parent, name, &child, upper).await
    }

    /// Whether `rmdir` will fail for what the directory holds.
    async fn refuse_full(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        self.work("rmdir")?;
        let _names = parent.lock.read().await;
        let child = self.child_to_change(parent, name, "rmdir").await?;
        if !child.is_dir() {
            return Err(Error::new(ErrorKind::NotDir, "rmdir").at(name));
        }
        let _inside = child.lock.read().await;
        let empty = self.emptiness(&child).await?.empty;
        if empty { Ok(()) } else { Err(Error::new(ErrorKind::NotEmpty, "rmdir").at(name)) }
    }

    /// A directory whose names are about to change: it is in the upper afterwards.
    pub(super) async fn dir_to_change(&self, ino: Ino, op: &'static str) -> Result<Arc<Inode>> {
        let dir = self.live_dir(ino, op)?;
        self.copy_up(&dir, Data::Full).await?;
        Ok(dir)
    }

    /// The inode under a name. The caller holds the parent's lock.
    pub(super) async fn child_to_change(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        op: &'static str,
    ) -> Result<Held<'_>> {
        let missing = || Error::new(ErrorKind::NotFound, op).at(name);
        if parent.is_removed() {
            return Err(missing());
        }
        self.hold_child(parent, name).await?.ok_or_else(missing)
    }

    async fn remove(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        child: &Arc<Inode>,
        upper: UpperFact,
    ) -> Result<()> {
        self.refuse_protected(child, "remove").await.map_err(|error| error.at(name))?;
        let below = self.is_below(parent, name).await?;
        let dir = self.upper_of(parent, "remove")?;
        let pin = self.pin(dir.as_ref(), name, child).await?;
        match removal(upper, below) {
            Removal::Unlink => dir.unlink(name).await?,
            Removal::Rmdir => dir.rmdir(name).await?,
            Removal::Whiteout => dir.whiteout(name).await?,
            Removal::Discard => self.move_to_work(dir.as_ref(), name).await?,
            Removal::Replace => self.whiteout_over(dir.as_ref(), name, Rename::Replace).await?,
            Removal::Exchange => self.whiteout_over(dir.as_ref(), name, Rename::Exchange).await?,
        }
        self.lost_name(parent, name, child, pin.as_ref());
        self.settle_index(child, pin.as_ref()).await;
        Ok(())
    }

    async fn move_to_work(&self, dir: &dyn UpperDir, name: &Name) -> Result<()> {
        let staged = self.staged("rmdir")?;
        dir.rename(name, staged.work.as_ref(), &staged.name, Rename::NoReplace).await?;
        self.discard(&staged.name).await;
        Ok(())
    }

    async fn whiteout_over(&self, dir: &dyn UpperDir, name: &Name, how: Rename) -> Result<()> {
        let staged = self.staged("remove")?;
        let made = staged.work.whiteout(&staged.name).await;
        staged.check(made).await?;
        staged.publish(dir, name, how).await
    }

    /// A handle of an upper object that is about to lose a name, for those who still refer to it.
    pub(super) async fn pin(&self, dir: &dyn UpperDir, name: &Name, child: &Inode) -> Result<Option<Pin>> {
        let place = match &child.state().upper {
            Upper::Named => None,
            Upper::Indexed(index, key) => Some((index.clone(), key.clone())),
            _ => return Ok(None),
        };
        self.count_by_upper(child).await?;
        let Some((index, key)) = place else {
            let node = dir.pin(name).await?;
            let last = node.attr().await?.nlink <= 1;
            return Ok(Some(Pin { node, last, indexed: None }));
        };
        let was_above = dir.stat(name).await?.is_some();
        let node = index.pin(&key).await?;
        let attr = node.attr().await?;
        let indexed = Loss::new(&child.state(), &attr, was_above);
        let last = indexed.as_ref().is_none_or(|loss| loss.total <= 1);
        Ok(Some(Pin { node, last, indexed }))
    }

    /// Records that an inode has lost a name.
    pub(super) fn lost_name(&self, parent: &Arc<Inode>, name: &Name, child: &Arc<Inode>, pin: Option<&Pin>) {
        self.table.remove_name(parent.ino, name);
        child.drop_name(parent.ino, name);
        let mut state = child.state_mut();
        if !state.names.is_empty() {
            return;
        }
        let last = pin.is_none_or(|pin| pin.last);
        if let Some(pin) = pin.filter(|pin| last || pin.indexed.is_none()) {
            state.upper = Upper::Orphan(pin.node.clone());
        }
        if !last {
            // It has further names that nobody asked for yet: the next look-up gives it one back.
            return;
        }
        state.removed = true;
        let ids = [state.copied_id.take(), state.link_id.take()];
        drop(state);
        for id in ids.into_iter().flatten() {
            self.table.release_number(id);
        }
    }
}

/// An upper object that is about to lose a name.
pub(super) struct Pin {
    node: Arc<dyn UpperNode>,
    /// Whether it is the last one.
    last: bool,
    /// What it was, if it is in the index.
    pub(super) indexed: Option<Loss>,
}
