//! Declares the content of a memory layer, object by object.

use std::sync::{Arc, RwLock};

use super::content::Content;
use super::handle::Shared;
use super::inode::{Body, Inode};
use super::tree::{self, Place, ROOT, Tree};
use super::{MemoryLayer, MemoryUpper};
use crate::attr::{Kind, SetAttr, Time};
use crate::entry::Mark;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::SetXattr;
use crate::marker::kernel::OPAQUE;
use crate::name::Name;

/// Builds a [`MemoryLayer`] or a [`MemoryUpper`] with content.
///
/// Paths are relative to the root and made of [`Name`]s; directories on the way are made with mode 0755. `mode`,
/// `owner`, `time`, `xattr` and the marks concern the object declared last (at first: the root). All times are
/// 1970-01-01 unless given. The first mistake is kept and returned by `build`.
///
/// ```
/// use overlay_core::memory::MemoryLayer;
///
/// let layer = MemoryLayer::builder("motd").file("etc/motd", "Welcome\n").mode(0o444).whiteout("etc/issue").build()?;
/// # Ok::<(), overlay_core::Error>(())
/// ```
pub struct MemoryBuilder {
    label: Arc<str>,
    tree: Tree,
    last: Vec<u8>,
    times: Vec<(u64, Time)>,
    outcome: Result<()>,
}

impl MemoryBuilder {
    pub(super) fn new(label: &str) -> Self {
        let tree = Tree::new(Time::default());
        Self { label: label.into(), tree, last: Vec::new(), times: Vec::new(), outcome: Ok(()) }
    }

    /// A regular file, mode 0644.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        self.sparse(path, content.len() as u64, &[(0, content)])
    }

    /// A regular file of `size` bytes, mode 0644, with data at the given offsets and zeros elsewhere.
    #[must_use]
    pub fn sparse(mut self, path: impl AsRef<[u8]>, size: u64, parts: &[(u64, &[u8])]) -> Self {
        let mut content = Content::default();
        let written = parts.iter().try_for_each(|(offset, data)| content.write(*offset, data));
        self.record(written.and_then(|()| content.resize(size)));
        self.add(path, Body::File(content), 0o644)
    }

    /// A directory, mode 0755. One that is there already is left as it is.
    #[must_use]
    pub fn dir(mut self, path: impl AsRef<[u8]>) -> Self {
        self.select(path.as_ref());
        let made = dir_at(&mut self.tree, &self.last).map(drop);
        self.record(made);
        self
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.add(path, Body::Symlink(target.as_ref().into()), 0o777)
    }

    /// A special file, mode 0644, with its device (0 unless a block or character file).
    #[must_use]
    pub fn special(mut self, path: impl AsRef<[u8]>, kind: Kind, rdev: u64) -> Self {
        if matches!(kind, Kind::File | Kind::Dir | Kind::Symlink) {
            self.record(Err(Error::new(ErrorKind::Invalid, "mknod")));
        }
        self.add(path, Body::Special(kind, rdev), 0o644)
    }

    /// A second name for the object at `existing`.
    #[must_use]
    pub fn hard_link(mut self, path: impl AsRef<[u8]>, existing: impl AsRef<[u8]>) -> Self {
        self.select(path.as_ref());
        let linked = place(&mut self.tree, existing.as_ref()).and_then(|(from_dir, from)| {
            let (dir, name) = place(&mut self.tree, &self.last)?;
            self.tree.link(Place { dir: from_dir, name: &from }, Place { dir, name: &name })
        });
        self.record(linked);
        self
    }

    /// A whiteout.
    #[must_use]
    pub fn whiteout(mut self, path: impl AsRef<[u8]>) -> Self {
        self.select(path.as_ref());
        let made = place(&mut self.tree, &self.last)
            .and_then(|(dir, name)| self.tree.add(Place { dir, name: &name }, tree::whiteout()));
        self.record(made.map(drop));
        self
    }

    /// Sets the permission bits.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.attr(SetAttr { mode: Some(mode), ..SetAttr::default() })
    }

    /// Sets owner and group.
    #[must_use]
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.attr(SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() })
    }

    /// Sets all times.
    #[must_use]
    pub fn time(self, time: Time) -> Self {
        self.change(|tree, id, times| {
            times.push((id, time));
            tree.get(id).map(drop)
        })
    }

    /// Sets an xattr.
    #[must_use]
    pub fn xattr(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        self.change(|tree, id, _| tree.get_mut(id)?.set_xattr(key, value, SetXattr::Any))
    }

    /// Marks the directory opaque.
    #[must_use]
    pub fn opaque(self) -> Self {
        self.change(|tree, id, _| {
            tree.entries(id)?;
            tree.get_mut(id)?.set_mark(Mark::Opaque, Some(OPAQUE))
        })
    }

    /// Marks the object: its lower content has another name, or another path if it begins with `/`.
    #[must_use]
    pub fn redirect(self, to: impl AsRef<[u8]>) -> Self {
        self.change(|tree, id, _| tree.get_mut(id)?.set_mark(Mark::Redirect, Some(to.as_ref())))
    }

    /// Marks the regular file: its data is in a layer below.
    #[must_use]
    pub fn metacopy(self) -> Self {
        self.change(|tree, id, _| tree.get_mut(id)?.set_mark(Mark::Metacopy, Some(b"")))
    }

    /// The layer, or the first mistake of its declaration.
    pub fn build(self) -> Result<MemoryLayer> {
        self.shared().map(MemoryLayer)
    }

    /// The same tree, writable.
    pub fn build_upper(self) -> Result<MemoryUpper> {
        self.shared().map(MemoryUpper)
    }

    fn shared(mut self) -> Result<Arc<Shared>> {
        self.outcome.map_err(|error| error.in_layer(&self.label))?;
        // Only now: adding a name to a directory changes its times.
        self.tree.set_all_times(Time::default());
        for (id, time) in self.times {
            self.tree.get_mut(id)?.set_times(time);
        }
        Ok(Arc::new(Shared { label: self.label, tree: RwLock::new(self.tree) }))
    }

    fn add(mut self, path: impl AsRef<[u8]>, body: Body, mode: u32) -> Self {
        self.select(path.as_ref());
        let inode = Inode::new(body, mode, Time::default());
        let added = place(&mut self.tree, &self.last)
            .and_then(|(dir, name)| self.tree.add(Place { dir, name: &name }, inode));
        self.record(added.map(drop));
        self
    }

    fn attr(self, change: SetAttr) -> Self {
        self.change(|tree, id, _| tree.get_mut(id)?.set_attr(&change))
    }

    /// Changes the object declared last.
    fn change(mut self, f: impl FnOnce(&mut Tree, u64, &mut Vec<(u64, Time)>) -> Result<()>) -> Self {
        if self.outcome.is_ok() {
            let changed = find(&self.tree, &self.last).and_then(|id| f(&mut self.tree, id, &mut self.times));
            self.record(changed);
        }
        self
    }

    fn select(&mut self, path: &[u8]) {
        self.last = path.into();
    }

    fn record(&mut self, result: Result<()>) {
        if self.outcome.is_ok() {
            self.outcome = result;
        }
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = Result<Name>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(Name::new)
}

fn find(tree: &Tree, path: &[u8]) -> Result<u64> {
    components(path).try_fold(ROOT, |dir, name| tree.object(Place { dir, name: &name? }))
}

/// The directory at `path`, made where it is missing.
fn dir_at(tree: &mut Tree, path: &[u8]) -> Result<u64> {
    components(path).try_fold(ROOT, |dir, name| {
        let name = name?;
        match tree.find(Place { dir, name: &name })? {
            Some(id) => tree.entries(id).map(|_| id),
            None => {
                tree.add(Place { dir, name: &name }, Inode::new(Body::empty_dir(dir), 0o755, Time::default()))
            }
        }
    })
}

/// The parent directory, made where it is missing, and the last name.
fn place(tree: &mut Tree, path: &[u8]) -> Result<(u64, Name)> {
    let cut = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let dir = dir_at(tree, &path[..cut])?;
    Ok((dir, Name::new(&path[cut..])?))
}
