//! Promises about handles, concurrency and dropped futures.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use crate::conformance::suite::Subject;
use crate::conformance::walk::name;
use crate::error::Kind as ErrorKind;
use crate::layer::{Dir, Layer, Target};

type Lower = Subject<dyn Layer>;

/// A handle needs nothing of the directory handle that it came from.
pub async fn handles_outlive_where_they_came_from(t: &Lower) {
    let (file, sub) = {
        let dir = t.dir("dir").await;
        (dir.file(&name("two")).await.unwrap(), dir.dir(&name("sub")).await.unwrap())
    };
    assert_eq!(&file.read_at(0, 10).await.unwrap()[..], b"22");
    let file = sub.file(&name("three")).await.unwrap();
    drop(sub);
    assert_eq!(&file.read_at(0, 10).await.unwrap()[..], b"333");
}

/// Many look-ups, lists and opens at once answer as one alone.
pub async fn concurrent_lookups_agree(t: &Lower) {
    let (root, alone) = (t.dir("").await, t.walk().await.len());
    let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(look_around(root.clone()))).collect();
    for task in tasks {
        task.await.expect("a concurrent look-up is right");
    }
    assert_eq!(t.walk().await.len(), alone);
}

async fn look_around(root: Arc<dyn Dir>) {
    for _ in 0..8 {
        assert!(root.lookup(&name("hello")).await.unwrap().is_some());
        assert_eq!(root.lookup(&name("absent")).await.unwrap(), None);
        let dir = root.dir(&name("dir")).await.unwrap();
        assert_eq!(dir.list().await.unwrap().len(), 3);
        let file = dir.file(&name("one")).await.unwrap();
        assert_eq!(&file.read_at(0, 2).await.unwrap()[..], b"1");
    }
}

/// A future that is dropped after its first poll leaves the layer and its handles usable.
pub async fn a_dropped_future_does_no_harm(t: &Lower) {
    let root = t.dir("").await;
    let (hello, big, dir) = (name("hello"), name("big"), name("dir"));
    let file = root.file(&big).await.unwrap();
    poll_once(t.layer.root()).await;
    poll_once(root.lookup(&hello)).await;
    poll_once(root.list()).await;
    poll_once(root.dir(&dir)).await;
    poll_once(root.file(&hello)).await;
    poll_once(root.attr()).await;
    poll_once(file.read_at(0, 1 << 20)).await;
    poll_once(file.read_at(1 << 20, 1 << 20)).await;
    look_around(root).await;
    let big = t.tree.row("big").and_then(|row| row.content()).expect("a declared file");
    assert!(file.read_at(0, big.len()).await.unwrap() == big);
}

/// Whether the one poll had an answer does not matter here, only what is left behind.
async fn poll_once<F: Future>(future: F) {
    drop(pin!(future).poll(&mut Context::from_waker(Waker::noop())));
}

/// `statfs` answers, and names can be as long as `Name` lets them be or the layer says how long.
pub async fn statfs_answers(t: &Lower) {
    let stat = t.layer.statfs().await.unwrap();
    assert!(stat.bsize > 0 && stat.namelen > 0, "{stat:?}");
    assert!(stat.bfree <= stat.blocks && stat.bavail <= stat.blocks && stat.ffree <= stat.files, "{stat:?}");
}

/// Inode flags are answered, or `NotTty` where the layer has none.
pub async fn flags_are_answered_or_refused(t: &Lower) {
    let root = t.dir("").await;
    let hello = name("hello");
    for target in [Target::Itself, Target::Child(&hello)] {
        if let Err(error) = root.flags(target).await {
            assert_eq!(error.kind(), ErrorKind::NotTty, "{error}");
        }
    }
}
