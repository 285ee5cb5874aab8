//! Promises about making and removing names.

use crate::attr::Kind;
use crate::conformance::suite::Subject;
use crate::conformance::walk::{fails, name};
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::{Make, Node, Target, UpperLayer};

type Upper = Subject<dyn UpperLayer>;

/// Root and work are directories, and both are empty when the layer is opened.
pub async fn root_and_work_are_empty_at_first(t: &Upper) {
    for dir in [t.layer.upper_root().await.unwrap(), t.layer.work().await.unwrap()] {
        assert_eq!(dir.attr().await.unwrap().kind, Kind::Dir);
        assert_eq!(dir.list().await.unwrap(), []);
    }
}

/// What lies in work is no part of the tree.
pub async fn work_is_not_in_the_tree(t: &Upper) {
    let work = t.layer.work().await.unwrap();
    work.create(&name("w"), 0o600).await.unwrap();
    work.make(&name("d"), &Make::Dir(0o700)).await.unwrap();
    assert_eq!(t.layer.upper_root().await.unwrap().list().await.unwrap(), []);
    assert!(t.walk().await.is_empty());
    assert_eq!(work.list().await.unwrap().len(), 2);
}

/// The layer as a lower shows what was written to it as an upper.
pub async fn the_tree_can_be_read_as_a_layer(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap().write_at(0, b"data").await.unwrap();
    let file = t.layer.root().await.unwrap().file(&name("f")).await.unwrap();
    assert_eq!(&file.read_at(0, 10).await.unwrap()[..], b"data");
    let mut paths: Vec<_> = t.walk().await.into_iter().map(|seen| seen.path).collect();
    paths.sort();
    assert_eq!(paths, [b"d", b"f"]);
}

/// A new file is empty, regular, of the mode given whatever the umask, and open for reading and writing.
pub async fn create_makes_an_empty_file(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    for (path, mode) in [("a", 0o644), ("b", 0o666), ("c", 0o600), ("d", 0o777)] {
        let file = root.create(&name(path), mode).await.unwrap();
        let attr = Node::attr(&*file).await.unwrap();
        assert_eq!((attr.kind, attr.mode, attr.size, attr.nlink), (Kind::File, mode, 0, 1), "{path}");
        file.write_at(0, b"x").await.unwrap();
        assert_eq!(&file.read_at(0, 2).await.unwrap()[..], b"x");
        assert_eq!(t.entry(path).await.attr.ino, attr.ino);
    }
}

/// Whatever makes a name answers `Exists` if there is one, be it an object or a whiteout, and changes nothing.
pub async fn a_taken_name_is_refused(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    let (file, dir, gone) = (name("file"), name("dir"), name("gone"));
    root.create(&file, 0o644).await.unwrap();
    root.make(&dir, &Make::Dir(0o755)).await.unwrap();
    root.whiteout(&gone).await.unwrap();
    for taken in [&file, &dir, &gone] {
        let before = root.lookup(taken).await.unwrap();
        fails(root.create(taken, 0o644).await, ErrorKind::Exists, "create");
        fails(root.make(taken, &Make::Dir(0o755)).await, ErrorKind::Exists, "mkdir");
        fails(root.make(taken, &Make::Symlink(b"x".to_vec())).await, ErrorKind::Exists, "symlink");
        fails(root.make(taken, &Make::Node(Kind::Fifo, 0o644, 0)).await, ErrorKind::Exists, "mknod");
        fails(root.whiteout(taken).await, ErrorKind::Exists, "whiteout");
        fails(root.link(&file, &*root, taken).await, ErrorKind::Exists, "link");
        let (before, after) = (shape(before), shape(root.lookup(taken).await.unwrap()));
        assert_eq!(before, after, "{taken:?}");
    }
}

fn shape(found: Option<Found>) -> Option<Option<(Kind, u64)>> {
    found.map(|found| found.entry().map(|entry| (entry.attr.kind, entry.attr.ino)))
}

/// A new directory is empty and of the mode given.
pub async fn make_makes_a_directory(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    for (path, mode) in [("a", 0o755), ("b", 0o777), ("c", 0o1700)] {
        root.make(&name(path), &Make::Dir(mode)).await.unwrap();
        let entry = t.entry(path).await;
        assert_eq!((entry.attr.kind, entry.attr.mode, entry.opaque), (Kind::Dir, mode, false), "{path}");
        assert_eq!(root.upper_dir(&name(path)).await.unwrap().list().await.unwrap(), []);
    }
}

/// A link keeps its target byte for byte.
pub async fn make_makes_a_symlink(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    // XFS stores no more than 1024 bytes of a target.
    let targets: [&[u8]; 4] = [b"a", b"../..//x/./", b"/abs\xff\n", &[b'l'; 1023]];
    for (number, target) in targets.into_iter().enumerate().filter(|_| t.can.symlinks) {
        let name = name(number.to_string());
        root.make(&name, &Make::Symlink(target.to_vec())).await.unwrap();
        assert_eq!(root.read_link(&name).await.unwrap(), target);
        let attr = t.entry(name.as_bytes()).await.attr;
        assert_eq!((attr.kind, attr.size), (Kind::Symlink, target.len() as u64));
    }
}

/// Special files are of the kind, mode and device given; a node can be an empty regular file.
pub async fn make_makes_nodes(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    let mut nodes = vec![(Kind::File, 0)];
    if t.can.special_files {
        nodes.extend([(Kind::Fifo, 0), (Kind::Socket, 0)]);
    }
    if t.can.devices {
        nodes.extend([(Kind::Char, 0x103), (Kind::Block, 0x801)]);
    }
    for (number, (kind, rdev)) in nodes.into_iter().enumerate() {
        root.make(&name(number.to_string()), &Make::Node(kind, 0o622, rdev)).await.unwrap();
        let attr = t.entry(number.to_string()).await.attr;
        assert_eq!((attr.kind, attr.mode, attr.rdev, attr.size), (kind, 0o622, rdev, 0));
    }
}

/// A link is a second name of the same object, in another directory too.
pub async fn link_gives_a_second_name(t: &Upper) {
    if !t.can.hard_links {
        return;
    }
    let root = t.layer.upper_root().await.unwrap();
    let file = root.create(&name("f"), 0o644).await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    let dir = root.upper_dir(&name("d")).await.unwrap();
    root.link(&name("f"), &*dir, &name("g")).await.unwrap();
    file.write_at(0, b"shared").await.unwrap();
    let attr = t.entry("d/g").await.attr;
    assert_eq!((attr.ino, attr.nlink, attr.size), (t.entry("f").await.attr.ino, 2, 6));
    root.unlink(&name("f")).await.unwrap();
    assert_eq!(t.entry("d/g").await.attr.nlink, 1);
    fails(root.link(&name("f"), &*dir, &name("h")).await, ErrorKind::NotFound, "link of an absent name");
    fails(root.link(&name("d"), &*root, &name("e")).await, ErrorKind::NotPermitted, "link of a directory");
}

/// `unlink` removes any object but a directory, and whiteouts.
pub async fn unlink_removes_all_but_directories(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap();
    root.whiteout(&name("w")).await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    for path in ["f", "w"] {
        root.unlink(&name(path)).await.unwrap();
        assert_eq!(t.find(path).await, None, "{path}");
        fails(root.unlink(&name(path)).await, ErrorKind::NotFound, "unlink of an absent name");
    }
    fails(root.unlink(&name("d")).await, ErrorKind::IsDir, "unlink of a directory");
    assert!(t.find("d").await.is_some());
}

/// `rmdir` removes an empty directory and nothing else.
pub async fn rmdir_removes_empty_directories_only(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    let dir = root.upper_dir(&name("d")).await.unwrap();
    dir.create(&name("in"), 0o644).await.unwrap();
    fails(root.rmdir(&name("f")).await, ErrorKind::NotDir, "rmdir of a file");
    fails(root.rmdir(&name("absent")).await, ErrorKind::NotFound, "rmdir of an absent name");
    fails(root.rmdir(&name("d")).await, ErrorKind::NotEmpty, "rmdir of a full directory");
    dir.unlink(&name("in")).await.unwrap();
    dir.whiteout(&name("in")).await.unwrap();
    fails(root.rmdir(&name("d")).await, ErrorKind::NotEmpty, "rmdir of a directory with a whiteout");
    dir.unlink(&name("in")).await.unwrap();
    root.rmdir(&name("d")).await.unwrap();
    assert_eq!(t.find("d").await, None);
}

/// A directory that was removed takes no names; its handle says so and does no harm.
pub async fn a_removed_directory_takes_no_names(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap();
    let dir = root.upper_dir(&name("d")).await.unwrap();
    root.rmdir(&name("d")).await.unwrap();
    fails(dir.create(&name("x"), 0o644).await, ErrorKind::NotFound, "create");
    fails(dir.make(&name("x"), &Make::Dir(0o755)).await, ErrorKind::NotFound, "mkdir");
    let moved = root.rename(&name("f"), &*dir, &name("x"), crate::layer::Rename::Replace).await;
    fails(moved, ErrorKind::NotFound, "rename");
    assert!(t.find("f").await.is_some());
}

/// A whiteout is found and listed as one; nothing of it can be opened.
pub async fn a_whiteout_is_a_whiteout(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    let gone = name("gone");
    root.whiteout(&gone).await.unwrap();
    root.whiteout(&name("gone too")).await.unwrap();
    assert_eq!(root.lookup(&gone).await.unwrap(), Some(Found::Whiteout));
    let listed = root.list().await.unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|row| row.whiteout), "{listed:?}");
    fails(root.upper_dir(&gone).await, ErrorKind::NotFound, "dir");
    fails(root.upper_file(&gone).await, ErrorKind::NotFound, "file");
}

/// A directory made opaque is so at the next look-up, and stays so if it is made opaque again.
pub async fn opaque_is_set_and_seen(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    for path in ["a", "b", "c"] {
        root.make(&name(path), &Make::Dir(0o755)).await.unwrap();
    }
    for _ in 0..2 {
        root.set_opaque(Target::Child(&name("a"))).await.unwrap();
        root.upper_dir(&name("b")).await.unwrap().set_opaque(Target::Itself).await.unwrap();
        assert!(t.entry("a").await.opaque && t.entry("b").await.opaque);
    }
    assert!(!t.entry("c").await.opaque, "only what was marked is opaque");
    // The mark is the layer's own business: it is neither an entry nor an xattr.
    assert_eq!(root.dir(&name("a")).await.unwrap().list().await.unwrap(), []);
    let keys = root.xattr_keys(Target::Child(&name("a"))).await.unwrap();
    assert!(!keys.iter().any(|key| key.windows(6).any(|part| part == b"opaque")), "{keys:?}");
    root.rmdir(&name("a")).await.unwrap();
}

/// Opening what is absent or of another kind fails as it does in any layer.
pub async fn opening_another_kind_fails(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.create(&name("f"), 0o644).await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    fails(root.upper_dir(&name("f")).await, ErrorKind::NotDir, "upper_dir of a file");
    fails(root.upper_file(&name("d")).await, ErrorKind::IsDir, "upper_file of a directory");
    fails(root.upper_dir(&name("x")).await, ErrorKind::NotFound, "upper_dir of an absent name");
    fails(root.upper_file(&name("x")).await, ErrorKind::NotFound, "upper_file of an absent name");
    fails(root.pin(&name("x")).await, ErrorKind::NotFound, "pin of an absent name");
}

/// A directory counts the directories in it, where the layer counts at all (1 says that it does not).
pub async fn directories_count_their_links(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    root.make(&name("d"), &Make::Dir(0o755)).await.unwrap();
    let dir = root.upper_dir(&name("d")).await.unwrap();
    let before = dir.attr().await.unwrap().nlink;
    dir.make(&name("sub"), &Make::Dir(0o755)).await.unwrap();
    let after = dir.attr().await.unwrap().nlink;
    assert!(before == 1 && after == 1 || before == 2 && after == 3, "{before}, then {after}");
    dir.rmdir(&name("sub")).await.unwrap();
    assert_eq!(dir.attr().await.unwrap().nlink, before);
}

/// Syncing a directory, work and the layer succeeds.
pub async fn sync_succeeds(t: &Upper) {
    let root = t.layer.upper_root().await.unwrap();
    let file = root.create(&name("f"), 0o644).await.unwrap();
    file.write_at(0, b"kept").await.unwrap();
    file.sync(false).await.unwrap();
    file.sync(true).await.unwrap();
    root.sync().await.unwrap();
    t.layer.work().await.unwrap().sync().await.unwrap();
    t.layer.sync().await.unwrap();
    assert_eq!(t.entry("f").await.attr.size, 4);
}
