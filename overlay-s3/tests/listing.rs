//! Directories over the real protocol: what is shown, and how many requests it takes.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "server")]

mod common;

use std::sync::Arc;

use common::*;
use overlay_core::Layer;
use overlay_core::attr::Kind;
use overlay_core::error::Kind as ErrorKind;
use overlay_s3::server::Server;

fn lists(server: &Server) -> u64 {
    server.count("ListObjectsV2")
}

async fn is_absent(dir: &dyn overlay_core::Dir, text: &str) -> bool {
    dir.lookup(&name(text)).await.unwrap().is_none()
}

#[tokio::test]
async fn a_subtree_that_fits_a_page_takes_one_request() {
    let server = server().await;
    for at in 0..1000 {
        server.keys().put(BUCKET, &format!("d{:02}/f{:02}", at / 20, at % 20), format!("{at}"));
    }
    let layer = open(&server).await;
    let found = walk(&layer).await;
    assert_eq!(files(&found), server.keys().list(BUCKET));
    assert_eq!(found.len(), 1050);
    assert_eq!(lists(&server), 1, "the whole tree");
    assert!(is_absent(dir_at(&layer, "d07").await.as_ref(), "nope").await);
    assert!(is_absent(layer.root().await.unwrap().as_ref(), "nope").await);
    assert_eq!((lists(&server), server.requests()), (1, 1), "misses are free");
    assert_eq!(layer.stats().lists, 1);
}

#[tokio::test]
async fn a_large_flat_directory_takes_a_request_a_page() {
    let server = server().await;
    (0..2500).for_each(|at| server.keys().put(BUCKET, &format!("p/f{at:04}"), "x"));
    let layer = try_open(&server, "bucket/p", "").await.unwrap();
    assert_eq!(lists(&server), 1, "opening");
    assert_eq!(names(layer.root().await.unwrap().as_ref()).await.len(), 2500);
    assert_eq!(lists(&server), 3, "the first page is not asked for twice");
    assert!(is_absent(layer.root().await.unwrap().as_ref(), "f2500").await);
    assert_eq!(lists(&server), 3);
}

#[tokio::test]
async fn a_truncated_tree_is_shown_whole() {
    let server = server().await;
    for at in 0..3000 {
        server.keys().put(BUCKET, &format!("d{:02}/s{}/f{:02}", at / 100, at / 50 % 2, at % 50), "x");
        if at % 300 == 0 {
            server.keys().put(BUCKET, &format!("e{at}"), "x");
        }
    }
    let layer = open(&server).await;
    let found = walk(&layer).await;
    assert_eq!(files(&found), server.keys().list(BUCKET));
    // The root takes a page and one of its children; of 30 directories 9 came with the first page.
    assert_eq!(lists(&server), 2 + 21);
    walk(&layer).await;
    assert_eq!(lists(&server), 23, "the second walk is free");
}

#[tokio::test]
async fn files_directories_and_their_sizes_and_times() {
    let server = server().await;
    server.keys().put(BUCKET, "a/file", "x".repeat(1000));
    server.keys().put(BUCKET, "empty", "");
    let options = "&uid=7&gid=8&file_mode=0640&dir_mode=0750";
    let layer = try_open(&server, BUCKET, options).await.unwrap();
    let found = walk(&layer).await;
    let (file, dir) = (&found["a/file"], &found["a/"]);
    assert_eq!((file.kind, file.mode, file.uid, file.gid, file.nlink), (Kind::File, 0o640, 7, 8, 1));
    assert_eq!((file.size, file.blocks, file.rdev, found["empty"].size), (1000, 2, 0, 0));
    assert_eq!((dir.kind, dir.mode, dir.uid, dir.gid, dir.nlink), (Kind::Dir, 0o750, 7, 8, 1));
    let put = server.keys().get(BUCKET, "a/file").unwrap().modified;
    let put = put.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    assert_eq!((file.mtime.sec, file.ctime.sec, file.atime.sec, dir.mtime), (put, put, put, file.mtime));
}

#[tokio::test]
async fn inode_numbers_are_the_same_in_every_mount() {
    let server = server().await;
    ["a", "b/c", "b/d/e"].iter().for_each(|key| server.keys().put(BUCKET, key, "x"));
    let numbers = |found: &std::collections::BTreeMap<String, overlay_core::Attr>| {
        found.iter().map(|(path, attr)| (path.clone(), attr.ino)).collect::<Vec<_>>()
    };
    let first = numbers(&walk(&open(&server).await).await);
    server.keys().put(BUCKET, "0new", "x");
    let second = numbers(&walk(&open(&server).await).await);
    assert!(first.iter().all(|pair| second.contains(pair)) && second.len() == first.len() + 1);
}

#[tokio::test]
async fn handles_answer_the_kinds_of_errors_of_the_contract() {
    let server = server().await;
    ["f", "d/x"].iter().for_each(|key| server.keys().put(BUCKET, key, "x"));
    let layer = open(&server).await;
    let root = layer.root().await.unwrap();
    assert_eq!(root.dir(&name("f")).await.err().unwrap().kind(), ErrorKind::NotDir);
    assert_eq!(root.dir(&name("no")).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(root.file(&name("d")).await.err().unwrap().kind(), ErrorKind::IsDir);
    assert_eq!(root.file(&name("no")).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(root.read_link(&name("f")).await.err().unwrap().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_look_ups_make_one_listing() {
    let server = server().await;
    (0..1500).for_each(|at| server.keys().put(BUCKET, &format!("d{}/f{at:04}", at / 1200), "x"));
    let layer = open(&server).await;
    let dir = dir_at(&layer, "d1").await;
    let before = lists(&server);
    server.pause();
    let barrier = Arc::new(tokio::sync::Barrier::new(33));
    let look_ups: Vec<_> = (0..32)
        .map(|at| {
            let (dir, barrier) = (dir.clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                dir.lookup(&name(&format!("f{:04}", 1200 + at))).await.unwrap().is_some()
            })
        })
        .collect();
    barrier.wait().await;
    server.resume();
    for look_up in look_ups {
        assert!(look_up.await.unwrap());
    }
    assert_eq!(lists(&server) - before, 1);
}

#[tokio::test]
async fn a_look_up_that_is_given_up_leaves_the_directory_usable() {
    let server = server().await;
    (0..1500).for_each(|at| server.keys().put(BUCKET, &format!("d{}/f{at:04}", at / 1200), "x"));
    let layer = open(&server).await;
    let dir = dir_at(&layer, "d1").await;
    server.pause();
    let name = name("f1200");
    let mut look_up = dir.lookup(&name);
    assert!(futures::poll!(&mut look_up).is_pending());
    drop(look_up);
    server.resume();
    assert!(dir.lookup(&name).await.unwrap().is_some());
    assert_eq!(lists(&server), 3, "the listing that was given up is the one that answers");
}

/// As the FUSE adapter does it: one poll on a thread that has entered the runtime, the rest on the runtime.
#[test]
fn a_future_that_was_polled_elsewhere_ends_on_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (server, layer) = runtime.block_on(async {
        let server = server().await;
        (0..1500).for_each(|at| server.keys().put(BUCKET, &format!("d{}/f{at:04}", at / 1200), "abc"));
        let layer = open(&server).await;
        (server, layer)
    });
    let dir = runtime.block_on(dir_at(&layer, "d1"));
    server.pause();
    let _entered = runtime.enter();
    let mut work = Box::pin(async move {
        assert!(dir.lookup(&name("f1200")).await.unwrap().is_some());
        dir.file(&name("f1200")).await.unwrap().read_at(0, 9).await.unwrap()
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(work.as_mut().poll(&mut context).is_pending());
    server.resume();
    assert_eq!(runtime.block_on(runtime.spawn(work)).unwrap(), "abc");
}
