//! The index: lower files with several names keep them as names of one file when they are copied up.
//!
//! The copy of such a file lies in the index, under the file handle of the lower object, and each name of that leads to
//! it. A name is brought into the upper when it is to be moved, or is known when the copy is made.

use std::sync::Arc;

use super::inode::{Inode, State, Upper};
use super::lookup::Built;
use super::reach::UpperPlace;
use super::remove::Pin;
use super::stage::Staged;
use super::up::nothing_happened;
use super::{Overlay, stale};
use crate::attr::Attr;
use crate::copy_up::Data;
use crate::entry::{Entry, Found, Mark};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, Rename, Target, UpperDir};
use crate::marker::kernel::{index_name, origin, parse_origin};
use crate::merge::nlink::Links;
use crate::name::Name;

/// What a file has to do with the index.
#[derive(Clone)]
pub(super) struct Indexed {
    /// Its name there.
    pub(super) key: Name,
    /// How many names the lower object has.
    lower: u32,
    /// How many the union has, once it is in the index.
    links: Option<Links>,
}

impl Indexed {
    /// As it is once it is in the index.
    pub(super) fn counted(self, links: Links) -> Self {
        Self { links: Some(links), ..self }
    }

    /// How many names the union shows, of an upper object with `upper` names.
    pub(super) fn total(&self, upper: u32) -> u32 {
        self.links.map_or(upper, |links| links.total(upper, self.lower))
    }
}

/// Removes from the index what no name leads to any more.
pub(super) async fn sweep(index: &dyn UpperDir) -> Result<()> {
    for row in index.list().await? {
        let Some(Found::Entry(entry)) = index.lookup(&row.name).await? else { continue };
        let links = entry.nlink.as_deref().and_then(Links::parse);
        let orphan = matches!(links, Some(Links::Upper(_)))
            && links.is_some_and(|links| links.total(entry.attr.nlink, 0) == 0);
        // A name in the upper outweighs any count.
        if orphan && entry.attr.nlink == 1 && !entry.attr.is_dir() {
            index.unlink(&row.name).await?;
        }
    }
    Ok(())
}

impl Overlay {
    /// Connects what a look-up found with the index: with an entry that is there, or one that a copy-up will make.
    pub(super) async fn consult_index(
        &self,
        built: &mut Built,
        dir: &dyn Dir,
        name: &Name,
        mark: Option<&[u8]>,
    ) -> Result<()> {
        let Some(index) = &self.index else { return Ok(()) };
        if built.attr.is_dir() || built.attr.nlink < 2 {
            return Ok(());
        }
        let in_upper = !built.state.upper.is_none();
        let (key, layer, lower) = if in_upper {
            let Some(mark) = mark else { return Ok(()) };
            let Some(id) = parse_origin(mark) else { return Ok(()) };
            let Some((layer, lower)) = self.find_below(&id).await? else { return Ok(()) };
            (index_name(mark)?, layer, lower)
        } else {
            let Some(id) = dir.id(Target::Child(name)).await? else { return Ok(()) };
            (index_name(&origin(Some(&id)))?, built.layer, built.attr.clone())
        };
        let entry = match index.lookup(&key).await? {
            Some(Found::Whiteout) => return Err(stale("lookup").at(name)),
            Some(Found::Entry(entry)) => Some(entry),
            None => None,
        };
        let same = |entry: &Entry| (entry.attr.dev, entry.attr.ino) == (built.attr.dev, built.attr.ino);
        if in_upper && !entry.as_ref().is_some_and(same) {
            return Ok(());
        }
        built.identity = Some(self.table.identity_below(layer, lower.ino));
        let links = entry.as_ref().map(|entry| {
            let mark = entry.nlink.as_deref().and_then(Links::parse);
            mark.unwrap_or_else(|| Links::of(entry.attr.nlink, entry.attr.nlink))
        });
        built.state.indexed = Some(Indexed { key: key.clone(), lower: lower.nlink, links });
        if let Some(entry) = entry {
            self.table.remember(&entry.attr, self.table.number_in(layer, lower.ino));
            built.layer = super::table::UPPER;
            built.attr = entry.attr;
            let state = &mut built.state;
            state.upper = Upper::Indexed(index.clone(), key);
            state.metacopy = entry.metacopy;
            state.redirect = entry.redirect.map(Into::into);
            state.origin = true;
        }
        Ok(())
    }

    /// Whether a copy-up must bring the inode into the index.
    pub(super) fn is_to_be_indexed(&self, inode: &Inode) -> bool {
        let state = inode.state();
        state.upper.is_none() && state.indexed.is_some()
    }

    /// Copies a file of several names up before it loses one: the count of its names is kept with the copy.
    pub(super) async fn index_first(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        if self.index.is_none() {
            return Ok(());
        }
        let child = {
            let _names = parent.lock.read().await;
            self.hold_child(parent, name).await?
        };
        match child {
            Some(child) if self.is_to_be_indexed(&child) => self.copy_up(&child, Data::Below).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Marks a copy in work with the count of its names.
    pub(super) async fn count_names(&self, indexed: &Indexed, staged: &Staged<'_>) -> Result<Links> {
        let links = Links::of(indexed.lower, 1);
        let mark = links.to_string();
        staged.work.set_mark(Target::Child(&staged.name), Mark::Nlink, Some(mark.as_bytes())).await?;
        Ok(links)
    }

    /// Moves a copy from work into the index: the commit of its copy-up. The caller holds the inode's lock.
    pub(super) async fn publish_in_index(&self, staged: Staged<'_>, key: &Name) -> Result<Upper> {
        let index = self.index.as_ref().ok_or_else(|| stale("copy-up"));
        let index = staged.check(index).await?.clone();
        staged.publish(index.as_ref(), key, Rename::NoReplace).await?;
        Ok(Upper::Indexed(index, key.clone()))
    }

    /// Whether a name of a non-directory of the upper is in the upper.
    pub(super) async fn is_named_above(
        &self,
        inode: &Inode,
        dir: &dyn UpperDir,
        name: &Name,
    ) -> Result<bool> {
        let indexed = matches!(inode.state().upper, Upper::Indexed(..));
        if indexed { Ok(dir.stat(name).await?.is_some()) } else { Ok(inode.has_upper()) }
    }

    /// Brings a name of an indexed file into the upper, so that it can be moved; whoever looks sees no difference. The count
    /// is told by the lower's meanwhile, so that a crash leaves it right.
    pub(super) async fn bring_name(
        &self,
        inode: &Inode,
        parent: &Inode,
        dir: &dyn UpperDir,
        name: &Name,
    ) -> Result<()> {
        let place = self.upper_place(inode)?;
        let indexed = inode.state().indexed.clone();
        let (Some(UpperPlace::Child(index, key)), Some(indexed)) = (place, indexed) else { return Ok(()) };
        if !matches!(inode.state().upper, Upper::Indexed(..)) || dir.stat(name).await?.is_some() {
            return Ok(());
        }
        let attr = index.stat(&key).await?.ok_or_else(|| stale("link").at(name))?;
        let total = indexed.total(attr.nlink);
        self.mark_impure(parent, dir).await?;
        self.set_links(inode, Links::Lower(i64::from(total) - i64::from(indexed.lower))).await?;
        if let Err(error) = index.link(&key, dir, name).await {
            // Else names that come and go in the upper would not be counted.
            self.set_links(inode, Links::of(total, attr.nlink)).await?;
            return Err(error);
        }
        self.set_links(inode, Links::of(total, attr.nlink + 1)).await
    }

    /// Before an indexed file gets or loses a name: its count is told by the upper's, which that name changes. It is told by
    /// the lower's after a crash, or a failure, in the middle of [`Overlay::bring_name`]. The caller holds the inode's lock.
    pub(super) async fn count_by_upper(&self, inode: &Inode) -> Result<()> {
        let links = inode.state().indexed.as_ref().and_then(|indexed| indexed.links);
        if !matches!(links, Some(Links::Lower(_))) {
            return Ok(());
        }
        let (Some(UpperPlace::Child(index, key)), Some(indexed)) =
            (self.upper_place(inode)?, inode.state().indexed.clone())
        else {
            return Ok(());
        };
        let upper = index.stat(&key).await?.ok_or_else(|| stale("index"))?.nlink;
        self.set_links(inode, Links::of(indexed.total(upper), upper)).await
    }

    /// Brings the names by which a file is known into the upper, where their directories are there: a mount without an index
    /// sees the copy under these. The others are found by the index, so a failure is no error. The caller holds the inode's lock.
    pub(super) async fn bring_known_names(&self, inode: &Inode) {
        let names = inode.state().names.clone();
        for (parent, name) in names {
            let Some(dir) = parent.upper_dir() else { continue };
            let brought = async {
                let before = dir.attr().await?;
                self.bring_name(inode, &parent, dir.as_ref(), &name).await?;
                Ok::<_, Error>(before)
            };
            match brought.await {
                Ok(before) => nothing_happened(dir.as_ref(), &name, &before).await,
                Err(error) => tracing::warn!(%error, %name, "without the index this name has what was below"),
            }
        }
    }

    /// Records how many names an indexed file has.
    async fn set_links(&self, inode: &Inode, links: Links) -> Result<()> {
        let Some(UpperPlace::Child(index, key)) = self.upper_place(inode)? else { return Ok(()) };
        index.set_mark(Target::Child(&key), Mark::Nlink, Some(links.to_string().as_bytes())).await?;
        if let Some(indexed) = &mut inode.state_mut().indexed {
            indexed.links = Some(links);
        }
        Ok(())
    }

    /// After an indexed file has lost a name: the count goes down, and the entry goes with the last one. Both are made up for
    /// by nothing worse than an entry that stays, so a failure is no error of the removal.
    pub(super) async fn settle_index(&self, inode: &Inode, pin: Option<&Pin>) {
        let Some(loss) = pin.and_then(|pin| pin.indexed.as_ref()) else { return };
        let settled = if loss.total <= 1 {
            loss.drop_entry().await
        } else if loss.was_above {
            Ok(())
        } else {
            self.set_links(inode, Links::of(loss.total - 1, loss.upper)).await
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "a file in the index counts a name too many");
        }
    }
}

/// What an indexed file was before it lost a name.
pub(super) struct Loss {
    index: Arc<dyn UpperDir>,
    key: Name,
    /// How many names the union showed.
    pub(super) total: u32,
    /// How many the upper object had.
    upper: u32,
    /// Whether the name was in the upper.
    was_above: bool,
}

impl Loss {
    /// Removes the entry of a file that has lost its last name; one that still has a name in the upper stays, whatever
    /// the count says.
    async fn drop_entry(&self) -> Result<()> {
        match self.index.stat(&self.key).await? {
            Some(attr) if attr.nlink > 1 => Err(stale("index")),
            _ => self.index.unlink(&self.key).await,
        }
    }

    pub(super) fn new(state: &State, attr: &Attr, was_above: bool) -> Option<Self> {
        let (Upper::Indexed(index, key), Some(indexed)) = (&state.upper, &state.indexed) else { return None };
        let total = indexed.total(attr.nlink);
        Some(Self { index: index.clone(), key: key.clone(), total, upper: attr.nlink, was_above })
    }
}

/// An index needs an upper that has a place for one.
pub(super) fn missing() -> Error {
    Error::new(ErrorKind::Unsupported, "mount")
        .because("the upper layer has no place for an index of hard links")
}
