//! Content over the real protocol: every byte right, and few requests.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

mod common;

use common::*;
use overlay_core::error::Kind;
use overlay_core::layer::Seek;
use overlay_s3::server::Server;

const MIB: usize = 1 << 20;

fn gets(server: &Server) -> u64 {
    server.count("GetObject")
}

#[tokio::test]
async fn small_files_take_one_request() {
    let server = server().await;
    let data = noise(MIB);
    server.keys().put(BUCKET, "f", data.clone());
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    assert_eq!(gets(&server), 0, "opening is free");
    for (offset, len) in [(0, 10), (MIB - 5, 100), (1000, MIB), (MIB, 1), (MIB * 9, 5), (7, 0)] {
        let expected = &data[offset.min(MIB)..(offset + len).min(MIB)];
        assert_eq!(file.read_at(offset as u64, len).await.unwrap(), expected, "{offset}+{len}");
    }
    assert_eq!(gets(&server), 1);
    assert_eq!((layer.stats().gets, layer.stats().bytes_read), (1, MIB as u64));
}

#[tokio::test]
async fn empty_files_take_none() {
    let server = server().await;
    server.keys().put(BUCKET, "f", "");
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    assert!(file.read_at(0, 4096).await.unwrap().is_empty());
    assert_eq!(gets(&server), 0);
    assert_eq!(file.seek(0, Seek::Data).await.unwrap(), None);
}

#[tokio::test]
async fn a_sequential_reader_gets_every_byte_in_few_requests() {
    let server = server().await;
    let data = noise(24 * MIB + 12_345);
    server.keys().put(BUCKET, "f", data.clone());
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    let mut at = 0;
    loop {
        let bytes = file.read_at(at as u64, 128 << 10).await.unwrap();
        if bytes.is_empty() {
            break;
        }
        assert!(bytes == data[at..at + bytes.len()], "at {at}");
        at += bytes.len();
    }
    assert_eq!(at, data.len());
    let requests = gets(&server);
    assert!((13..=24).contains(&requests), "{requests} requests: growing windows, in parts of 2 MiB");
    assert_eq!(layer.stats().bytes_read, data.len() as u64, "nothing is fetched twice");
}

#[tokio::test]
async fn random_readers_fetch_what_they_ask_for() {
    let server = server().await;
    let data = noise(32 * MIB);
    server.keys().put(BUCKET, "f", data.clone());
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    let mut state = 12_345_u64;
    for _ in 0..40 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Far enough apart that no read looks sequential.
        let offset = (state >> 33) as usize % 31 * MIB + (state >> 20) as usize % 1000;
        assert!(file.read_at(offset as u64, 4096).await.unwrap() == data[offset..offset + 4096], "{offset}");
    }
    let stats = layer.stats();
    assert!(stats.gets <= 40 && stats.bytes_read <= 40 * (320 << 10), "{stats:?}");
    let before = gets(&server);
    let last = 31 * MIB as u64;
    file.read_at(last + 1, 10).await.unwrap();
    file.read_at(4 * MIB as u64 + 3, 10).await.unwrap();
    file.read_at(last + 100, 10).await.unwrap();
    assert!(gets(&server) - before <= 2, "a block at hand is not fetched again");
}

#[tokio::test]
async fn reads_across_fetched_and_missing_ranges_are_joined() {
    let server = server().await;
    let data = noise(16 * MIB);
    server.keys().put(BUCKET, "f", data.clone());
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    file.read_at(5 * MIB as u64, 100).await.unwrap();
    file.read_at(9 * MIB as u64, 100).await.unwrap();
    let (start, len) = (4 * MIB + 77, 7 * MIB);
    assert!(file.read_at(start as u64, len).await.unwrap() == data[start..start + len]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_readers_of_an_open_file_share_requests() {
    let server = server().await;
    let data = noise(MIB / 2);
    server.keys().put(BUCKET, "f", data.clone());
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    server.pause();
    let reads: Vec<_> = (0..16)
        .map(|at| {
            let file = file.clone();
            tokio::spawn(async move { file.read_at(at * 1000, 1000).await.unwrap() })
        })
        .collect();
    server.resume();
    for (at, read) in reads.into_iter().enumerate() {
        assert!(read.await.unwrap() == data[at * 1000..(at + 1) * 1000]);
    }
    assert_eq!(gets(&server), 1);
}

#[tokio::test]
async fn an_overwritten_object_is_stale() {
    let server = server().await;
    let data = noise(4 * MIB);
    server.keys().put(BUCKET, "large", data.clone());
    server.keys().put(BUCKET, "small", "old");
    let layer = open(&server).await;
    let (large, small) = (file_at(&layer, "large").await, file_at(&layer, "small").await);
    assert!(large.read_at(0, 4096).await.unwrap() == data[..4096]);
    server.keys().put(BUCKET, "large", noise(4 * MIB - 1));
    server.keys().put(BUCKET, "small", "new");
    let error = large.read_at(3 * MIB as u64, 10).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Stale, "{error}");
    assert_eq!(small.read_at(0, 3).await.unwrap_err().kind(), Kind::Stale);
    let again = file_at(&layer, "small").await;
    assert_eq!(again.read_at(0, 3).await.unwrap_err().kind(), Kind::Stale, "the listing is of the old one");
    assert!(large.read_at(0, 4096).await.unwrap() == data[..4096], "what is at hand stays right");
}

#[tokio::test]
async fn a_deleted_object_is_stale_and_never_absent() {
    let server = server().await;
    server.keys().put(BUCKET, "f", "x");
    let layer = open(&server).await;
    let file = file_at(&layer, "f").await;
    assert!(server.keys().remove(BUCKET, "f"));
    let error = file.read_at(0, 1).await.unwrap_err();
    assert_eq!((error.kind(), error.op()), (Kind::Stale, "read"), "{error}");
    assert!(error.to_string().contains("\"f\"") && error.to_string().contains("s3://bucket"), "{error}");
    let file = file_at(&layer, "f").await;
    assert_eq!(file.read_at(0, 1).await.unwrap_err().kind(), Kind::Stale);
}
