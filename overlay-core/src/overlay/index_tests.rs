//! Files of several names on the reference layers, with an index.

use std::sync::Arc;

use super::tests::{find, name, read, split};
use super::{Change, Open, Overlay, OverlayOptions, ROOT};
use crate::attr::SetAttr;
use crate::conformance::block_on;
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::{Layer, UpperDir, UpperLayer};
use crate::memory::{MemoryLayer, MemoryUpper};
use crate::merge::plan::RenameMode;
use crate::stack::Stack;

fn lower() -> Arc<dyn Layer> {
    let builder =
        MemoryLayer::builder("lower").file("a", "content").hard_link("b", "a").hard_link("d/c", "a");
    Arc::new(builder.file("other", "other").build().unwrap())
}

async fn open(upper: &Arc<MemoryUpper>, metacopy: bool) -> Arc<Overlay> {
    let options = OverlayOptions { index: true, metacopy, ..OverlayOptions::default() };
    let upper: Arc<dyn UpperLayer> = upper.clone();
    Overlay::new(Stack::new(Some(upper), vec![lower()]).unwrap(), options).await.unwrap()
}

async fn remount(upper: &mut Arc<MemoryUpper>) -> Arc<Overlay> {
    *upper = Arc::new(upper.reopen().unwrap());
    open(upper, false).await
}

async fn write(overlay: &Overlay, path: &str, text: &str) {
    let ino = find(overlay, path).await.unwrap();
    let handle = overlay.open(ino, Open { write: true, truncate: false }).await.unwrap();
    overlay.write(handle, 0, text.as_bytes(), false).await.unwrap();
    overlay.release(handle);
}

/// Number, link count and content of each path.
async fn facts<const N: usize>(overlay: &Overlay, paths: [&str; N]) -> [(u64, u32, String); N] {
    let mut facts = paths.map(|_| (0, 0, String::new()));
    for (fact, path) in facts.iter_mut().zip(paths) {
        let ino = find(overlay, path).await.unwrap();
        *fact = (ino, overlay.getattr(ino).await.unwrap().nlink, read(overlay, ino).await.unwrap());
    }
    facts
}

async fn unlink(overlay: &Overlay, path: &str) {
    let (dir, last) = split(overlay, path).await.unwrap();
    overlay.unlink(dir, &last).await.unwrap();
}

async fn index(upper: &MemoryUpper) -> Arc<dyn UpperDir> {
    upper.index().await.unwrap().unwrap()
}

#[test]
fn the_names_of_a_lower_file_stay_names_of_one_file() {
    block_on(async {
        for metacopy in [false, true] {
            let mut upper = Arc::new(MemoryUpper::new("upper"));
            let mut overlay = open(&upper, metacopy).await;
            let before = facts(&overlay, ["a", "b", "d/c"]).await;
            assert_eq!(before, [0; 3].map(|_| (before[0].0, 3, String::from("content"))));
            let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
            overlay.setattr(before[0].0, None, &Change { set, kill_privilege: false }).await.unwrap();
            write(&overlay, "b", "CHANGED").await;
            for _ in 0..2 {
                let after = facts(&overlay, ["a", "b", "d/c"]).await;
                assert_eq!(after, [0; 3].map(|_| (before[0].0, 3, String::from("CHANGED"))), "{metacopy}");
                overlay = remount(&mut upper).await;
            }
        }
    });
}

#[test]
fn names_that_come_and_go_are_counted_and_the_last_one_takes_the_entry_with_it() {
    block_on(async {
        let mut upper = Arc::new(MemoryUpper::new("upper"));
        let mut overlay = open(&upper, false).await;
        let ino = find(&overlay, "a").await.unwrap();
        overlay.link(ino, ROOT, &name("e")).await.unwrap();
        assert_eq!(facts(&overlay, ["b", "e"]).await.map(|fact| fact.1), [4, 4]);
        unlink(&overlay, "a").await;
        let (from, to) = (split(&overlay, "b").await.unwrap(), split(&overlay, "d/moved").await.unwrap());
        overlay.rename(from.0, &from.1, to.0, &to.1, RenameMode::Replace).await.unwrap();
        for _ in 0..2 {
            let seen = facts(&overlay, ["d/moved", "d/c", "e"]).await;
            assert_eq!(seen, [0; 3].map(|_| (ino, 3, String::from("content"))));
            assert!(overlay.lookup(ROOT, &name("b")).await.unwrap().is_none());
            overlay = remount(&mut upper).await;
        }
        let held = overlay.open(find(&overlay, "e").await.unwrap(), Open::default()).await.unwrap();
        let (from, to) = (split(&overlay, "other").await.unwrap(), split(&overlay, "d/c").await.unwrap());
        overlay.rename(from.0, &from.1, to.0, &to.1, RenameMode::Replace).await.unwrap();
        unlink(&overlay, "d/moved").await;
        assert_eq!(facts(&overlay, ["e"]).await[0].1, 1);
        unlink(&overlay, "e").await;
        assert_eq!(&overlay.read(held, 0, 64).await.unwrap()[..], b"content");
        assert_eq!(index(&upper).await.list().await.unwrap(), []);
    });
}

#[test]
fn what_no_name_leads_to_is_swept_when_the_mount_begins() {
    block_on(async {
        let mut upper = Arc::new(MemoryUpper::new("upper"));
        let overlay = open(&upper, false).await;
        write(&overlay, "a", "x").await;
        let entries = index(&upper).await;
        let key = entries.list().await.unwrap().remove(0).name;
        remount(&mut upper).await;
        let Some(Found::Entry(entry)) = entries.lookup(&key).await.unwrap() else { panic!("kept") };
        assert_eq!(entry.nlink.as_deref(), Some(&b"U+1"[..]));
        let gone = Some(&b"U-2"[..]);
        entries.set_mark(crate::Target::Child(&key), crate::Mark::Nlink, gone).await.unwrap();
        remount(&mut upper).await;
        assert_eq!(entries.list().await.unwrap().len(), 1, "a name in the upper outweighs the count");
        upper.upper_root().await.unwrap().unlink(&name("a")).await.unwrap();
        let gone = Some(&b"U-1"[..]);
        entries.set_mark(crate::Target::Child(&key), crate::Mark::Nlink, gone).await.unwrap();
        remount(&mut upper).await;
        assert_eq!(entries.list().await.unwrap(), []);
    });
}

#[test]
fn an_entry_that_says_that_its_file_is_gone_is_an_error_of_the_names() {
    block_on(async {
        let mut upper = Arc::new(MemoryUpper::new("upper"));
        let overlay = open(&upper, false).await;
        write(&overlay, "a", "x").await;
        let entries = index(&upper).await;
        let key = entries.list().await.unwrap().remove(0).name;
        entries.unlink(&key).await.unwrap();
        entries.whiteout(&key).await.unwrap();
        let overlay = remount(&mut upper).await;
        assert_eq!(overlay.lookup(ROOT, &name("b")).await.unwrap_err().kind(), ErrorKind::Stale);
        assert!(find(&overlay, "other").await.is_ok());
    });
}

#[test]
fn a_count_that_a_crash_left_by_the_lower_is_set_right_before_names_come_and_go() {
    block_on(async {
        let mut upper = Arc::new(MemoryLayer::builder("upper").build_upper().unwrap());
        let overlay = open(&upper, false).await;
        write(&overlay, "a", "changed").await;
        let index_of = async |upper: &MemoryUpper| index(upper).await.list().await.unwrap();
        let key = index_of(&upper).await[0].name.clone();
        // In the middle of bringing a name into the upper.
        let mark = crate::entry::Mark::Nlink;
        let entry = crate::layer::Target::Child(&key);
        index(&upper).await.set_mark(entry, mark, Some(b"L+0")).await.unwrap();
        let overlay = remount(&mut upper).await;
        for new in ["x", "y", "z"] {
            let ino = find(&overlay, "a").await.unwrap();
            overlay.link(ino, ROOT, &name(new)).await.unwrap();
        }
        for gone in ["b", "x", "y", "z", "d/c"] {
            unlink(&overlay, gone).await;
            assert_eq!(facts(&overlay, ["a"]).await[0].2, "changed", "after {gone}");
        }
        let overlay = remount(&mut upper).await;
        let [(_, nlink, text)] = facts(&overlay, ["a"]).await;
        assert_eq!((nlink, text.as_str()), (1, "changed"));
        unlink(&overlay, "a").await;
        drop(overlay);
        assert!(index_of(&upper).await.is_empty(), "the last name takes the entry with it");
    });
}
