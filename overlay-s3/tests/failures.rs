//! Servers that refuse, stall or are gone: errors of the right kind, in time, and never absence.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

mod common;

use std::time::Duration;

use common::*;
use overlay_core::error::Kind;
use overlay_core::{Layer, LayerSpec, Opener};
use overlay_s3::ObjectOpener;

/// A tree whose directory `d1` is cold after opening.
fn fill(server: &overlay_s3::server::Server) {
    (0..1500).for_each(|at| server.keys().put(BUCKET, &format!("d{}/f{at:04}", at / 1200), "x"));
}

#[tokio::test]
async fn wrong_credentials_are_refused_at_the_prompt() {
    let server = server().await;
    let spec = LayerSpec::parse(format!("s3://{BUCKET}/p?endpoint={}", server.endpoint())).unwrap();
    for (key, secret) in [("overlay", "wrong-secret"), ("nobody", "overlay-secret")] {
        let environment = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
        let opener = ObjectOpener::new(environment.map(|(key, value)| (key.into(), value.into())));
        let error = opener.open(&spec).await.err().unwrap();
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Access, "{text}");
        assert!(text.contains("s3://bucket/p: access denied (403"), "{text}");
        assert!(text.contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{text}");
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn anonymous_requests_are_refused_by_a_private_server() {
    let server = server().await;
    let error = try_open(&server, BUCKET, "&anonymous=true").await.err().unwrap();
    assert_eq!(error.kind(), Kind::Access, "{error}");
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let server = server().await;
    let error = try_open(&server, "nobucket/p", "").await.err().unwrap();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().ends_with("s3://nobucket/p: the bucket does not exist"), "{error}");
}

#[tokio::test]
async fn an_empty_prefix_is_an_empty_tree() {
    let server = server().await;
    let layer = try_open(&server, "bucket/nothing/here", "").await.unwrap();
    assert!(walk(&layer).await.is_empty());
    assert!(layer.root().await.unwrap().lookup(&name("x")).await.unwrap().is_none());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_paused_server_fails_within_the_deadline() {
    let server = server().await;
    fill(&server);
    let layer = try_open(&server, BUCKET, "&timeout=1").await.unwrap();
    let (dir, file) = (dir_at(&layer, "d1").await, file_at(&layer, "d0/f0000").await);
    server.pause();
    let errors = async {
        [
            dir.lookup(&name("f1200")).await.unwrap_err(),
            dir.list().await.unwrap_err(),
            file.read_at(0, 1).await.unwrap_err(),
            try_open(&server, BUCKET, "&timeout=1").await.err().unwrap(),
        ]
    };
    // Four deadlines of a second each; the minute is for a machine that does other things, too.
    let errors = tokio::time::timeout(Duration::from_secs(60), errors).await.unwrap();
    for error in &errors {
        assert_eq!(error.kind(), Kind::Io, "{error}");
        assert!(error.to_string().contains("no answer"), "{error}");
    }
    server.resume();
    assert!(dir.lookup(&name("f1200")).await.unwrap().is_some(), "a failed listing is not kept");
    assert_eq!(file.read_at(0, 1).await.unwrap(), "x", "nor a failed read");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_who_waits_for_a_listing_gets_its_failure() {
    let server = server().await;
    fill(&server);
    let layer = try_open(&server, BUCKET, "&timeout=1").await.unwrap();
    let dir = dir_at(&layer, "d1").await;
    server.pause();
    let before = server.requests();
    let look_ups: Vec<_> = (0..8)
        .map(|_| {
            let dir = dir.clone();
            tokio::spawn(async move { dir.lookup(&name("f1200")).await.unwrap_err().kind() })
        })
        .collect();
    for look_up in look_ups {
        assert_eq!(look_up.await.unwrap(), Kind::Io);
    }
    let requests = server.requests() - before;
    assert!(requests < 8, "{requests} requests: they wait together, not in turn");
}

#[tokio::test]
async fn a_stopped_server_is_an_io_error_and_never_absence() {
    let server = server().await;
    fill(&server);
    let layer = try_open(&server, BUCKET, "&timeout=1").await.unwrap();
    let (dir, file) = (dir_at(&layer, "d1").await, file_at(&layer, "d0/f0000").await);
    let endpoint = server.endpoint();
    server.stop().await;
    for error in [dir.lookup(&name("nope")).await.unwrap_err(), file.read_at(0, 1).await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::Io, "{error}");
    }
    assert!(
        dir_at(&layer, "d0").await.lookup(&name("nope")).await.unwrap().is_none(),
        "complete is complete"
    );
    let spec = LayerSpec::parse(format!("s3://{BUCKET}?timeout=1&endpoint={endpoint}")).unwrap();
    let error = ObjectOpener::new(credentials()).open(&spec).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Io, "{error}");
}

#[tokio::test]
async fn a_bucket_that_goes_away_is_stale_and_never_absent() {
    let server = server().await;
    fill(&server);
    let layer = open(&server).await;
    let (dir, file) = (dir_at(&layer, "d1").await, file_at(&layer, "d0/f0000").await);
    assert!(server.keys().remove_bucket(BUCKET));
    assert_eq!(dir.lookup(&name("f1200")).await.unwrap_err().kind(), Kind::Stale);
    assert_eq!(file.read_at(0, 1).await.unwrap_err().kind(), Kind::Stale);
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let server = server().await;
    server.keys().put(BUCKET, "f", "x");
    server.set_latency(Duration::from_millis(30));
    let layer = try_open(&server, BUCKET, "&timeout=20").await.unwrap();
    assert_eq!(file_at(&layer, "f").await.read_at(0, 9).await.unwrap(), "x");
}

#[tokio::test]
async fn a_burst_of_failures_is_retried() {
    let server = server().await;
    server.keys().put(BUCKET, "f", "x");
    server.fail(2);
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    server.fail(2);
    assert_eq!(file.read_at(0, 9).await.unwrap(), "x");
    assert_eq!((server.requests(), layer.stats().lists, layer.stats().gets), (6, 1, 1));
}

#[tokio::test]
async fn a_server_that_only_fails_is_an_io_error_and_never_absence() {
    let server = server().await;
    fill(&server);
    let layer = try_open(&server, BUCKET, "&timeout=1").await.unwrap();
    let (dir, file) = (dir_at(&layer, "d1").await, file_at(&layer, "d0/f0000").await);
    server.fail(u64::MAX);
    for error in [dir.lookup(&name("nope")).await.unwrap_err(), file.read_at(0, 1).await.unwrap_err()] {
        assert_eq!(error.kind(), Kind::Io, "{error}");
    }
    server.fail(0);
    assert!(dir.lookup(&name("nope")).await.unwrap().is_none());
}
