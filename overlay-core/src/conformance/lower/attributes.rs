//! Promises about attributes, links, xattrs and marks.

use std::collections::HashMap;

use crate::attr::Kind;
use crate::conformance::suite::Subject;
use crate::conformance::tree::What;
use crate::conformance::walk::{fails, name};
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::{Layer, Node, Target};

type Lower = Subject<dyn Layer>;

/// Sizes are the content's, the target's for a link.
pub async fn sizes_are_as_declared(t: &Lower) {
    for row in t.tree.rows() {
        let size = match &row.what {
            What::Symlink(target) => target.len() as u64,
            _ => match row.content() {
                Some(content) => content.len() as u64,
                None => continue,
            },
        };
        assert_eq!(t.entry(&row.path).await.attr.size, size, "{}", row.path.escape_ascii());
    }
}

/// Permission bits are kept.
pub async fn modes_are_as_declared(t: &Lower) {
    let has_mode = |what: &What| !matches!(what, What::Symlink(_) | What::HardLink(_) | What::Whiteout);
    for row in t.tree.rows().iter().filter(|row| t.can.modes && has_mode(&row.what)) {
        assert_eq!(t.entry(&row.path).await.attr.mode, row.mode, "{}", row.path.escape_ascii());
    }
}

/// Permission bits hold nothing else: no file type.
pub async fn modes_are_permissions_only(t: &Lower) {
    for seen in t.walk().await {
        let Found::Entry(entry) = seen.found else { continue };
        assert_eq!(entry.attr.mode & !0o7777, 0, "{}", seen.path.escape_ascii());
        assert!(entry.attr.nlink >= 1, "{} has a name", seen.path.escape_ascii());
    }
}

/// Owner and group are kept.
pub async fn owners_are_as_declared(t: &Lower) {
    for row in t.tree.rows() {
        if let Some(owner) = row.owner {
            let attr = t.entry(&row.path).await.attr;
            assert_eq!((attr.uid, attr.gid), owner, "{}", row.path.escape_ascii());
        }
    }
}

/// Times are kept to the nanosecond, before 1970 and after 2038 too.
pub async fn times_are_as_declared(t: &Lower) {
    for row in t.tree.rows() {
        if let Some(time) = row.time {
            assert_eq!(t.entry(&row.path).await.attr.mtime, time, "{}", row.path.escape_ascii());
        }
    }
}

/// All nanoseconds are below a second.
pub async fn times_are_normalised(t: &Lower) {
    for seen in t.walk().await {
        let Found::Entry(entry) = seen.found else { continue };
        for time in [entry.attr.atime, entry.attr.mtime, entry.attr.ctime] {
            assert!(time.nsec < 1_000_000_000, "{}: {time:?}", seen.path.escape_ascii());
        }
    }
}

/// Special files keep their device.
pub async fn devices_are_as_declared(t: &Lower) {
    for row in t.tree.rows() {
        if let What::Special(_, rdev) = row.what {
            assert_eq!(t.entry(&row.path).await.attr.rdev, rdev, "{}", row.path.escape_ascii());
        }
    }
}

/// A handle of an object has the attributes that the look-up reported.
pub async fn handles_agree_with_lookup(t: &Lower) {
    for row in t.tree.rows() {
        let (dir, name) = t.place(row).await;
        let attr = match row.kind() {
            Some(Kind::Dir) => dir.dir(&name).await.unwrap().attr().await.unwrap(),
            Some(Kind::File) => Node::attr(&*dir.file(&name).await.unwrap()).await.unwrap(),
            _ => continue,
        };
        let mut looked_up = t.entry(&row.path).await.attr;
        // Reading may set the time of last access.
        looked_up.atime = attr.atime;
        assert_eq!(attr, looked_up, "{name:?}");
    }
}

/// The target of a link is given byte for byte.
pub async fn links_give_their_exact_target(t: &Lower) {
    for row in t.tree.rows() {
        if let What::Symlink(target) = &row.what {
            let (dir, name) = t.place(row).await;
            assert_eq!(&dir.read_link(&name).await.unwrap(), target, "{name:?}");
        }
    }
}

/// `read_link` of what is no link is `Invalid`; where a layer has links, of what is absent `NotFound`.
pub async fn read_link_of_another_kind_fails(t: &Lower) {
    let root = t.dir("").await;
    fails(root.read_link(&name("hello")).await, ErrorKind::Invalid, "read_link of a file");
    fails(root.read_link(&name("dir")).await, ErrorKind::Invalid, "read_link of a directory");
    if t.can.symlinks {
        fails(root.read_link(&name("absent")).await, ErrorKind::NotFound, "read_link of an absent name");
    }
}

/// Declared xattrs are given and listed, through the directory and through the handle.
pub async fn xattrs_are_as_declared(t: &Lower) {
    for row in t.tree.rows().iter().filter(|row| !row.xattrs.is_empty()) {
        assert!(t.layer.has_xattrs(), "a layer with xattrs says so");
        let (dir, name) = t.place(row).await;
        let keys = dir.xattr_keys(Target::Child(&name)).await.unwrap();
        for (key, value) in &row.xattrs {
            let found = dir.xattr(Target::Child(&name), key).await.unwrap();
            assert_eq!(found.as_ref(), Some(value), "{name:?} {}", key.escape_ascii());
            let itself = match row.kind() {
                Some(Kind::Dir) => dir.dir(&name).await.unwrap().xattr(Target::Itself, key).await.unwrap(),
                _ => Node::xattr(&*dir.file(&name).await.unwrap(), key).await.unwrap(),
            };
            assert_eq!(itself.as_ref(), Some(value), "the handle of {name:?}: {}", key.escape_ascii());
            assert!(keys.contains(key), "{name:?} lists {}", key.escape_ascii());
        }
    }
}

/// An xattr that is not there is `None`, and the keys of an object without any hold none of `user.`.
pub async fn absent_xattrs_are_none(t: &Lower) {
    let root = t.dir("").await;
    let (hello, key) = (name("hello"), b"user.suite.absent");
    for target in [Target::Itself, Target::Child(&hello)] {
        assert_eq!(root.xattr(target, key).await.unwrap(), None);
        let keys = root.xattr_keys(target).await.unwrap();
        assert!(!keys.iter().any(|key| key.starts_with(b"user.")), "{keys:?}");
    }
}

/// A whiteout is found and listed as one, and nothing of it can be opened.
pub async fn whiteouts_are_whiteouts(t: &Lower) {
    for row in t.tree.rows().iter().filter(|row| row.what == What::Whiteout) {
        let (dir, name) = t.place(row).await;
        assert_eq!(dir.lookup(&name).await.unwrap(), Some(Found::Whiteout), "{name:?}");
        let listed = dir.list().await.unwrap();
        assert!(
            listed.iter().any(|row| row.name == name && row.whiteout),
            "{name:?} is listed as a whiteout"
        );
    }
}

/// Opaque directories are seen as such, and only they.
pub async fn opaque_directories_are_opaque(t: &Lower) {
    for row in t.tree.rows().iter().filter(|row| row.what != What::Whiteout) {
        assert_eq!(t.entry(&row.path).await.opaque, row.opaque, "{}", row.path.escape_ascii());
    }
}

/// Objects without marks have none.
pub async fn nothing_is_redirected(t: &Lower) {
    for row in t.tree.rows().iter().filter(|row| row.what != What::Whiteout) {
        let entry = t.entry(&row.path).await;
        assert_eq!((entry.redirect, entry.metacopy), (None, false), "{}", row.path.escape_ascii());
    }
}

/// An identity is one object's alone, and what is found by it is that object. A layer may have none, or not find it.
pub async fn identities_tell_objects_apart(t: &Lower) {
    let mut known = HashMap::new();
    for row in t.tree.rows().iter().filter(|row| row.what != What::Whiteout) {
        let (dir, name) = t.place(row).await;
        let Some(id) = dir.id(Target::Child(&name)).await.unwrap() else { return };
        let attr = dir.stat(&name).await.unwrap().unwrap();
        if let Some(found) = t.layer.find(&id).await.unwrap() {
            assert_eq!((found.ino, found.kind), (attr.ino, attr.kind), "{}", row.path.escape_ascii());
        }
        let other = known.insert(id, attr.ino);
        assert!(other.is_none_or(|ino| ino == attr.ino), "{}", row.path.escape_ascii());
    }
}
