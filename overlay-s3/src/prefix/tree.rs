//! The tree of directories: each cold, being listed, or complete and then never changed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, Shared};
use overlay_core::attr::{Attr, Kind, Time};
use overlay_core::name::Name;

use super::Context;
use super::draft::{Draft, Facts};
use crate::error::Failure;
use crate::page::Page;

/// A listing under way; everyone who needs the directory waits for the same.
pub(crate) type Flight = Shared<BoxFuture<'static, Result<Arc<Listing>, Failure>>>;

/// A directory.
pub(crate) struct DirNode {
    /// The prefix of the keys in it: empty, or ending in `/`.
    pub(crate) key: String,
    pub(crate) ino: u64,
    state: Mutex<State>,
}

/// What is known of a directory's content.
pub(crate) enum State {
    /// Nothing.
    Cold,
    /// The first page, which is truncated.
    Begun(Page),
    /// A listing is under way.
    Filling(Flight),
    /// Everything.
    Complete(Arc<Listing>),
}

/// The content of a complete directory.
pub(crate) struct Listing {
    /// In order of names.
    rows: Vec<(Name, Node)>,
    newest: Option<Time>,
}

/// An object of a directory.
#[derive(Clone)]
pub(crate) enum Node {
    File { ino: u64, facts: Arc<Facts> },
    Dir(Arc<DirNode>),
}

impl DirNode {
    pub(crate) fn new(key: String, ino: u64, state: State) -> Arc<Self> {
        Arc::new(Self { key, ino, state: Mutex::new(state) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attr(&self, context: &Context) -> Attr {
        let newest = match &*self.state() {
            State::Complete(listing) => listing.newest,
            _ => None,
        };
        let settings = &context.settings;
        let attr = Attr::new(Kind::Dir, self.ino, settings.dir_mode, 0, newest.unwrap_or(context.opened));
        Attr { uid: settings.uid, gid: settings.gid, ..attr }
    }
}

impl Listing {
    pub(crate) fn find(&self, name: &Name) -> Option<&Node> {
        let at = self.rows.binary_search_by(|(row, _)| row.as_bytes().cmp(name.as_bytes())).ok()?;
        Some(&self.rows[at].1)
    }

    pub(crate) fn rows(&self) -> &[(Name, Node)] {
        &self.rows
    }
}

impl Node {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Dir(_) => Kind::Dir,
        }
    }

    pub(crate) fn ino(&self) -> u64 {
        match self {
            Self::File { ino, .. } => *ino,
            Self::Dir(dir) => dir.ino,
        }
    }

    pub(crate) fn attr(&self, context: &Context) -> Attr {
        match self {
            Self::Dir(dir) => dir.attr(context),
            Self::File { ino, facts } => {
                let settings = &context.settings;
                let attr = Attr::new(Kind::File, *ino, settings.file_mode, facts.size, facts.mtime);
                Attr { uid: settings.uid, gid: settings.gid, ..attr }
            }
        }
    }
}

/// Makes a complete draft of the directory `key` a listing: names get inode numbers, hidden ones are counted, and
/// children that are complete need no listing of their own.
pub(crate) fn install(context: &Context, key: &str, draft: Draft) -> Listing {
    draft.hidden.iter().for_each(|(reason, name)| {
        context.counters.hide(*reason);
        tracing::debug!(layer = %context.label, dir = key, name = %name.escape_ascii(), ?reason, "a key is hidden");
    });
    let mut newest = draft.newest;
    let mut rows = Vec::with_capacity(draft.files.len() + draft.dirs.len());
    for (name, child) in draft.dirs {
        let dir = install_dir(context, format!("{key}{name}/"), child);
        newest = newest.max(known_time(&dir));
        rows.extend(row(&name, Node::Dir(dir)));
    }
    for (name, facts) in draft.files {
        let ino = ino(context, &format!("{key}{name}"));
        rows.extend(row(&name, Node::File { ino, facts: Arc::new(facts) }));
    }
    rows.sort_unstable_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    Listing { rows, newest }
}

fn install_dir(context: &Context, key: String, draft: Draft) -> Arc<DirNode> {
    let ino = ino(context, &key);
    let state = match draft.complete {
        true => State::Complete(Arc::new(install(context, &key, draft))),
        false => State::Cold,
    };
    DirNode::new(key, ino, state)
}

fn known_time(dir: &DirNode) -> Option<Time> {
    match &*dir.state() {
        State::Complete(listing) => listing.newest,
        _ => None,
    }
}

/// A draft holds only legal names, so nothing is lost here.
fn row(name: &str, node: Node) -> Option<(Name, Node)> {
    Some((Name::new(name).ok()?, node))
}

/// The inode number of a key, the same in every mount unless two keys collide.
pub(crate) fn ino(context: &Context, key: &str) -> u64 {
    context.inos.lock().unwrap_or_else(PoisonError::into_inner).claim(hash(key.as_bytes()))
}

/// The inode numbers in use.
#[derive(Default)]
pub(crate) struct Inos(HashSet<u64>);

impl Inos {
    /// The number itself, or the next that is free: of 63 bits, and neither 0 (no inode) nor 1 (FUSE's root).
    fn claim(&mut self, wanted: u64) -> u64 {
        let mut ino = wanted & (u64::MAX >> 1);
        while ino < 2 || !self.0.insert(ino) {
            ino = (ino + 1) & (u64::MAX >> 1);
        }
        ino
    }
}

/// FNV-1a with a final mix, fixed for ever: inode numbers must outlive a build of this program.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colliding_numbers_are_told_apart() {
        let mut inos = Inos::default();
        assert_eq!((inos.claim(7), inos.claim(7), inos.claim(8)), (7, 8, 9));
        assert_eq!((inos.claim(0), inos.claim(1)), (2, 3));
        let top = u64::MAX >> 1;
        assert_eq!((inos.claim(u64::MAX), inos.claim(top)), (top, 4));
    }

    #[test]
    fn numbers_do_not_change_between_builds() {
        assert_eq!(hash(b""), 0xecba_3df2_c338_3c52);
        assert_ne!(hash(b"a"), hash(b"a/"));
    }
}
