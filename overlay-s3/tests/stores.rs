//! Stores that a program has already, and those that need no server: memory and directories.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use overlay_core::attr::Kind;
use overlay_core::error::Kind as ErrorKind;
use overlay_core::{Layer, LayerSpec, Name, Opener};
use overlay_s3::{ObjectOpener, PrefixLayer, SCHEMES, Settings};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn memory(keys: &[&str]) -> Arc<InMemory> {
    let store = Arc::new(InMemory::new());
    for key in keys {
        let path = Path::parse(key).unwrap();
        store.put(&path, Bytes::from(format!("content of {key}")).into()).await.unwrap();
    }
    store
}

async fn open(store: Arc<dyn ObjectStore>, prefix: &str) -> PrefixLayer {
    PrefixLayer::open(store, prefix, "test", Settings::default()).await.unwrap()
}

/// Every path of the layer, directories with a slash at the end, files with their content.
async fn show(layer: &dyn Layer) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![(String::new(), layer.root().await.unwrap())];
    while let Some((path, dir)) = todo.pop() {
        for entry in dir.list().await.unwrap() {
            let below = format!("{path}{}", String::from_utf8_lossy(entry.name.as_bytes()));
            if entry.kind == Kind::Dir {
                found.push(format!("{below}/"));
                todo.push((format!("{below}/"), dir.dir(&entry.name).await.unwrap()));
            } else {
                let content = dir.file(&entry.name).await.unwrap().read_at(0, 1000).await.unwrap();
                found.push(format!("{below}: {}", String::from_utf8_lossy(&content)));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_store_in_memory_is_a_tree() {
    let store = memory(&["p/a", "p/b/c", "p/b/100% #?ü", "px", "q/a"]).await;
    let layer = open(store, "p").await;
    let expected =
        ["a: content of p/a", "b/", "b/100% #?ü: content of p/b/100% #?ü", "b/c: content of p/b/c"];
    assert_eq!(show(&layer).await, expected);
    assert_eq!(layer.stats().lists, 2, "one for each directory");
    assert!(layer.root().await.unwrap().lookup(&name("nope")).await.unwrap().is_none());
    assert_eq!(layer.stats().lists, 2);
    assert_eq!(&**layer.label(), "test");
}

#[tokio::test]
async fn prefixes_that_are_no_path_are_refused() {
    let store = memory(&[]).await;
    for prefix in ["/a", "a/", "a//b", ".."] {
        let opened = PrefixLayer::open(store.clone(), prefix, "test", Settings::default()).await;
        assert_eq!(opened.err().unwrap().kind(), ErrorKind::Invalid, "{prefix}");
    }
}

#[tokio::test]
async fn changed_and_removed_objects_are_stale() {
    let store = memory(&["a", "b"]).await;
    let layer = open(store.clone(), "").await;
    let root = layer.root().await.unwrap();
    let (a, b) = (root.file(&name("a")).await.unwrap(), root.file(&name("b")).await.unwrap());
    store.put(&Path::from("a"), "CONTENT OF A".into()).await.unwrap();
    store.delete(&Path::from("b")).await.unwrap();
    assert_eq!(a.read_at(0, 1).await.unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(b.read_at(0, 1).await.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_found_out() {
    let inner = memory(&["a", "b"]).await;
    let layer = open(Arc::new(Careless { inner: inner.clone(), stalls: false }), "").await;
    let root = layer.root().await.unwrap();
    let (a, b) = (root.file(&name("a")).await.unwrap(), root.file(&name("b")).await.unwrap());
    inner.put(&Path::from("a"), "CONTENT OF A".into()).await.unwrap();
    assert_eq!(a.read_at(0, 1).await.unwrap_err().kind(), ErrorKind::Stale, "of the same length");
    assert_eq!(b.read_at(0, 99).await.unwrap(), "content of b");
}

#[tokio::test]
async fn a_store_without_a_deadline_of_its_own_gets_one() {
    let store = Arc::new(Careless { inner: memory(&["a"]).await, stalls: true });
    let settings = Settings { timeout: std::time::Duration::from_millis(20), ..Settings::default() };
    let layer = PrefixLayer::open(store, "", "test", settings).await.unwrap();
    let file = layer.root().await.unwrap().file(&name("a")).await.unwrap();
    let error = tokio::time::timeout(std::time::Duration::from_secs(10), file.read_at(0, 1)).await.unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), "read \"a\" in layer test: no answer within 0.02 s");
}

#[tokio::test]
async fn a_directory_is_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("d e/empty")).unwrap();
    std::fs::write(dir.path().join("d e/100% ü"), "one").unwrap();
    std::fs::write(dir.path().join("f"), "two").unwrap();
    let spec = LayerSpec::parse(format!("file://{}", dir.path().display())).unwrap();
    let layer = ObjectOpener::new([]).open_prefix(&spec).await.unwrap();
    assert_eq!(show(&layer).await, ["d e/", "d e/100% ü: one", "d e/empty/", "f: two"]);
    std::fs::write(dir.path().join("f"), "three").unwrap();
    let file = layer.root().await.unwrap().file(&name("f")).await.unwrap();
    assert_eq!(file.read_at(0, 9).await.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_directory_that_goes_away_is_stale_and_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    let spec = LayerSpec::parse(format!("file://{}", dir.path().display())).unwrap();
    let layer = ObjectOpener::new([]).open(&spec).await.unwrap();
    let below = layer.root().await.unwrap().dir(&name("d")).await.unwrap();
    std::fs::remove_dir(dir.path().join("d")).unwrap();
    assert_eq!(below.lookup(&name("x")).await.unwrap_err().kind(), ErrorKind::Stale);
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let spec = LayerSpec::parse("file:///no/such/directory").unwrap();
    let error = ObjectOpener::new([]).open(&spec).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("file:///no/such/directory: the directory does not exist"), "{error}");
}

#[tokio::test]
async fn missing_keys_are_hinted_at() {
    // Nobody listens on the address that would give out the role of the machine.
    let environment = [("AWS_METADATA_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned())];
    let spec = LayerSpec::parse("s3://bucket?timeout=1&endpoint=http://127.0.0.1:1").unwrap();
    let error = ObjectOpener::new(environment).open(&spec).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("no answer"), "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID is not set"), "{error}");
}

#[tokio::test]
async fn encrypted_connections_are_ready() {
    let environment =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|key| (key.to_owned(), "x".to_owned()));
    let spec = LayerSpec::parse("s3://bucket?timeout=1&endpoint=https://127.0.0.1:1").unwrap();
    let error = ObjectOpener::new(environment).open(&spec).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io, "the client is made, only nobody listens: {error}");
}

#[tokio::test]
async fn every_scheme_is_opened_or_refused_with_its_own_error() {
    let registry = SCHEMES.iter().fold(overlay_core::Registry::new(), |registry, scheme| {
        registry.with(scheme, Arc::new(ObjectOpener::new([])))
    });
    let layer = registry.open(&LayerSpec::parse("memory://p?uid=3").unwrap()).await.unwrap();
    assert_eq!(layer.root().await.unwrap().attr().await.unwrap().uid, 3);
    assert!(show(layer.as_ref()).await.is_empty());
    for text in ["gs://?x=1", "az:///", "https://"] {
        let error = registry.open(&LayerSpec::parse(text).unwrap()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    }
}

/// A store that ignores the conditions of a read, as some servers do.
#[derive(Debug)]
struct Careless {
    inner: Arc<InMemory>,
    /// It never answers a read either.
    stalls: bool,
}

impl std::fmt::Display for Careless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Careless")
    }
}

#[async_trait]
impl ObjectStore for Careless {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if self.stalls {
            return std::future::pending().await;
        }
        self.inner.get_opts(path, GetOptions { if_match: None, ..options }).await
    }

    async fn put_opts(&self, path: &Path, data: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(path, data, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
