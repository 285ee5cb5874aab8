//! The embedded server, as a client that knows nothing of this crate sees it.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

mod common;

use bytes::Bytes;
use common::*;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    UpdateVersion, WriteMultipart,
};
use overlay_s3::server::{Server, ServerConfig};

fn client(server: &Server, bucket: &str) -> AmazonS3 {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        // Another test of this process was first.
    }
    let config = ServerConfig::default();
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_access_key_id(config.access_key)
        .with_secret_access_key(config.secret_key)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .unwrap()
}

fn metadata(key: &'static str) -> Attribute {
    Attribute::Metadata(key.into())
}

#[tokio::test]
async fn objects_keep_content_metadata_and_type() {
    let server = server().await;
    let (store, path) = (client(&server, BUCKET), Path::from("a/b"));
    let attributes: Attributes =
        [(metadata("mode"), "33188"), (Attribute::ContentType, "text/x-test")].into_iter().collect();
    store.put_opts(&path, "hello".into(), attributes.into()).await.unwrap();
    let found = store.get(&path).await.unwrap();
    assert_eq!(found.attributes.get(&metadata("mode")).unwrap().as_ref(), "33188");
    assert_eq!(found.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "text/x-test");
    assert_eq!(found.bytes().await.unwrap(), "hello");
    let head = store.head(&path).await.unwrap();
    assert_eq!(head.size, 5);
    let tag = server.keys().get(BUCKET, "a/b").unwrap().etag.clone();
    assert_eq!(head.e_tag.unwrap(), format!("\"{tag}\""));
    store.copy(&path, &Path::from("copy")).await.unwrap();
    let copy = server.keys().get(BUCKET, "copy").unwrap();
    assert_eq!((&copy.data[..], copy.metadata["mode"].as_str()), (&b"hello"[..], "33188"));
}

#[tokio::test]
async fn ranges_and_conditions() {
    let server = server().await;
    server.keys().put(BUCKET, "f", "0123456789");
    let (store, path) = (client(&server, BUCKET), Path::from("f"));
    for (range, expected) in [
        (GetRange::Bounded(2..5), "234"),
        (GetRange::Bounded(8..100), "89"),
        (GetRange::Offset(7), "789"),
        (GetRange::Suffix(3), "789"),
    ] {
        let found =
            store.get_opts(&path, GetOptions { range: Some(range), ..Default::default() }).await.unwrap();
        assert_eq!(found.meta.size, 10);
        assert_eq!(found.bytes().await.unwrap(), expected);
    }
    let past = GetOptions { range: Some(GetRange::Offset(10)), ..Default::default() };
    assert!(store.get_opts(&path, past).await.is_err());
    let tag = store.head(&path).await.unwrap().e_tag;
    let options = |if_match, if_none_match| GetOptions { if_match, if_none_match, ..Default::default() };
    assert!(store.get_opts(&path, options(tag.clone(), None)).await.is_ok());
    let other = Some("\"other\"".to_owned());
    let error = store.get_opts(&path, options(other.clone(), None)).await.err().unwrap();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
    assert!(store.get_opts(&path, options(None, other)).await.is_ok());
    let error = store.get_opts(&path, options(None, tag)).await.err().unwrap();
    assert!(matches!(error, Error::NotModified { .. }), "{error}");
}

#[tokio::test]
async fn conditional_writes() {
    let server = server().await;
    let (store, path) = (client(&server, BUCKET), Path::from("f"));
    let first = store.put_opts(&path, "1".into(), PutMode::Create.into()).await.unwrap();
    let error = store.put_opts(&path, "2".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    let update = |e_tag| PutOptions::from(PutMode::Update(UpdateVersion { e_tag, version: None }));
    store.put_opts(&path, "3".into(), update(first.e_tag.clone())).await.unwrap();
    let error = store.put_opts(&path, "4".into(), update(first.e_tag)).await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
    assert_eq!(server.keys().get(BUCKET, "f").unwrap().data, "3");
}

#[tokio::test]
async fn listings_deletes_and_missing_objects() {
    let server = server().await;
    (0..1200).for_each(|at| server.keys().put(BUCKET, &format!("d/{at:04}"), "x"));
    server.keys().put(BUCKET, "z", "x");
    let store = client(&server, BUCKET);
    let all: Vec<_> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    assert_eq!(all, server.keys().list(BUCKET));
    assert_eq!(server.count("ListObjectsV2"), 2);
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((top.common_prefixes, top.objects.len()), (vec![Path::from("d")], 1));
    let paths = all.iter().map(|key| Ok(Path::from(key.as_str()))).collect::<Vec<_>>();
    let deleted = store.delete_stream(futures::stream::iter(paths).boxed());
    assert_eq!(deleted.try_collect::<Vec<_>>().await.unwrap().len(), 1201);
    assert!(server.keys().list(BUCKET).is_empty());
    let error = store.get(&Path::from("z")).await.err().unwrap();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn multipart_uploads() {
    let server = server().await;
    let (store, path, data) = (client(&server, BUCKET), Path::from("f"), noise(12 << 20));
    let mut upload = WriteMultipart::new(store.put_multipart(&path).await.unwrap());
    upload.put(Bytes::from(data.clone()));
    upload.finish().await.unwrap();
    assert!(server.keys().get(BUCKET, "f").unwrap().data == data);
    assert!(server.count("UploadPart") >= 2);
    let mut upload = store.put_multipart(&Path::from("g")).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(server.keys().get(BUCKET, "g").is_none());
}

#[tokio::test]
async fn keys_that_only_an_object_store_has() {
    let server = server().await;
    let long = "k".repeat(1024);
    for key in ["a", "a/b", "dir/", "x//y", "/lead", &long] {
        server.keys().put(BUCKET, key, key.to_owned());
    }
    let mut expected = ["/lead", "a", "a/b", "dir/", &long, "x//y"].map(str::to_owned);
    expected.sort();
    assert_eq!(server.keys().list(BUCKET), expected);
    let found = client(&server, BUCKET).get(&Path::from(long.as_str())).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), long);
    assert!(server.keys().remove(BUCKET, "x//y") && !server.keys().remove(BUCKET, "x//y"));
}

#[tokio::test]
async fn missing_buckets_and_requests_that_wait() {
    let server = server().await;
    let error = client(&server, "nobucket").get(&Path::from("f")).await.err().unwrap();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
    server.keys().put(BUCKET, "f", "x");
    server.pause();
    let store = client(&server, BUCKET);
    let path = Path::from("f");
    let mut get = Box::pin(store.get(&path));
    let (before, served) = (server.requests(), server.count("GetObject"));
    while server.requests() == before {
        assert!(futures::poll!(&mut get).is_pending());
        tokio::task::yield_now().await;
    }
    assert_eq!(server.count("GetObject"), served, "accepted and not answered");
    server.resume();
    assert_eq!(get.await.unwrap().bytes().await.unwrap(), "x");
}

#[tokio::test]
async fn a_stopped_or_dropped_server_frees_its_port() {
    let server = server().await;
    let address = server.address();
    server.stop().await;
    let config = ServerConfig { address, ..ServerConfig::default() };
    let again = Server::start(config).await.unwrap();
    assert_eq!(again.address(), address);
    drop(again);
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
