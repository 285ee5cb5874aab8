//! Keys that a file system cannot show, and keys that only look as if: over the real protocol.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

mod common;

use std::sync::Arc;

use common::*;
use object_store::aws::AmazonS3Builder;
use overlay_core::Layer;
use overlay_s3::server::ServerConfig;
use overlay_s3::{Hidden, PrefixLayer, Settings};

/// Legal names that trip over XML, percent-encoding, URLs or signatures.
const LEGAL: [&str; 22] = [
    "a b",
    " lead",
    "trail ",
    "100%",
    "a%2Fb",
    "a%20b",
    "ünï/cödé",
    "日本",
    "#hash",
    "q?x=1",
    "plus+",
    "a&b",
    "<tag>",
    "\"quo'te\"",
    "semi;colon",
    "back\\slash",
    "[br]{ace}|^`~*",
    "dot./..dots",
    "=eq",
    "@at:col,on",
    "$dollar",
    "-dash_under.~tilde",
];

#[tokio::test]
async fn legal_names_are_shown_and_read_under_their_exact_name() {
    let server = server().await;
    for key in LEGAL {
        server.keys().put(BUCKET, key, format!("content of {key}"));
        server.keys().put(BUCKET, &format!("sub {key}/{key}"), format!("below {key}"));
    }
    let layer = open(&server).await;
    let found = walk(&layer).await;
    assert_eq!(files(&found), server.keys().list(BUCKET));
    for key in LEGAL {
        let file = file_at(&layer, key).await;
        assert_eq!(file.read_at(0, 1000).await.unwrap(), format!("content of {key}"), "{key}");
        let file = file_at(&layer, &format!("sub {key}/{key}")).await;
        assert_eq!(file.read_at(0, 1000).await.unwrap(), format!("below {key}"), "{key}");
    }
    assert_eq!(layer.stats().hidden.total(), 0);
}

#[tokio::test]
async fn odd_prefixes_can_be_mounted() {
    let server = server().await;
    for prefix in ["a b%20", "ü+", "x#y/100%"] {
        server.keys().put(BUCKET, &format!("{prefix}/d/f"), prefix.to_owned());
        server.keys().put(BUCKET, &format!("{prefix}x"), "a neighbour");
        let layer = try_open(&server, &format!("{BUCKET}/{prefix}"), "").await.unwrap();
        assert_eq!(files(&walk(&layer).await), ["d/f"], "{prefix}");
        assert_eq!(file_at(&layer, "d/f").await.read_at(0, 99).await.unwrap(), prefix.to_owned());
    }
}

#[tokio::test]
async fn illegal_keys_are_hidden_and_counted_and_fail_nothing() {
    let server = server().await;
    let long = "n".repeat(256);
    let longest = format!("{}/{}", "m".repeat(255), "k".repeat(255));
    let illegal = ["/lead", "a//b", "a//c", "./x", "d/../y", "d/.", "nl\nx", "tab\t", "", &long];
    let legal = ["a/ok", "d/ok", "ok", &longest];
    illegal.iter().filter(|key| !key.is_empty()).for_each(|key| server.keys().put(BUCKET, key, "hidden"));
    legal.iter().for_each(|key| server.keys().put(BUCKET, key, "shown"));
    let layer = open(&server).await;
    let mut expected = legal.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(files(&walk(&layer).await), expected);
    let hidden = Hidden { empty: 2, dots: 3, control: 2, too_long: 1, not_utf8: 0, shadowed: 0 };
    assert_eq!(layer.stats().hidden, hidden);
}

#[tokio::test]
async fn illegal_keys_do_not_matter_where_pages_are_truncated() {
    let server = server().await;
    (0..1200).for_each(|at| server.keys().put(BUCKET, &format!("x//{at:04}"), "hidden"));
    (0..1200).for_each(|at| server.keys().put(BUCKET, &format!("y/{at:04}"), "shown"));
    ["/", "a/", "x/ok", "y", "y/0000/", "z"].iter().for_each(|key| server.keys().put(BUCKET, key, "x"));
    let layer = open(&server).await;
    let found = walk(&layer).await;
    assert_eq!(names(layer.root().await.unwrap().as_ref()).await, ["a", "x", "y", "z"]);
    assert_eq!(names(dir_at(&layer, "x").await.as_ref()).await, ["ok"]);
    assert_eq!(files(&found).len(), 1199 + 2);
    assert!(found.contains_key("y/0000/"));
    // "/" of the root and "x//"; "y" and "y/0000" stand beside directories.
    let hidden = layer.stats().hidden;
    assert_eq!((hidden.empty, hidden.shadowed, hidden.total()), (2, 2, 4));
}

#[tokio::test]
async fn a_directory_wins_over_an_object_of_its_name() {
    let server = server().await;
    ["a", "a-b", "a.b", "a/x", "m", "m/"].iter().for_each(|key| server.keys().put(BUCKET, key, "x"));
    let layer = open(&server).await;
    let found = walk(&layer).await;
    let paths: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(paths, ["a-b", "a.b", "a/", "a/x", "m/"]);
    assert_eq!(layer.stats().hidden, Hidden { shadowed: 2, ..Hidden::default() });
}

#[tokio::test]
async fn markers_are_empty_directories_and_not_counted() {
    let server = server().await;
    ["p/", "p/d/", "p/e/f/"].iter().for_each(|key| server.keys().put(BUCKET, key, ""));
    let layer = try_open(&server, "bucket/p/", "").await.unwrap();
    let paths: Vec<_> = walk(&layer).await.into_keys().collect();
    assert_eq!(paths, ["d/", "e/", "e/f/"]);
    assert_eq!(layer.stats().hidden.total(), 0);
}

#[tokio::test]
async fn a_store_that_a_program_has_shows_markers_too() {
    let server = server().await;
    ["p/", "p/d/", "p/d/f", "p/e/"].iter().for_each(|key| server.keys().put(BUCKET, key, "x"));
    drop(open(&server).await); // installs the provider of cryptography
    let config = ServerConfig::default();
    let store = AmazonS3Builder::new().with_endpoint(server.endpoint()).with_allow_http(true);
    let store = store.with_access_key_id(config.access_key).with_secret_access_key(config.secret_key);
    let store = Arc::new(store.with_bucket_name(BUCKET).build().unwrap());
    let layer = PrefixLayer::open(store, "p", "mine", Settings::default()).await.unwrap();
    let paths: Vec<_> = walk(&layer).await.into_keys().collect();
    assert_eq!(paths, ["d/", "d/f", "e/"]);
    assert_eq!(layer.stats().hidden.total(), 0);
}
