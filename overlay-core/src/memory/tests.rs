//! What the reference layer does beyond the suites: the builder, reopening, and exact POSIX corners.

use std::sync::Arc;

use super::*;
use crate::attr::{Kind, SetAttr, Time};
use crate::conformance::{Tree as Declared, block_on};
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::{Make, Node, Rename, SetXattr, Target};
use crate::name::Name;

fn name(text: impl AsRef<[u8]>) -> Name {
    Name::new(text).unwrap()
}

async fn find(dir: &Arc<dyn Dir>, text: &str) -> Found {
    dir.lookup(&name(text)).await.unwrap().unwrap()
}

#[test]
fn the_builder_says_what_was_wrong() {
    let kind = |builder: MemoryBuilder| builder.build().map(drop).unwrap_err().kind();
    let builder = || MemoryLayer::builder("m");
    assert_eq!(kind(builder().file("a", "").file("a/b", "")), ErrorKind::NotDir);
    assert_eq!(kind(builder().file("a", "").file("a", "")), ErrorKind::Exists);
    assert_eq!(kind(builder().dir("a").file("a", "")), ErrorKind::Exists);
    assert_eq!(kind(builder().file("a/../b", "")), ErrorKind::Invalid);
    assert_eq!(kind(builder().file([b'n'; 256], "")), ErrorKind::NameTooLong);
    assert_eq!(kind(builder().hard_link("a", "absent")), ErrorKind::NotFound);
    assert_eq!(kind(builder().dir("d").hard_link("a", "d")), ErrorKind::NotPermitted);
    assert_eq!(kind(builder().special("a", Kind::Dir, 0)), ErrorKind::Invalid);
    assert_eq!(kind(builder().file("a", "").opaque()), ErrorKind::NotDir);
    assert_eq!(
        kind(builder().file("a/b", "").file("a/b", "").mode(0o600)),
        ErrorKind::Exists,
        "the first mistake"
    );
}

#[test]
fn the_root_is_described_before_anything_else() {
    block_on(async {
        let time = Time { sec: 5, nsec: 5 };
        let builder = MemoryLayer::builder("m").mode(0o700).owner(1, 2).time(time).xattr("user.x", "1");
        let root = builder.file("a", "").build().unwrap().root().await.unwrap();
        let attr = root.attr().await.unwrap();
        assert_eq!((attr.mode, attr.uid, attr.gid, attr.mtime), (0o700, 1, 2, time));
        assert_eq!(root.xattr(Target::Itself, b"user.x").await.unwrap(), Some(b"1".to_vec()));
        assert_eq!(
            find(&root, "a").await.entry().unwrap().attr.mtime,
            Time::default(),
            "times do not depend on the clock"
        );
    });
}

#[test]
fn names_with_the_oci_prefix_are_ordinary() {
    block_on(async {
        let layer = MemoryLayer::builder("m").file(".wh.a", "x").file("a", "y").build().unwrap();
        let root = layer.root().await.unwrap();
        assert_eq!(root.list().await.unwrap().len(), 2);
        assert!(matches!(find(&root, ".wh.a").await, Found::Entry(_)));
    });
}

#[test]
fn reopening_empties_work_and_keeps_the_tree() {
    block_on(async {
        let upper = MemoryLayer::builder("m").file("kept", "k").build_upper().unwrap();
        let work = upper.work().await.unwrap();
        work.make(&name("d"), &Make::Dir(0o700)).await.unwrap();
        let inner = work.upper_dir(&name("d")).await.unwrap();
        let held = inner.create(&name("f"), 0o600).await.unwrap();
        inner.make(&name("sub"), &Make::Dir(0o700)).await.unwrap();
        work.whiteout(&name("w")).await.unwrap();
        let again = upper.reopen().unwrap();
        assert_eq!(again.work().await.unwrap().list().await.unwrap(), []);
        assert_eq!(again.work().await.unwrap().attr().await.unwrap().nlink, 2);
        assert!(matches!(find(&again.root().await.unwrap(), "kept").await, Found::Entry(_)));
        assert_eq!(Node::attr(&*held).await.unwrap().nlink, 0, "a held file is unnamed, not gone");
    });
}

#[test]
fn objects_without_names_and_handles_are_forgotten() {
    block_on(async {
        let upper = MemoryUpper::new("m");
        let root = upper.upper_root().await.unwrap();
        let count = || upper.0.read(|tree| Ok(tree.count())).unwrap();
        let before = count();
        let file = root.create(&name("f"), 0o600).await.unwrap();
        let pin = root.pin(&name("f")).await.unwrap();
        root.unlink(&name("f")).await.unwrap();
        drop(file);
        assert_eq!(count(), before + 1, "the pin holds it");
        drop(pin);
        assert_eq!(count(), before);
        root.make(&name("d"), &Make::Dir(0o700)).await.unwrap();
        root.make(&name("e"), &Make::Dir(0o700)).await.unwrap();
        root.rename(&name("d"), &*root, &name("e"), Rename::Replace).await.unwrap();
        root.rmdir(&name("e")).await.unwrap();
        assert_eq!(count(), before, "a replaced directory is forgotten too");
    });
}

#[test]
fn renames_keep_the_link_counts() {
    block_on(async {
        let upper = Declared::new().dir("a/x").dir("b").file("f", "");
        let layer = MemoryUpper::new("m");
        let root = layer.upper_root().await.unwrap();
        upper.write_to(&root).await.unwrap();
        let (a, b) = (root.upper_dir(&name("a")).await.unwrap(), root.upper_dir(&name("b")).await.unwrap());
        let nlinks = async || {
            let of = async |dir: &Arc<dyn UpperDir>| dir.attr().await.unwrap().nlink;
            [of(&root).await, of(&a).await, of(&b).await]
        };
        assert_eq!(nlinks().await, [4, 3, 2]);
        a.rename(&name("x"), &*b, &name("x"), Rename::Replace).await.unwrap();
        assert_eq!(nlinks().await, [4, 2, 3]);
        root.rename(&name("f"), &*b, &name("x"), Rename::Exchange).await.unwrap();
        assert_eq!(nlinks().await, [5, 2, 2], "a file and a directory swap places");
        root.rename(&name("f"), &*a, &name("y"), Rename::Whiteout).await.unwrap();
        assert_eq!(nlinks().await, [4, 3, 2]);
    });
}

#[test]
fn a_directory_does_not_replace_a_whiteout() {
    block_on(async {
        let upper = MemoryLayer::builder("m").dir("d").whiteout("w").build_upper().unwrap();
        let root = upper.upper_root().await.unwrap();
        let error = root.rename(&name("d"), &*root, &name("w"), Rename::Replace).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotDir, "as of a device node, which a whiteout is on disk");
        assert_eq!(error.layer(), Some("m"));
        root.rename(&name("d"), &*root, &name("w"), Rename::Exchange).await.unwrap();
        assert_eq!(find(&upper.root().await.unwrap(), "d").await, Found::Whiteout);
    });
}

#[test]
fn changes_that_linux_refuses_are_refused() {
    block_on(async {
        let upper = MemoryLayer::builder("m").symlink("l", "t").file("f", "").build_upper().unwrap();
        let root = upper.upper_root().await.unwrap();
        let (link, file) = (name("l"), name("f"));
        let pin = root.pin(&link).await.unwrap();
        let mode = SetAttr { mode: Some(0o600), ..SetAttr::default() };
        let size = SetAttr { size: Some(0), ..SetAttr::default() };
        assert_eq!(pin.set_attr(&mode).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(pin.set_attr(&size).await.unwrap_err().kind(), ErrorKind::Invalid);
        let user = pin.set_xattr(b"user.x", b"", SetXattr::Any).await.unwrap_err().kind();
        assert_eq!(user, ErrorKind::NotPermitted);
        pin.set_xattr(b"trusted.x", b"", SetXattr::Any).await.unwrap();
        let set = async |key: &[u8], value: &[u8]| {
            root.set_xattr(Target::Child(&file), key, value, SetXattr::Any)
                .await
                .map_err(|error| error.kind())
        };
        assert_eq!(set(&[b'k'; 256], b"").await, Err(ErrorKind::Range));
        assert_eq!(set(b"user.x", &[0; 65537]).await, Err(ErrorKind::TooLarge));
        let empty = root.make(&name("e"), &Make::Symlink(Vec::new())).await.unwrap_err().kind();
        assert_eq!(empty, ErrorKind::NotFound);
    });
}

#[test]
fn opposite_renames_at_once_end() {
    block_on(async {
        let upper = MemoryLayer::builder("m").dir("a").dir("b").file("a/f", "").build_upper().unwrap();
        let root = upper.upper_root().await.unwrap();
        let (a, b) = (root.upper_dir(&name("a")).await.unwrap(), root.upper_dir(&name("b")).await.unwrap());
        let push = |from: Arc<dyn UpperDir>, to: Arc<dyn UpperDir>| async move {
            let mut moved = 0;
            for _ in 0..2000 {
                moved += i64::from(from.rename(&name("f"), &*to, &name("f"), Rename::Replace).await.is_ok());
            }
            moved
        };
        let there = tokio::spawn(push(a.clone(), b.clone()));
        let back = tokio::spawn(push(b.clone(), a.clone()));
        let left = there.await.unwrap() - back.await.unwrap();
        assert!((0..=1).contains(&left), "the file never doubles: {left}");
        assert_eq!(b.lookup(&name("f")).await.unwrap().is_some(), left == 1);
        assert_eq!(a.lookup(&name("f")).await.unwrap().is_some(), left == 0);
    });
}
