//! A layer type of one's own, whole: files that a program carries with it, checked by one line, ready to be mounted.
use bytes::Bytes;
use overlay_core::attr::{Attr, Kind, Time};
use overlay_core::error::{Error, Kind as ErrorKind, Result};
use overlay_core::{Dir, File, Found, Layer, ListEntry, Name, Node};
use std::{collections::BTreeMap, sync::Arc};

/// The layer: what people call it, and its root.
pub struct Program(Arc<str>, Arc<Item>);

/// A file, or a directory if it has no content. Its address, which stays, is its inode number.
#[derive(Clone, Default)]
struct Item(Option<Bytes>, BTreeMap<Name, Arc<Item>>);

impl Program {
    /// A tree of files by their paths: names joined by `/`.
    pub fn new(label: &str, files: impl IntoIterator<Item = (Vec<u8>, Bytes)>) -> Result<Self> {
        let mut root = Item::default();
        for (path, bytes) in files {
            let mut at = &mut root;
            for name in path.split(|b| *b == b'/') {
                at = Arc::make_mut(at.1.entry(Name::new(name)?).or_default());
            }
            at.0 = Some(bytes);
        }
        Ok(Self(label.into(), Arc::new(root)))
    }
}

impl Item {
    fn stat(&self) -> Attr {
        let (ino, size) =
            (std::ptr::from_ref(self).addr() as u64, self.0.as_ref().map_or(0, Bytes::len) as u64);
        let (kind, mode) = if self.0.is_some() { (Kind::File, 0o644) } else { (Kind::Dir, 0o755) };
        Attr::new(kind, ino, mode, size, Time::default())
    }
    fn open(&self, name: &Name, kind: Kind, wrong: ErrorKind) -> Result<Arc<Item>> {
        let item = self.1.get(name).ok_or_else(|| Error::new(ErrorKind::NotFound, "open").at(name))?;
        if item.stat().kind == kind { Ok(item.clone()) } else { Err(Error::new(wrong, "open").at(name)) }
    }
}

#[async_trait::async_trait]
impl Layer for Program {
    fn label(&self) -> &Arc<str> {
        &self.0
    }
    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(self.1.clone())
    }
}

#[async_trait::async_trait]
impl Dir for Item {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.stat())
    }
    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        Ok(self.1.get(name).map(|item| Found::plain(item.stat())))
    }
    async fn list(&self) -> Result<Vec<ListEntry>> {
        let row = |name, attr: Attr| ListEntry { name, kind: attr.kind, ino: attr.ino, whiteout: false };
        Ok(self.1.iter().map(|(name, item)| row(name.clone(), item.stat())).collect())
    }
    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Ok(self.open(name, Kind::Dir, ErrorKind::NotDir)?)
    }
    async fn file(&self, name: &Name) -> Result<Arc<dyn File>> {
        Ok(self.open(name, Kind::File, ErrorKind::IsDir)?)
    }
}

#[async_trait::async_trait]
impl Node for Item {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.stat())
    }
}

#[async_trait::async_trait]
impl File for Item {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let bytes = self.0.clone().unwrap_or_default();
        let start = offset.min(bytes.len() as u64) as usize;
        Ok(bytes.slice(start..start.saturating_add(len).min(bytes.len())))
    }
}

#[cfg(test)]
overlay_core::layer_suite!(program, make, overlay_core::conformance::Capabilities::NONE);
#[cfg(test)]
async fn make(tree: &overlay_core::conformance::Tree) -> Result<(Arc<dyn Layer>, ())> {
    let files = tree.files().map(|(path, bytes)| (path.to_vec(), bytes));
    Ok((Arc::new(Program::new("program", files)?), ()))
}

fn main() -> Result<()> {
    Program::new("program", [(b"motd".to_vec(), Bytes::from_static(b"hello\n"))]).map(drop)
}
