//! `http://`: listings by WebDAV, content by range, against a small server of our own.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use common::*;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use overlay_core::error::Kind;
use overlay_core::{LayerSpec, Opener};
use overlay_s3::{ObjectOpener, PrefixLayer};

/// Files by path, `/dav/…`.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// Serves the files until the test ends; the URL of their root.
async fn serve(files: Files) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/dav", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let files = files.clone();
            let answer = hyper::service::service_fn(move |request| {
                let response = answer(&request, &files.lock().unwrap());
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let connection = builder.serve_connection(TokioIo::new(stream), answer).await;
                drop(connection);
            });
        }
    });
    url
}

fn answer(request: &Request<Incoming>, files: &BTreeMap<String, Vec<u8>>) -> Response<s3s::Body> {
    let path = decode(request.uri().path());
    match (request.method(), files.get(&path)) {
        (&Method::GET, Some(data)) => get(request, data),
        (method, _) if method.as_str() == "PROPFIND" => list(path.trim_end_matches('/'), files),
        _ => status(StatusCode::NOT_FOUND).body(s3s::Body::empty()).unwrap(),
    }
}

fn status(status: StatusCode) -> http::response::Builder {
    Response::builder().status(status).header("last-modified", "Sat, 21 Nov 2026 10:00:00 GMT")
}

fn etag(data: &[u8]) -> String {
    format!("\"{}-{}\"", data.len(), data.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

fn get(request: &Request<Incoming>, data: &[u8]) -> Response<s3s::Body> {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    if header("if-match").is_some_and(|tag| tag != etag(data)) {
        return status(StatusCode::PRECONDITION_FAILED).body(s3s::Body::empty()).unwrap();
    }
    let Some(range) = header("range") else {
        return status(StatusCode::OK).header("etag", etag(data)).body(data.to_vec().into()).unwrap();
    };
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (start, end) = (start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap());
    let content_range = format!("bytes {start}-{end}/{}", data.len());
    let builder = status(StatusCode::PARTIAL_CONTENT).header("content-range", content_range);
    builder.header("etag", etag(data)).body(data[start..=end].to_vec().into()).unwrap()
}

/// One level of the tree, the directory itself first, as WebDAV wants it.
fn list(dir: &str, files: &BTreeMap<String, Vec<u8>>) -> Response<s3s::Body> {
    let mut rows = BTreeMap::from([(format!("{dir}/"), collection())]);
    for (path, data) in files {
        match path.strip_prefix(&format!("{dir}/")).map(|rest| rest.split_once('/')) {
            Some(Some((child, _))) => rows.insert(format!("{dir}/{child}/"), collection()),
            Some(None) => rows.insert(path.clone(), file(data)),
            None => None,
        };
    }
    if rows.len() == 1 && dir != "/dav" {
        return status(StatusCode::NOT_FOUND).body(s3s::Body::empty()).unwrap();
    }
    let rows = rows.iter().map(|(path, prop)| {
        let status = "<D:status>HTTP/1.1 200 OK</D:status>";
        format!(
            "<D:response><D:href>{}</D:href><D:propstat><D:prop>{prop}</D:prop>{status}</D:propstat></D:response>",
            encode(path)
        )
    });
    let body = format!("<D:multistatus xmlns:D=\"DAV:\">{}</D:multistatus>", rows.collect::<String>());
    status(StatusCode::MULTI_STATUS).body(body.into_bytes().into()).unwrap()
}

const MODIFIED: &str = "<D:getlastmodified>Sat, 21 Nov 2026 10:00:00 GMT</D:getlastmodified>";

fn collection() -> String {
    format!("<D:resourcetype><D:collection/></D:resourcetype>{MODIFIED}")
}

fn file(data: &[u8]) -> String {
    let (len, tag) = (data.len(), etag(data).replace('"', "&quot;"));
    format!(
        "<D:resourcetype/>{MODIFIED}<D:getcontentlength>{len}</D:getcontentlength><D:getetag>{tag}</D:getetag>"
    )
}

fn encode(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    path.bytes().map(|b| if keep(b) { char::from(b).into() } else { format!("%{b:02X}") }).collect()
}

fn decode(path: &str) -> String {
    let mut parts = path.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

async fn open(url: &str) -> overlay_core::Result<PrefixLayer> {
    ObjectOpener::new([]).open_prefix(&LayerSpec::parse(format!("{url}?timeout=5")).unwrap()).await
}

fn tree(entries: &[(&str, Vec<u8>)]) -> Files {
    Arc::new(Mutex::new(entries.iter().map(|(path, data)| (format!("/dav/{path}"), data.clone())).collect()))
}

#[tokio::test]
async fn a_webdav_server_is_a_tree() {
    let large = noise(3 << 20);
    let files =
        tree(&[("a", b"one".to_vec()), ("d/100% ü#?", b"two".to_vec()), ("d/e/large", large.clone())]);
    let layer = open(&serve(files).await).await.unwrap();
    let found = walk(&layer).await;
    let paths: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a", "d/", "d/100% ü#?", "d/e/", "d/e/large"]);
    assert_eq!(layer.stats().lists, 3);
    assert_eq!(file_at(&layer, "a").await.read_at(0, 9).await.unwrap(), "one");
    assert_eq!(file_at(&layer, "d/100% ü#?").await.read_at(1, 9).await.unwrap(), "wo");
    let file = file_at(&layer, "d/e/large").await;
    assert!(file.read_at(2 << 20, 1000).await.unwrap() == large[2 << 20..(2 << 20) + 1000]);
    assert!(file.read_at(0, 3 << 20).await.unwrap() == large);
}

#[tokio::test]
async fn changed_and_removed_files_are_stale() {
    let files = tree(&[("a", b"one".to_vec()), ("b", b"two".to_vec())]);
    let layer = open(&serve(files.clone()).await).await.unwrap();
    let (a, b) = (file_at(&layer, "a").await, file_at(&layer, "b").await);
    files.lock().unwrap().insert("/dav/a".into(), b"neu".to_vec());
    files.lock().unwrap().remove("/dav/b");
    assert_eq!(a.read_at(0, 1).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(b.read_at(0, 1).await.unwrap_err().kind(), Kind::Stale);
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let url = serve(tree(&[("a", b"one".to_vec())])).await;
    let spec = LayerSpec::parse(format!("{url}/nope")).unwrap();
    let error = ObjectOpener::new([]).open(&spec).await.err().unwrap();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(error.to_string().ends_with("/dav/nope: the directory does not exist"), "{error}");
}

#[tokio::test]
async fn a_directory_that_goes_away_is_stale_and_never_empty() {
    let files = tree(&[("d/a", b"one".to_vec())]);
    let layer = open(&serve(files.clone()).await).await.unwrap();
    let dir = dir_at(&layer, "d").await;
    files.lock().unwrap().clear();
    assert_eq!(dir.lookup(&name("a")).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(dir.list().await.unwrap_err().kind(), Kind::Stale);
}
