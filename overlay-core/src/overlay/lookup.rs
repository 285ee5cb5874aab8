//! Look-up: a name becomes an inode.

use std::sync::Arc;

use super::inode::{Ino, Inode, Lower, State, Upper};
use super::table::{Table, UPPER};
use super::{Overlay, RedirectDir, stale};
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
    /// What was found in the layers, by their place in the fold: 0 is the upper.
    hits: Vec<Hit>,
}

/// An object that was found in a layer.
struct Hit {
    layer: usize,
    dir: Arc<dyn Dir>,
    name: Name,
    entry: Entry,
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
        let facts = self.facts(parent, name).await?;
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

    /// Asks the layers of a directory for a name.
    pub(super) async fn facts(&self, parent: &Inode, name: &Name) -> Result<Facts> {
        let (upper, mut below) = {
            let state = parent.state();
            let upper: Option<Arc<dyn Dir>> = match &state.upper {
                Upper::Dir(dir) => Some(dir.clone()),
                _ => None,
            };
            (upper, state.lowers.clone())
        };
        let follow = self.options.redirect_dir != RedirectDir::NoFollow;
        let mut search = Search { fold: Fold::new(name, follow), hits: Vec::new() };
        let mut next = Next::Below;
        let mut asked = UPPER;
        if let Some(dir) = upper {
            next = search.ask(UPPER, dir, !follow && below.is_empty()).await?;
        }
        while next == Next::Below {
            if search.fold.from_root() {
                below = self.roots.clone();
            }
            let Some((layer, dir)) = below.iter().filter_map(as_dir).find(|(layer, _)| *layer > asked) else {
                break;
            };
            asked = layer;
            let last = self.is_last(layer, &below, follow, &search.fold);
            next = search.ask(layer, dir.clone(), last).await?;
        }
        Ok(Facts { outcome: search.fold.outcome(), hits: search.hits })
    }

    /// Whether nothing can be found below a layer: a redirect that is followed may lead to any layer below, else the
    /// parent's are all.
    fn is_last(&self, layer: usize, below: &[Lower], follow: bool, fold: &Fold) -> bool {
        let bottom = if follow { self.roots.last() } else { below.last() };
        let data = follow && !self.stack.data().is_empty() && !fold.is_dir();
        !data && bottom.and_then(as_dir).is_some_and(|(bottom, _)| bottom == layer)
    }

    /// Whether a lower shows an object under a name, upper aside.
    pub(super) async fn is_below(&self, parent: &Inode, name: &Name) -> Result<bool> {
        let lowers = parent.state().lowers.clone();
        for (_, dir) in lowers.iter().filter_map(as_dir) {
            match dir.lookup(name).await? {
                None => {}
                Some(Found::Whiteout) => return Ok(false),
                Some(Found::Entry(_)) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// What the facts make up. The caller holds the parent's lock.
    pub(super) async fn build(&self, parent: &Inode, name: &Name, facts: Facts) -> Result<Option<Built>> {
        let mut data = None;
        let layers = match &facts.outcome {
            Outcome::Absent { .. } => return Ok(None),
            Outcome::Other(layers) | Outcome::Dir(layers) => layers,
            Outcome::Dataless(layers, path) => {
                let path = path.as_ref().filter(|_| !self.stack.data().is_empty());
                let path = path.ok_or_else(|| {
                    Error::new(ErrorKind::Io, "lookup").at(name).because("its data is in none of the layers")
                })?;
                data = Some(Lower::Data(path.as_slice().into()));
                layers
            }
        };
        let hits = facts.hits.iter().filter(|hit| layers.contains(&hit.layer));
        let top = hits.clone().next().ok_or_else(|| stale("lookup").at(name))?;
        // Found by a redirect or not, its data is elsewhere, and what says so may be anybody's.
        if self.options.redirect_dir == RedirectDir::NoFollow && top.entry.metacopy {
            let sentence = "it has its data elsewhere (metacopy), which is not followed";
            return Err(Error::new(ErrorKind::NotPermitted, "lookup").at(name).because(sentence));
        }
        let mut state = State::default();
        let mut lowers = Vec::new();
        for hit in hits.clone() {
            match (hit.layer, hit.entry.attr.is_dir()) {
                (UPPER, true) => {
                    state.upper = Upper::Dir(self.upper_of(parent, "lookup")?.upper_dir(name).await?);
                }
                (UPPER, false) => state.upper = Upper::Named,
                (layer, true) => lowers.push(Lower::Dir(layer - 1, hit.dir.dir(&hit.name).await?)),
                (layer, false) => lowers.push(Lower::Other(layer - 1, hit.dir.clone(), hit.name.clone())),
            }
        }
        state.lowers = lowers.into_iter().chain(data).collect();
        if top.layer == UPPER {
            self.recall(&top.entry).await?;
            state.origin = top.entry.origin.is_some();
            state.impure = Some(top.entry.impure);
            state.metacopy = top.entry.metacopy;
            let read = top.entry.metacopy || top.entry.attr.is_dir() && !top.entry.opaque;
            state.redirect = top.entry.redirect.as_deref().filter(|_| read).map(Into::into);
        }
        let mut built = Built { attr: top.entry.attr.clone(), layer: top.layer, state, identity: None };
        self.consult_index(&mut built, top.dir.as_ref(), &top.name, top.entry.origin.as_deref()).await?;
        Ok(Some(built))
    }

    /// Puts what was built into the table, or takes the inode that is there already.
    fn enter(&self, parent: &Arc<Inode>, name: &Name, built: Built) -> Arc<Inode> {
        let id = (built.attr.dev, built.attr.ino);
        let linked = built.layer == UPPER && !built.attr.is_dir() && built.attr.nlink > 1;
        let identity = built.identity.or(linked.then_some(id));
        let make = |table: &Table| {
            let ino = table.derive(built.layer, built.attr.ino, built.attr.dev);
            let names = vec![(parent.clone(), name.clone())];
            let copied_id = (built.layer == UPPER && table.was_copied(id)).then_some(id);
            Inode::new(ino, built.attr.kind, State { names, copied_id, ..built.state })
        };
        match identity {
            Some(identity) => self.table.insert_linked(identity, parent, name, make),
            None => self.table.insert(parent.ino, name, make),
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
        let impure = dir.is_some().then_some(false);
        let upper = dir.map_or(Upper::Named, Upper::Dir);
        // Whatever the name stood for is gone by now.
        self.table.remove_name(parent.ino, name);
        self.enter(
            parent,
            name,
            Built {
                attr: attr.clone(),
                layer: UPPER,
                state: State { upper, impure, ..State::default() },
                identity: None,
            },
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

/// An inode in the making.
pub(super) struct Built {
    pub(super) attr: Attr,
    pub(super) layer: usize,
    pub(super) state: State,
    /// What all names of one object have in common, if it is no object of the upper.
    pub(super) identity: Option<(u64, u64)>,
}

/// A fold over layers that are asked.
struct Search {
    fold: Fold,
    hits: Vec<Hit>,
}

impl Search {
    /// Asks one layer, from `dir` on down the path that the fold wants.
    async fn ask(&mut self, layer: usize, mut dir: Arc<dyn Dir>, last: bool) -> Result<Next> {
        let refuse = |kind| Error::new(kind, "lookup").because("a redirect mark cannot be followed");
        self.fold.begin(last);
        loop {
            let name = self.fold.name().map_err(refuse)?.clone();
            let found = dir.lookup(&name).await?;
            let next = self.fold.add(layer, fact(found.as_ref())).map_err(|kind| refuse(kind).at(&name))?;
            if next != Next::Inside {
                self.hits.extend(found.and_then(Found::entry).map(|entry| Hit { layer, dir, name, entry }));
                return Ok(next);
            }
            dir = dir.dir(&name).await?;
        }
    }
}

fn fact(found: Option<&Found>) -> Fact {
    let entry = match found {
        None => return Fact::Absent,
        Some(Found::Whiteout) => return Fact::Whiteout,
        Some(Found::Entry(entry)) => entry,
    };
    match entry.attr.kind {
        Kind::Dir => Fact::Dir { opaque: entry.opaque, redirect: entry.redirect.clone() },
        Kind::File if entry.metacopy => Fact::Metacopy { redirect: entry.redirect.clone() },
        Kind::File => Fact::File,
        _ => Fact::Other,
    }
}

/// A lower directory and its place in the fold.
fn as_dir(lower: &Lower) -> Option<(usize, &Arc<dyn Dir>)> {
    match lower {
        Lower::Dir(layer, dir) => Some((layer + 1, dir)),
        Lower::Other(..) | Lower::Data(_) => None,
    }
}
