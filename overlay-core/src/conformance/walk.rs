//! Small helpers of the promises: finding a place in a layer, and walking all of it.

use std::sync::Arc;

use super::suite::Subject;
use super::tree::{Row, names};
use crate::entry::{Entry, Found, ListEntry};
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Dir, Layer};
use crate::name::Name;

/// One name met on a walk.
pub(super) struct Seen {
    pub(super) path: Vec<u8>,
    pub(super) listed: ListEntry,
    pub(super) found: Found,
}

/// A legal name.
pub(super) fn name(bytes: impl AsRef<[u8]>) -> Name {
    Name::new(bytes).expect("a legal name")
}

impl<L: Layer + ?Sized> Subject<L> {
    /// The directory at `path`.
    pub(super) async fn dir(&self, path: impl AsRef<[u8]>) -> Arc<dyn Dir> {
        let mut dir = self.layer.root().await.expect("the root opens");
        for name in names(path.as_ref()).expect("legal names") {
            dir = dir.dir(&name).await.expect("a declared directory opens");
        }
        dir
    }

    /// The directory that holds a declared object, and its name.
    pub(super) async fn place(&self, row: &Row) -> (Arc<dyn Dir>, Name) {
        let (parent, last) = row.split();
        (self.dir(parent).await, name(last))
    }

    /// What the layer holds at `path`.
    pub(super) async fn find(&self, path: impl AsRef<[u8]>) -> Option<Found> {
        let path = path.as_ref();
        let cut = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        self.dir(&path[..cut]).await.lookup(&name(&path[cut..])).await.expect("a look-up succeeds")
    }

    /// The object at `path`.
    pub(super) async fn entry(&self, path: impl AsRef<[u8]>) -> Entry {
        let path = path.as_ref();
        let entry = self.find(path).await.and_then(Found::entry);
        entry.unwrap_or_else(|| panic!("{} is an object", path.escape_ascii()))
    }

    /// Every name of the layer, looked up.
    pub(super) async fn walk(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut todo = vec![(Vec::new(), self.layer.root().await.expect("the root opens"))];
        while let Some((path, dir)) = todo.pop() {
            for listed in dir.list().await.expect("a directory lists") {
                let path = join(&path, &listed.name);
                let found = dir.lookup(&listed.name).await.expect("a listed name is looked up");
                let found = found.unwrap_or_else(|| panic!("the listed {} is found", path.escape_ascii()));
                if matches!(&found, Found::Entry(entry) if entry.attr.is_dir()) {
                    todo.push((path.clone(), dir.dir(&listed.name).await.expect("a listed directory opens")));
                }
                seen.push(Seen { path, listed, found });
            }
        }
        seen
    }
}

fn join(path: &[u8], name: &Name) -> Vec<u8> {
    if path.is_empty() { name.as_bytes().into() } else { [path, name.as_bytes()].join(&b'/') }
}

/// Fails unless `result` is an error of `kind`.
#[track_caller]
pub(super) fn fails<T>(result: Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Ok(_) => panic!("{what}: succeeds, wanted {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{what}: {error}"),
    }
}
