//! What the tests over the protocol share: a server, layers on it, walks.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use overlay_core::attr::Kind;
use overlay_core::layer::{Dir, File, Layer};
use overlay_core::{Attr, LayerSpec, Name, Result};
use overlay_s3::server::{Server, ServerConfig};
use overlay_s3::{ObjectOpener, PrefixLayer};

pub(crate) const BUCKET: &str = "bucket";

/// The environment that a client of [`server`] needs.
pub(crate) fn credentials() -> Vec<(String, String)> {
    let config = ServerConfig::default();
    [("AWS_ACCESS_KEY_ID", config.access_key), ("AWS_SECRET_ACCESS_KEY", config.secret_key)]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

/// A server with an empty bucket.
pub(crate) async fn server() -> Server {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    assert!(server.keys().create_bucket(BUCKET));
    server
}

/// Opens `s3://address` on the server, with more options after `&`.
pub(crate) async fn try_open(server: &Server, address: &str, options: &str) -> Result<PrefixLayer> {
    let text = format!("s3://{address}?endpoint={}{options}", server.endpoint());
    ObjectOpener::new(credentials()).open_prefix(&LayerSpec::parse(text).unwrap()).await
}

/// Opens the whole bucket.
pub(crate) async fn open(server: &Server) -> PrefixLayer {
    try_open(server, BUCKET, "").await.unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The directory at a path of the layer.
pub(crate) async fn dir_at(layer: &dyn Layer, path: &str) -> Arc<dyn Dir> {
    let mut dir = layer.root().await.unwrap();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        dir = dir.dir(&name(segment)).await.unwrap();
    }
    dir
}

/// The open file at a path of the layer.
pub(crate) async fn file_at(layer: &dyn Layer, path: &str) -> Arc<dyn File> {
    let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
    dir_at(layer, parent).await.file(&name(last)).await.unwrap()
}

/// Names of a directory, sorted.
pub(crate) async fn names(dir: &dyn Dir) -> Vec<String> {
    let mut names: Vec<_> = dir.list().await.unwrap().iter().map(|entry| text(&entry.name)).collect();
    names.sort();
    names
}

pub(crate) fn text(name: &Name) -> String {
    String::from_utf8(name.as_bytes().to_vec()).unwrap()
}

/// Every object of the layer by its path, directories with a slash at the end. Checks on the way that listing and
/// look-up agree, and that no inode number occurs twice.
pub(crate) async fn walk(layer: &dyn Layer) -> BTreeMap<String, Attr> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(String::new(), layer.root().await.unwrap())];
    while let Some((path, dir)) = todo.pop() {
        for entry in dir.list().await.unwrap() {
            let attr = dir.lookup(&entry.name).await.unwrap().unwrap().entry().unwrap().attr;
            assert_eq!((attr.kind, attr.ino), (entry.kind, entry.ino), "{path}{:?}", entry.name);
            let mut path = format!("{path}{}", text(&entry.name));
            if entry.kind == Kind::Dir {
                path.push('/');
                todo.push((path.clone(), dir.dir(&entry.name).await.unwrap()));
            }
            assert!(found.insert(path, attr).is_none());
        }
    }
    let mut inos: Vec<_> = found.values().map(|attr| attr.ino).collect();
    inos.push(layer.root().await.unwrap().attr().await.unwrap().ino);
    inos.sort();
    inos.dedup();
    assert_eq!(inos.len(), found.len() + 1, "inode numbers are unique, the root's included");
    found
}

/// Paths of the files among what [`walk`] found.
pub(crate) fn files(found: &BTreeMap<String, Attr>) -> Vec<String> {
    found.keys().filter(|path| !path.ends_with('/')).cloned().collect()
}

/// Bytes without a pattern that a wrong offset could reproduce.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes
}
