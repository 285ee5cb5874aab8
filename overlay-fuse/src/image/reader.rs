//! The operations of an image, by the number of an object.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use overlay_core::attr::{Attr, Kind, StatFs};
use overlay_core::entry::{Found, ListEntry};
use overlay_core::error::{Error, Kind as ErrorKind, Result};
use overlay_core::layer::{Dir, File, Layer, Seek, Target};
use overlay_core::marker::kernel::Namespace;
use overlay_core::name::Name;

use super::disk::{Key, WHITEOUT, key, number};
use super::files::{Files, IDLE};
use super::listings::Listings;
use super::nodes::{Node, Nodes, Place};

/// A layer, read by number.
pub(super) struct Reader {
    layer: Arc<dyn Layer>,
    namespace: Namespace,
    nodes: Nodes,
    listings: Listings,
    files: Files,
}

/// A row of a directory.
pub(super) struct Row {
    pub(super) ino: u64,
    pub(super) kind: Kind,
    /// `None` for `.` and `..`.
    pub(super) name: Option<Name>,
}

impl Reader {
    pub(super) async fn new(layer: Arc<dyn Layer>, namespace: Namespace) -> Result<Self> {
        let root = layer.root().await?;
        let attr = root.attr().await?;
        let nodes = Nodes::new(root, attr);
        Ok(Self { layer, namespace, nodes, listings: Listings::new(), files: Files::new() })
    }

    /// Whether an object may have an xattr: a mark, or one of its own.
    pub(super) fn has_xattrs(&self) -> bool {
        self.layer.has_xattrs() || self.layer.has_marks()
    }

    /// Whether an object may have an ACL.
    pub(super) fn has_acls(&self) -> bool {
        self.layer.has_xattrs()
    }

    /// Whether there may be local files behind the layer's.
    pub(super) fn has_backing(&self) -> bool {
        self.layer.has_backing()
    }

    pub(super) async fn lookup(&self, parent: u64, name: &Name) -> Result<Option<Attr>> {
        let dir = self.dir(parent).await?;
        let found = dir.lookup(name).await?;
        Ok(found.map(|found| self.enter(parent, &dir, name, found).attr.clone()))
    }

    fn enter(&self, parent: u64, dir: &Arc<dyn Dir>, name: &Name, found: Found) -> Arc<Node> {
        match found {
            Found::Whiteout => self.nodes.enter_whiteout(),
            Found::Entry(entry) => self.nodes.enter(parent, dir, name, entry),
        }
    }

    pub(super) fn forget(&self, ino: u64, count: u64) {
        if self.nodes.forget(ino, count) {
            self.listings.drop(ino);
            self.files.close(ino);
        }
    }

    pub(super) fn attr(&self, ino: u64) -> Result<Attr> {
        Ok(self.node(ino)?.attr.clone())
    }

    pub(super) async fn read_link(&self, ino: u64) -> Result<Vec<u8>> {
        match &self.node(ino)?.place {
            Place::Child(dir, name) => dir.read_link(name).await,
            Place::Root | Place::Whiteout => Err(Error::new(ErrorKind::Invalid, "readlink")),
        }
    }

    /// Opens a regular file for a reader of its own.
    pub(super) async fn open(&self, ino: u64) -> Result<Arc<dyn File>> {
        match &self.node(ino)?.place {
            Place::Child(dir, name) => dir.file(name).await,
            Place::Root | Place::Whiteout => Err(Error::new(ErrorKind::Invalid, "open")),
        }
    }

    /// The file that all share who did not open one of their own.
    async fn shared(&self, ino: u64) -> Result<Arc<dyn File>> {
        match self.files.get(ino) {
            Some(file) => Ok(file),
            None => Ok(self.files.keep(ino, self.open(ino).await?)),
        }
    }

    pub(super) async fn read(&self, ino: u64, offset: u64, len: usize) -> Result<Bytes> {
        self.shared(ino).await?.read_at(offset, len).await
    }

    pub(super) async fn seek(&self, ino: u64, offset: u64, what: Seek) -> Result<Option<u64>> {
        self.shared(ino).await?.seek(offset, what).await
    }

    /// Closes the files that nobody reads any more.
    pub(super) fn close_idle(&self) {
        if let Some(before) = Instant::now().checked_sub(IDLE) {
            self.files.close_idle(before);
        }
    }

    /// The rows of a directory from `offset` on; `.` and `..` are the first two.
    pub(super) async fn rows(&self, ino: u64, offset: usize) -> Result<impl Iterator<Item = Row>> {
        let parent = self.node(ino)?.parent;
        let list = match self.listings.get(ino) {
            Some(list) => list,
            None => self.listings.keep(ino, self.dir(ino).await?.list().await?),
        };
        let dots = [ino, parent].map(|ino| Row { ino, kind: Kind::Dir, name: None });
        let rest = offset.saturating_sub(dots.len());
        let rows = (rest..list.len()).map(move |index| row(&list[index]));
        Ok(dots.into_iter().skip(offset).chain(rows))
    }

    pub(super) async fn xattr(&self, ino: u64, on_disk: &[u8]) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        let value = match key(self.namespace, on_disk) {
            Key::Mark(mark) => node.marks.value(mark),
            Key::Private => None,
            Key::Plain(plain) => match self.spot(&node).await? {
                Some((dir, target)) => dir.xattr(target, &plain).await?,
                None => None,
            },
        };
        value.ok_or_else(|| Error::new(ErrorKind::NoData, "getxattr"))
    }

    /// The keys of an object's xattrs, as they are on disk.
    pub(super) async fn xattr_keys(&self, ino: u64) -> Result<Vec<Vec<u8>>> {
        let node = self.node(ino)?;
        let plain = match self.spot(&node).await? {
            Some((dir, target)) => dir.xattr_keys(target).await?,
            None => Vec::new(),
        };
        let plain = plain.iter().map(|key| self.namespace.escape(key));
        Ok(node.marks.keys(self.namespace).chain(plain).collect())
    }

    /// The inode flags; `NotTty` where there are none.
    pub(super) async fn flags(&self, ino: u64) -> Result<u32> {
        let node = self.node(ino)?;
        match self.spot(&node).await? {
            Some((dir, target)) => dir.flags(target).await,
            None => Err(Error::new(ErrorKind::NotTty, "getflags")),
        }
    }

    pub(super) async fn statfs(&self) -> Result<StatFs> {
        self.layer.statfs().await
    }

    fn node(&self, ino: u64) -> Result<Arc<Node>> {
        self.nodes.get(ino).ok_or_else(|| Error::new(ErrorKind::Stale, "inode"))
    }

    async fn dir(&self, ino: u64) -> Result<Arc<dyn Dir>> {
        let node = self.node(ino)?;
        let open = || async {
            match &node.place {
                Place::Child(dir, name) => dir.dir(name).await,
                Place::Root => self.layer.root().await,
                Place::Whiteout => Err(Error::new(ErrorKind::NotDir, "open")),
            }
        };
        node.dir.get_or_try_init(open).await.cloned()
    }

    /// How an object is addressed in its layer; `None` for a whiteout, which is none there.
    async fn spot<'a>(&self, node: &'a Node) -> Result<Option<(Arc<dyn Dir>, Target<'a>)>> {
        match &node.place {
            Place::Root => Ok(Some((self.layer.root().await?, Target::Itself))),
            Place::Child(dir, name) => Ok(Some((dir.clone(), Target::Child(name)))),
            Place::Whiteout => Ok(None),
        }
    }
}

fn row(entry: &ListEntry) -> Row {
    let name = Some(entry.name.clone());
    if entry.whiteout {
        Row { ino: WHITEOUT, kind: Kind::Char, name }
    } else {
        Row { ino: number(entry.ino), kind: entry.kind, name }
    }
}
