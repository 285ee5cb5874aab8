//! Promises about changing attributes and xattrs, through names, files and pins.

use std::sync::Arc;
use std::time::Duration;

use crate::attr::{Attr, Kind, SetAttr, SetTime, Time};
use crate::conformance::suite::Subject;
use crate::conformance::walk::{fails, name};
use crate::entry::Mark;
use crate::error::Kind as ErrorKind;
use crate::layer::{Make, Node, Rename, SetXattr, Target, UpperDir, UpperLayer, UpperNode};

type Upper = Subject<dyn UpperLayer>;

const NONE: SetAttr = SetAttr { mode: None, uid: None, gid: None, size: None, atime: None, mtime: None };

/// Longer than the tick of a kernel's file clock (10 ms at most), so that the next change has a later time.
const TICK: Duration = Duration::from_millis(25);

/// A root with the file `f` and the directory `d`.
async fn furnished(t: &Upper) -> Arc<dyn UpperDir> {
    let root = t.layer.upper_root().await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap().write_at(0, b"content").await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    root
}

async fn set(dir: &Arc<dyn UpperDir>, path: &str, change: SetAttr) {
    dir.set_attr(Target::Child(&name(path)), &change).await.unwrap();
}

/// Permission bits are set as given, those above the nine too.
pub async fn modes_are_set(t: &Upper) {
    let root = furnished(t).await;
    for path in ["f", "d"] {
        for mode in [0o600, 0o777, 0o4755, 0o1777, 0o700] {
            set(&root, path, SetAttr { mode: Some(mode), ..NONE }).await;
            assert_eq!(t.entry(path).await.attr.mode, mode, "{path}");
        }
    }
    root.set_attr(Target::Itself, &SetAttr { mode: Some(0o711), ..NONE }).await.unwrap();
    assert_eq!(root.attr().await.unwrap().mode, 0o711, "the directory itself");
}

/// Owner and group are set one by one, of a link itself too.
pub async fn owners_are_set(t: &Upper) {
    if !t.can.owners {
        return;
    }
    let root = furnished(t).await;
    root.make(&name("l"), &Make::Symlink(b"f".to_vec())).await.unwrap();
    for path in ["d", "l"] {
        set(&root, path, SetAttr { uid: Some(1234), ..NONE }).await;
        set(&root, path, SetAttr { gid: Some(4321), ..NONE }).await;
        let attr = t.entry(path).await.attr;
        assert_eq!((attr.uid, attr.gid), (1234, 4321), "{path}");
    }
    assert_ne!(t.entry("f").await.attr.uid, 1234, "what the link leads to is left alone");
}

/// Times are set one by one and to the nanosecond, before 1970 and after 2038 too.
pub async fn times_are_set(t: &Upper) {
    let root = furnished(t).await;
    let mut times = vec![Time { sec: 1_600_000_000, nsec: 123_456_789 }, Time { sec: 0, nsec: 0 }];
    if t.can.times {
        times.extend([Time { sec: -1, nsec: 999_999_999 }, Time { sec: -1_500_000_000, nsec: 1 }]);
        times.extend([Time { sec: 1 << 31, nsec: 5 }, Time { sec: 4_000_000_000, nsec: 999_999_999 }]);
    }
    for path in ["f", "d"] {
        for time in &times {
            let other = Time { sec: 5, nsec: 5 };
            set(&root, path, SetAttr { mtime: Some(SetTime::At(*time)), ..NONE }).await;
            set(&root, path, SetAttr { atime: Some(SetTime::At(other)), ..NONE }).await;
            let attr = t.entry(path).await.attr;
            assert_eq!((attr.mtime, attr.atime), (*time, other), "{path}");
        }
    }
}

/// The times of a link are its own.
pub async fn times_of_links_are_set(t: &Upper) {
    if !t.can.symlinks {
        return;
    }
    let root = furnished(t).await;
    root.make(&name("l"), &Make::Symlink(b"f".to_vec())).await.unwrap();
    let time = Time { sec: 77, nsec: 7 };
    set(&root, "l", SetAttr { mtime: Some(SetTime::At(time)), ..NONE }).await;
    assert_eq!(t.entry("l").await.attr.mtime, time);
    assert_ne!(t.entry("f").await.attr.mtime, time);
}

/// `Now` is the layer's own time, the one that a new file would get.
pub async fn now_is_now(t: &Upper) {
    let root = furnished(t).await;
    set(&root, "f", SetAttr { mtime: Some(SetTime::At(Time::default())), ..NONE }).await;
    set(&root, "f", SetAttr { mtime: Some(SetTime::Now), ..NONE }).await;
    let now = t.entry("f").await.attr.mtime;
    tokio::time::sleep(TICK).await;
    root.create(&name("later"), 0o644).await.unwrap();
    let later = t.entry("later").await.attr.mtime;
    assert!(now < later && later.sec - now.sec < 60, "{now:?}, then {later:?}");
}

/// A file is cut or grown to a size; what it grew by reads as zeros.
pub async fn sizes_are_set(t: &Upper) {
    let root = furnished(t).await;
    for (size, expected) in [(3, &b"con"[..]), (6, b"con\0\0\0"), (0, b""), (2, b"\0\0")] {
        set(&root, "f", SetAttr { size: Some(size), ..NONE }).await;
        let file = root.file(&name("f")).await.unwrap();
        assert_eq!(&file.read_at(0, 100).await.unwrap()[..], expected);
    }
    let result = root.set_attr(Target::Child(&name("d")), &SetAttr { size: Some(0), ..NONE }).await;
    fails(result, ErrorKind::IsDir, "the size of a directory");
}

/// An empty change changes nothing.
pub async fn an_empty_change_changes_nothing(t: &Upper) {
    let root = furnished(t).await;
    let before = t.entry("f").await.attr;
    tokio::time::sleep(TICK).await;
    set(&root, "f", NONE).await;
    assert_eq!(t.entry("f").await.attr, before);
}

/// Several values of one change are set together; a copy's attributes are the original's.
pub async fn attributes_are_set_together(t: &Upper) {
    let root = furnished(t).await;
    let time = Time { sec: 99, nsec: 9 };
    let source = Attr { mode: 0o751, mtime: time, atime: time, ..t.entry("f").await.attr };
    set(&root, "f", SetAttr::copy_of(&source)).await;
    let attr = t.entry("f").await.attr;
    assert_eq!((attr.mode, attr.mtime, attr.atime), (0o751, time, time));
    assert_eq!((attr.uid, attr.gid, attr.size), (source.uid, source.gid, 7));
}

/// Attributes of what is absent cannot be set.
pub async fn attributes_of_absent_names_fail(t: &Upper) {
    let root = furnished(t).await;
    let (absent, key) = (name("absent"), b"user.x");
    let target = Target::Child(&absent);
    fails(root.set_attr(target, &SetAttr { mode: Some(0), ..NONE }).await, ErrorKind::NotFound, "set_attr");
    if t.can.xattrs {
        fails(root.set_xattr(target, key, b"", SetXattr::Any).await, ErrorKind::NotFound, "set_xattr");
        fails(root.remove_xattr(target, key).await, ErrorKind::NotFound, "remove_xattr");
    }
}

/// A write moves the times of the file; a new, removed or renamed name those of its directory.
pub async fn changes_move_the_times(t: &Upper) {
    let root = furnished(t).await;
    let dir = root.upper_dir(&name("d")).await.unwrap();
    let file = dir.create(&name("x"), 0o644).await.unwrap();
    let mut last = (dir.attr().await.unwrap().mtime, Node::attr(&*file).await.unwrap().mtime);
    tokio::time::sleep(TICK).await;
    file.write_at(0, b"1").await.unwrap();
    let attr = Node::attr(&*file).await.unwrap();
    assert!(attr.mtime > last.1 && attr.ctime > last.1, "a write sets mtime and ctime");
    assert_eq!(dir.attr().await.unwrap().mtime, last.0, "but not the directory's");
    for step in 0..4 {
        tokio::time::sleep(TICK).await;
        match step {
            0 => dir.rename(&name("x"), &*dir, &name("y"), Rename::Replace).await.unwrap(),
            1 => dir.unlink(&name("y")).await.unwrap(),
            2 => dir.make(&name("z"), &Make::Dir(0o755)).await.unwrap(),
            _ => dir.rmdir(&name("z")).await.unwrap(),
        }
        let attr = dir.attr().await.unwrap();
        assert!(attr.mtime > last.0 && attr.ctime > last.0, "step {step} sets the directory's times");
        last.0 = attr.mtime;
    }
}

/// A change of attributes or links moves ctime and leaves mtime.
pub async fn attribute_changes_move_ctime_only(t: &Upper) {
    let root = furnished(t).await;
    let mut before = t.entry("f").await.attr;
    let mut steps = vec!["mode"];
    steps.extend(t.can.hard_links.then_some("link"));
    steps.extend(t.can.xattrs.then_some("xattr"));
    for step in steps {
        tokio::time::sleep(TICK).await;
        match step {
            "mode" => set(&root, "f", SetAttr { mode: Some(0o640), ..NONE }).await,
            "link" => root.link(&name("f"), &*root, &name("g")).await.unwrap(),
            _ => root.set_xattr(Target::Child(&name("f")), b"user.x", b"", SetXattr::Any).await.unwrap(),
        }
        let after = t.entry("f").await.attr;
        assert!(after.ctime > before.ctime && after.mtime == before.mtime, "{step}");
        before = after;
    }
}

/// An xattr is set, replaced, listed and removed, with the errors of `setxattr(2)`.
pub async fn xattrs_are_set_and_removed(t: &Upper) {
    if !t.can.xattrs {
        return;
    }
    let root = furnished(t).await;
    let (key, value) = (b"user.suite", b"\x00binary\xff");
    for path in ["f", "d"] {
        let name = name(path);
        let target = Target::Child(&name);
        fails(
            root.set_xattr(target, key, b"", SetXattr::Replace).await,
            ErrorKind::NoData,
            "replace of none",
        );
        fails(root.remove_xattr(target, key).await, ErrorKind::NoData, "removal of none");
        root.set_xattr(target, key, b"", SetXattr::Create).await.unwrap();
        assert_eq!(root.xattr(target, key).await.unwrap(), Some(Vec::new()), "an empty value is one");
        fails(root.set_xattr(target, key, b"", SetXattr::Create).await, ErrorKind::Exists, "a second create");
        root.set_xattr(target, key, value, SetXattr::Replace).await.unwrap();
        assert_eq!(root.xattr(target, key).await.unwrap().as_deref(), Some(&value[..]));
        root.set_xattr(target, b"user.other", b"2", SetXattr::Any).await.unwrap();
        let keys = root.xattr_keys(target).await.unwrap();
        assert!(keys.contains(&key.to_vec()) && keys.contains(&b"user.other".to_vec()), "{keys:?}");
        root.remove_xattr(target, key).await.unwrap();
        assert_eq!(root.xattr(target, key).await.unwrap(), None);
    }
}

/// A pin outlives its name: attributes and xattrs are read and set as before.
pub async fn pins_outlive_unlink(t: &Upper) {
    let root = furnished(t).await;
    let pin = root.pin(&name("f")).await.unwrap();
    root.unlink(&name("f")).await.unwrap();
    root.create(&name("f"), 0o600).await.unwrap();
    let time = Time { sec: 42, nsec: 4 };
    pin.set_attr(&SetAttr { mode: Some(0o640), mtime: Some(SetTime::At(time)), ..NONE }).await.unwrap();
    let attr = pin.attr().await.unwrap();
    assert_eq!((attr.mode, attr.mtime, attr.size, attr.nlink), (0o640, time, 7, 0));
    if t.can.xattrs {
        pin.set_xattr(b"user.suite", b"1", SetXattr::Create).await.unwrap();
        assert_eq!(pin.xattr(b"user.suite").await.unwrap(), Some(b"1".to_vec()));
        pin.remove_xattr(b"user.suite").await.unwrap();
        assert!(!pin.xattr_keys().await.unwrap().contains(&b"user.suite".to_vec()));
    }
    assert_eq!(t.entry("f").await.attr.mode, 0o600, "the new object of that name is another");
}

/// A pin follows its object through renames, and holds objects of any kind.
pub async fn pins_follow_renames(t: &Upper) {
    let root = furnished(t).await;
    let mut paths = vec!["f", "d"];
    if t.can.special_files {
        root.make(&name("p"), &Make::Node(Kind::Fifo, 0o644, 0)).await.unwrap();
        paths.push("p");
    }
    for path in paths {
        let pin = root.pin(&name(path)).await.unwrap();
        root.rename(&name(path), &*root, &name("moved"), Rename::NoReplace).await.unwrap();
        pin.set_attr(&SetAttr { mode: Some(0o711), ..NONE }).await.unwrap();
        let attr = t.entry("moved").await.attr;
        assert_eq!((attr.ino, attr.mode), (pin.attr().await.unwrap().ino, 0o711), "{path}");
        root.rename(&name("moved"), &*root, &name(path), Rename::NoReplace).await.unwrap();
    }
}

/// A symbolic link is pinned itself, not what it leads to.
pub async fn pins_hold_links_themselves(t: &Upper) {
    if !t.can.symlinks {
        return;
    }
    let root = furnished(t).await;
    root.make(&name("l"), &Make::Symlink(b"f".to_vec())).await.unwrap();
    let pin = root.pin(&name("l")).await.unwrap();
    let time = Time { sec: 11, nsec: 1 };
    pin.set_attr(&SetAttr { mtime: Some(SetTime::At(time)), ..NONE }).await.unwrap();
    let attr = pin.attr().await.unwrap();
    assert_eq!((attr.kind, attr.mtime), (Kind::Symlink, time));
}

/// A file's handle sets the attributes of its file, after the name is gone too.
pub async fn files_set_their_attributes(t: &Upper) {
    let root = furnished(t).await;
    let file = root.upper_file(&name("f")).await.unwrap();
    UpperNode::set_attr(&*file, &SetAttr { mode: Some(0o600), size: Some(3), ..NONE }).await.unwrap();
    let attr = t.entry("f").await.attr;
    assert_eq!((attr.mode, attr.size), (0o600, 3));
    root.unlink(&name("f")).await.unwrap();
    UpperNode::set_attr(&*file, &SetAttr { mode: Some(0o640), size: Some(1), ..NONE }).await.unwrap();
    let attr = Node::attr(&*file).await.unwrap();
    assert_eq!((attr.mode, attr.size), (0o640, 1));
}

/// Inode flags are set and read back, or refused where the layer has none (or the process no right).
pub async fn flags_are_set_or_refused(t: &Upper) {
    // FS_NODUMP_FL needs no privilege and does nothing to the file.
    const NODUMP: u32 = 0x40;
    let root = furnished(t).await;
    let (f, pin) = (name("f"), root.pin(&name("f")).await.unwrap());
    let Ok(before) = root.flags(Target::Child(&f)).await else { return };
    match root.set_flags(Target::Child(&f), before | NODUMP).await {
        Ok(()) => assert_eq!(pin.flags().await.unwrap(), before | NODUMP),
        Err(error) => {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::NotTty | ErrorKind::Unsupported), "{error}");
        }
    }
}

/// Marks of the union are read back by a look-up, and users do not see them. A layer may have no place for them.
pub async fn marks_are_read_back(t: &Upper) {
    let root = furnished(t).await;
    let (f, d) = (name("f"), name("d"));
    match root.set_mark(Target::Child(&d), Mark::Redirect, Some(b"elsewhere")).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        marked => marked.unwrap(),
    }
    root.pin(&f).await.unwrap().set_mark(Mark::Metacopy, Some(b"")).await.unwrap();
    root.set_mark(Target::Child(&f), Mark::Origin, Some(b"origin")).await.unwrap();
    root.set_mark(Target::Child(&f), Mark::Nlink, Some(b"U+1")).await.unwrap();
    root.upper_dir(&d).await.unwrap().set_mark(Target::Itself, Mark::Impure, Some(b"y")).await.unwrap();
    let (file, dir) = (t.entry("f").await, t.entry("d").await);
    assert_eq!((dir.redirect.as_deref(), dir.impure, dir.metacopy), (Some(&b"elsewhere"[..]), true, false));
    assert_eq!((file.metacopy, file.origin.as_deref()), (true, Some(&b"origin"[..])));
    assert_eq!(file.nlink.as_deref(), Some(&b"U+1"[..]));
    for path in [&f, &d] {
        assert_eq!(root.xattr_keys(Target::Child(path)).await.unwrap(), [b""; 0], "{path}");
    }
    for _ in 0..2 {
        root.set_mark(Target::Child(&d), Mark::Redirect, None).await.unwrap();
        root.set_mark(Target::Child(&f), Mark::Metacopy, None).await.unwrap();
    }
    assert_eq!((t.entry("d").await.redirect, t.entry("f").await.metacopy), (None, false));
}

/// What is moved from work into the index can be given names in the tree from there. A layer may have no index.
pub async fn the_index_lies_beside_the_tree(t: &Upper) {
    let Some(index) = t.layer.index().await.unwrap() else { return };
    let (root, work) = (t.layer.upper_root().await.unwrap(), t.layer.work().await.unwrap());
    work.create(&name("#1"), 0o600).await.unwrap().write_at(0, b"x").await.unwrap();
    work.rename(&name("#1"), index.as_ref(), &name("00fb"), Rename::NoReplace).await.unwrap();
    index.link(&name("00fb"), root.as_ref(), &name("named")).await.unwrap();
    assert_eq!(t.entry("named").await.attr.nlink, 2);
    let again = t.layer.index().await.unwrap().unwrap();
    assert!(again.lookup(&name("00fb")).await.unwrap().is_some(), "it is one index");
    again.unlink(&name("00fb")).await.unwrap();
    assert_eq!(t.entry("named").await.attr.nlink, 1);
}
