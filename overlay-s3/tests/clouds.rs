//! `gs://` and `az://`: their own clients against answers of the form that the services give.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod common;

use std::convert::Infallible;

use common::*;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use overlay_core::{LayerSpec, Result};
use overlay_s3::{Hidden, ObjectOpener, PrefixLayer};

const GCS: &str = "<?xml version='1.0' encoding='UTF-8'?>\
    <ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>b</Name><Prefix>p/</Prefix>\
    <IsTruncated>false</IsTruncated>KEYS</ListBucketResult>";

const AZURE: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <EnumerationResults ServiceEndpoint=\"http://x/\" ContainerName=\"c\"><Prefix>p/</Prefix>\
    <Blobs>KEYS</Blobs><NextMarker /></EnumerationResults>";

fn gcs_key(key: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>\
         <ETag>\"tag\"</ETag><Size>3</Size></Contents>"
    )
}

fn azure_key(key: &str) -> String {
    format!(
        "<Blob><Name>{key}</Name><Properties><Last-Modified>Sat, 21 Nov 2026 10:00:00 GMT</Last-Modified>\
         <Etag>tag</Etag><Content-Length>3</Content-Length><Content-Type>x/y</Content-Type></Properties></Blob>"
    )
}

/// Answers every listing with this text, and every other request with the content `abc`.
async fn serve(listing: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let listing = listing.clone();
            let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
                let is_listing = request.uri().query().is_some_and(|query| query.contains("list"));
                let body = if is_listing { listing.clone() } else { "abc".to_owned() };
                let response = Response::builder()
                    .header("etag", "\"tag\"")
                    .header("last-modified", "Sat, 21 Nov 2026 10:00:00 GMT")
                    .body(s3s::Body::from(body.into_bytes()))
                    .unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(stream), answer).await);
            });
        }
    });
    endpoint
}

async fn open(address: &str, listing: String) -> Result<PrefixLayer> {
    let environment = [("AZURE_STORAGE_ACCOUNT_NAME".to_owned(), "account".to_owned())];
    let spec = format!("{address}?anonymous=true&timeout=5&endpoint={}", serve(listing).await);
    ObjectOpener::new(environment).open_prefix(&LayerSpec::parse(spec).unwrap()).await
}

/// What both must show of the keys `p/`, `p/a`, `p/a&amp;b/ c `, `p/d/`, `p//x`, `p/..`.
async fn check(layer: &PrefixLayer) {
    let paths: Vec<_> = walk(layer).await.into_keys().collect();
    assert_eq!(paths, ["a", "a&b/", "a&b/ c ", "d/"]);
    assert_eq!(layer.stats().hidden, Hidden { empty: 1, dots: 1, ..Hidden::default() });
    assert_eq!(layer.stats().lists, 1);
    assert_eq!(file_at(layer, "a&b/ c ").await.read_at(1, 9).await.unwrap(), "bc");
}

const KEYS: [&str; 6] = ["p/", "p/a", "p/a&amp;b/ c ", "p/d/", "p//x", "p/.."];

#[tokio::test]
async fn gcs_listings_are_read_exactly() {
    let listing = GCS.replace("KEYS", &KEYS.map(gcs_key).concat());
    check(&open("gs://b/p", listing).await.unwrap()).await;
}

#[tokio::test]
async fn azure_listings_are_read_exactly() {
    let listing = AZURE.replace("KEYS", &KEYS.map(azure_key).concat());
    check(&open("az://c/p", listing).await.unwrap()).await;
}
