//! A layer type of one's own: files that a program carries with it (`include_bytes!`), shown as a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use overlay_core::attr::{Kind, Time};
use overlay_core::error::Kind as ErrorKind;
use overlay_core::{Attr, Dir, Error, File, Found, Layer, ListEntry, Name, Node, Result};

/// Files by their paths (names joined by `/`). Directories are what the paths imply.
pub struct Bundle(pub Arc<str>, pub Arc<BTreeMap<Vec<u8>, Bytes>>);

/// What lies at a path: a handle of a file or a directory.
struct At(Arc<BTreeMap<Vec<u8>, Bytes>>, Vec<u8>);

impl At {
    /// The place of a child, whether or not there is something.
    fn child(&self, name: &Name) -> Self {
        let slash: &[u8] = if self.1.is_empty() { b"" } else { b"/" };
        Self(self.0.clone(), [&self.1, slash, name.as_bytes()].concat())
    }

    /// The rest of every path that goes through this directory.
    fn below(&self) -> impl Iterator<Item = &[u8]> {
        let prefix = if self.1.is_empty() { Vec::new() } else { [&self.1[..], b"/"].concat() };
        let paths = self.0.range(prefix.clone()..).map(|(path, _)| path.as_slice());
        paths.map_while(move |path| path.strip_prefix(&prefix[..]))
    }

    fn stat(&self) -> Option<Attr> {
        let mut hasher = DefaultHasher::new();
        self.1.hash(&mut hasher);
        let attr = |kind, mode, size| Attr::new(kind, hasher.finish(), mode, size, Time::default());
        let file = self.0.get(&self.1).map(|bytes| attr(Kind::File, 0o444, bytes.len() as u64));
        let is_dir = || self.1.is_empty() || self.below().next().is_some();
        file.or_else(|| is_dir().then(|| attr(Kind::Dir, 0o555, 0)))
    }

    /// The place of a child that must be a `kind`.
    fn open(&self, name: &Name, kind: Kind) -> Result<Arc<Self>> {
        let child = self.child(name);
        let fail = |error| Error::new(error, "open").at(name);
        let found = child.stat().ok_or_else(|| fail(ErrorKind::NotFound))?.kind;
        let wrong = if kind == Kind::Dir { ErrorKind::NotDir } else { ErrorKind::IsDir };
        if found == kind { Ok(Arc::new(child)) } else { Err(fail(wrong)) }
    }
}

#[async_trait::async_trait]
impl Layer for Bundle {
    fn label(&self) -> &Arc<str> {
        &self.0
    }
    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(At(self.1.clone(), Vec::new())))
    }
}

#[async_trait::async_trait]
impl Dir for At {
    async fn attr(&self) -> Result<Attr> {
        Node::attr(self).await
    }
    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        Ok(self.child(name).stat().map(Found::plain))
    }
    async fn list(&self) -> Result<Vec<ListEntry>> {
        // A path with an empty or an illegal name in it cannot be shown: it is left out.
        let names = self.below().filter_map(|path| Name::new(path.split(|b| *b == b'/').next()?).ok());
        let row = |name| Some((self.child(&name).stat()?, name));
        let rows = names.collect::<BTreeSet<Name>>().into_iter().filter_map(row);
        Ok(rows
            .map(|(Attr { kind, ino, .. }, name)| ListEntry { name, kind, ino, whiteout: false })
            .collect())
    }
    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(self.open(name, Kind::Dir)?)
    }
    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Ok(self.open(name, Kind::File)?)
    }
}

#[async_trait::async_trait]
impl Node for At {
    async fn attr(&self) -> Result<Attr> {
        self.stat().ok_or_else(|| Error::new(ErrorKind::NotFound, "getattr"))
    }
}

#[async_trait::async_trait]
impl File for At {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let bytes = self.0.get(&self.1).ok_or_else(|| Error::new(ErrorKind::NotFound, "read"))?;
        let start = offset.min(bytes.len() as u64) as usize;
        Ok(bytes.slice(start..start.saturating_add(len).min(bytes.len())))
    }
}
