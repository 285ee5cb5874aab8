//! Look-up: a name becomes an inode.

use std::sync::Arc;

use super::inode::{Ino, Inode, Lower, State, Upper};
use super::table::{Table, UPPER};
use super::{Overlay, stale};
use crate::attr::{Attr, Kind};
use crate::entry::{Entry, Found};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Dir, UpperDir};
use crate::merge::lookup::{Fact, Fold, Next, Outcome};
use crate::merge::plan::Upper as UpperFact;
use crate::name::Name;

/// What the layers of a directory hold under a name.
pub(super) struct Facts {
    /// What the union makes of it.
    outcome: Outcome,
    /// The entry of each layer that holds an object, by its place in the fold: 0 is the upper.
    entries: Vec<(usize, Entry)>,
}

impl Facts {
    /// Whether the union shows an object.
    pub(super) fn exists(&self) -> bool {
        !matches!(self.outcome, Outcome::Absent { .. })
    }

    /// What the upper holds where the union shows nothing.
    pub(super) fn upper_mark(&self) -> UpperFact {
        match self.outcome {
            Outcome::Absent { whiteout: Some(UPPER) } => UpperFact::Whiteout,
            _ => UpperFact::Absent,
        }
    }
}

impl Overlay {
    /// The attributes of the child `name`, with one reference to its inode; `None` if there is no such name.
    pub async fn lookup(&self, parent: Ino, name: &Name) -> Result<Option<Attr>> {
        let parent = self.live_dir(parent, "lookup")?;
        let _names = parent.lock.read().await;
        let Some(inode) = self.refer_child(&parent, name).await? else { return Ok(None) };
        // A file may be reached by another of its names, in a directory that is not locked. A directory has one name.
        let place = if inode.is_dir() { None } else { Some(inode.lock.read().await) };
        let attr = self.attr_of(&inode).await;
        drop(place);
        if attr.is_err() {
            self.forget(inode.ino, 1);
        }
        attr.map(Some)
    }

    /// The inode of a child, with a reference of the client. The caller holds the parent's lock.
    pub(super) async fn refer_child(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<Arc<Inode>>> {
        if let Some(inode) = self.table.child(parent.ino, name)
            && self.table.refer(&inode)
        {
            return Ok(Some(inode));
        }
        let facts = self.facts(parent, name, true).await?;
        match self.build(parent, name, facts).await? {
            None => Ok(None),
            Some(built) => Ok(Some(self.enter(parent, name, built))),
        }
    }

    /// The inode of a child, kept in the table for as long as the operation needs it. The caller holds the parent's
    /// lock.
    pub(super) async fn hold_child(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<Held<'_>>> {
        let inode = self.refer_child(parent, name).await?;
        Ok(inode.map(|inode| Held { table: &self.table, inode }))
    }

    /// Asks the layers of a directory for a name: all of them, or the lowers alone.
    pub(super) async fn facts(&self, parent: &Inode, name: &Name, with_upper: bool) -> Result<Facts> {
        let (upper, lowers) = {
            let state = parent.state();
            let upper: Option<Arc<dyn Dir>> = match &state.upper {
                Upper::Dir(dir) if with_upper => Some(dir.clone()),
                _ => None,
            };
            (upper, state.lowers.clone())
        };
        let mut facts = Facts { outcome: Outcome::Absent { whiteout: None }, entries: Vec::new() };
        let mut fold = Fold::default();
        let layers = upper.iter().map(|dir| (UPPER, dir)).chain(lowers.iter().filter_map(as_dir));
        for (layer, dir) in layers {
            let found = dir.lookup(name).await?;
            let next = fold.add(layer, fact(found.as_ref()));
            facts.entries.extend(found.and_then(Found::entry).map(|entry| (layer, entry)));
            if next == Next::Done {
                break;
            }
        }
        facts.outcome = fold.outcome();
        Ok(facts)
    }

    /// Whether a lower shows an object under a name, upper aside.
    pub(super) async fn is_below(&self, parent: &Inode, name: &Name) -> Result<bool> {
        if parent.state().lowers.is_empty() {
            return Ok(false);
        }
        Ok(self.facts(parent, name, false).await?.exists())
    }

    /// What the facts make up. The caller holds the parent's lock.
    pub(super) async fn build(&self, parent: &Inode, name: &Name, facts: Facts) -> Result<Option<Built>> {
        let layers = match &facts.outcome {
            Outcome::Absent { .. } => return Ok(None),
            Outcome::Other(layer) => vec![*layer],
            Outcome::Dir(layers) => layers.clone(),
        };
        let top = facts.entries.iter().find(|(layer, _)| *layer == layers[0]);
        let attr = top.map(|(_, entry)| entry.attr.clone()).ok_or_else(|| stale("lookup"))?;
        self.refuse_unread_marks(name, &facts)?;
        let mut state = State::default();
        let mut lowers = Vec::new();
        for layer in &layers {
            match (*layer, attr.is_dir()) {
                (UPPER, true) => {
                    state.upper = Upper::Dir(self.upper_of(parent, "lookup")?.upper_dir(name).await?)
                }
                (UPPER, false) => state.upper = Upper::Named,
                (layer, is_dir) => {
                    let dir = lower_dir(parent, layer).ok_or_else(|| stale("lookup"))?;
                    lowers.push(match is_dir {
                        true => Lower::Dir(layer - 1, dir.dir(name).await?),
                        false => Lower::Other(layer - 1, dir, name.clone()),
                    });
                }
            }
        }
        state.lowers = lowers.into();
        Ok(Some(Built { attr, layer: layers[0], state }))
    }

    /// What lies elsewhere must not be shown as if it lay here: an empty directory or a file of zeros.
    fn refuse_unread_marks(&self, name: &Name, facts: &Facts) -> Result<()> {
        let refuse = |what: &str| {
            let sentence = format!("it was written with {what}, which this engine does not read");
            Err(Error::new(ErrorKind::NotPermitted, "lookup").at(name).because(sentence))
        };
        for (_, entry) in &facts.entries {
            if entry.metacopy {
                return refuse("metacopy=on");
            }
            if entry.redirect.is_some() && entry.attr.is_dir() {
                return refuse("redirect_dir=on");
            }
        }
        Ok(())
    }

    /// Puts what was built into the table, or takes the inode that is there already.
    fn enter(&self, parent: &Arc<Inode>, name: &Name, built: Built) -> Arc<Inode> {
        let id = (built.attr.dev, built.attr.ino);
        let linked = built.layer == UPPER && !built.attr.is_dir() && built.attr.nlink > 1;
        let make = |table: &Table| {
            let ino = table.derive(built.layer, built.attr.ino, built.attr.dev);
            let names = vec![(parent.clone(), name.clone())];
            let copied_id = (built.layer == UPPER && table.was_copied(id)).then_some(id);
            Inode::new(ino, built.attr.kind, State { names, copied_id, ..built.state })
        };
        match linked {
            true => self.table.insert_linked(id, parent, name, make),
            false => self.table.insert(parent.ino, name, make),
        }
    }

    /// Makes a new object of the upper known, with one reference of the client.
    pub(super) fn enter_new(
        &self,
        parent: &Arc<Inode>,
        name: &Name,
        attr: &Attr,
        dir: Option<Arc<dyn UpperDir>>,
    ) -> Arc<Inode> {
        let upper = dir.map_or(Upper::Named, Upper::Dir);
        // Whatever the name stood for is gone by now.
        self.table.remove_name(parent.ino, name);
        self.enter(
            parent,
            name,
            Built { attr: attr.clone(), layer: UPPER, state: State { upper, ..State::default() } },
        )
    }
}

/// An inode with a reference of an operation, so that two look-ups of one name find one inode even if the client
/// refers to none.
pub(super) struct Held<'a> {
    table: &'a Table,
    inode: Arc<Inode>,
}

impl std::ops::Deref for Held<'_> {
    type Target = Arc<Inode>;
    fn deref(&self) -> &Arc<Inode> {
        &self.inode
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.table.forget(self.inode.ino, 1);
    }
}

impl Overlay {
    /// The number that an object gets when it is met for the first time.
    pub(super) fn number_of(&self, built: &Built) -> Ino {
        self.table.derive(built.layer, built.attr.ino, built.attr.dev)
    }
}

impl Built {
    pub(super) fn kind(&self) -> Kind {
        self.attr.kind
    }

    pub(super) fn into_state(self) -> State {
        self.state
    }
}

/// An inode in the making.
pub(super) struct Built {
    attr: Attr,
    layer: usize,
    state: State,
}

fn fact(found: Option<&Found>) -> Fact {
    match found {
        None => Fact::Absent,
        Some(Found::Whiteout) => Fact::Whiteout,
        Some(Found::Entry(entry)) if entry.attr.is_dir() => Fact::Dir { opaque: entry.opaque },
        Some(Found::Entry(_)) => Fact::Other,
    }
}

/// A lower directory and its place in the fold.
fn as_dir(lower: &Lower) -> Option<(usize, &Arc<dyn Dir>)> {
    match lower {
        Lower::Dir(layer, dir) => Some((layer + 1, dir)),
        Lower::Other(..) => None,
    }
}

fn lower_dir(parent: &Inode, layer: usize) -> Option<Arc<dyn Dir>> {
    let state = parent.state();
    state.lowers.iter().filter_map(as_dir).find(|(at, _)| *at == layer).map(|(_, dir)| dir.clone())
}
