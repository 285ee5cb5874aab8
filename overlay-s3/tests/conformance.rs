//! The object-store layer keeps the promises of the contract, over the real protocol and over a store in memory.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use overlay_core::conformance::{Capabilities, Tree, layer_suite};
use overlay_core::{Layer, LayerSpec, Opener, Result};
use overlay_s3::server::{Server, ServerConfig};
use overlay_s3::{ObjectOpener, PrefixLayer, Settings};

/// Objects are files in directories that their keys imply; nothing else can be held.
const OBJECTS: Capabilities = Capabilities::NONE;

async fn over_s3(tree: &Tree) -> Result<(Arc<dyn Layer>, Server)> {
    let server = Server::start(ServerConfig::default()).await.unwrap();
    server.keys().create_bucket("bucket");
    for (path, content) in tree.files() {
        server.keys().put("bucket", &format!("prefix/{}", std::str::from_utf8(path).unwrap()), content);
    }
    let keys = [("AWS_ACCESS_KEY_ID", "overlay"), ("AWS_SECRET_ACCESS_KEY", "overlay-secret")];
    let opener = ObjectOpener::new(keys.map(|(key, value)| (key.to_string(), value.to_string())));
    let endpoint = server.endpoint().replace(':', "%3A").replace('/', "%2F");
    let spec = LayerSpec::parse(format!("s3://bucket/prefix?endpoint={endpoint}&region=us-east-1"))?;
    Ok((opener.open(&spec).await?, server))
}

async fn in_memory(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    let store = Arc::new(InMemory::new());
    for (path, content) in tree.files() {
        let key = Path::parse(std::str::from_utf8(path).unwrap()).unwrap();
        store.put(&key, content.into()).await.unwrap();
    }
    let store: Arc<dyn ObjectStore> = store;
    Ok((Arc::new(PrefixLayer::open(store, "", "memory", Settings::default()).await?), ()))
}

layer_suite!(s3_prefix, over_s3, OBJECTS);
layer_suite!(memory_prefix, in_memory, OBJECTS);
