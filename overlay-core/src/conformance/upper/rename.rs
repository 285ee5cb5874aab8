//! Promises about renames.

use std::sync::Arc;

use crate::attr::Kind;
use crate::conformance::suite::Subject;
use crate::conformance::walk::{fails, name};
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::{Make, Node, Rename, Target, UpperDir, UpperLayer};

type Upper = Subject<dyn UpperLayer>;

const ALL: [Rename; 4] = [Rename::Replace, Rename::NoReplace, Rename::Exchange, Rename::Whiteout];

/// A root with the files `a` and `b`, the empty directory `d` and `full`, which holds `full/in`.
async fn furnished(t: &Upper) -> Arc<dyn UpperDir> {
    let root = t.layer.upper_root().await.unwrap();
    for path in ["a", "b"] {
        root.create(&name(path), 0o644).await.unwrap().write_at(0, path.as_bytes()).await.unwrap();
    }
    for path in ["d", "full"] {
        root.make(&name(path), &Make::Dir(0o755)).await.unwrap();
    }
    root.upper_dir(&name("full")).await.unwrap().make(&name("in"), &Make::Dir(0o755)).await.unwrap();
    root
}

async fn rename(dir: &Arc<dyn UpperDir>, from: &str, to: &str, how: Rename) -> crate::Result<()> {
    dir.rename(&name(from), &**dir, &name(to), how).await
}

async fn content(t: &Upper, path: &str) -> Vec<u8> {
    t.dir("").await.file(&name(path)).await.unwrap().read_at(0, 100).await.unwrap().to_vec()
}

/// The object moves, its number with it, and the old name is gone.
pub async fn rename_moves(t: &Upper) {
    let root = furnished(t).await;
    for (from, to, how) in [("a", "x", Rename::Replace), ("d", "y", Rename::NoReplace)] {
        let ino = t.entry(from).await.attr.ino;
        rename(&root, from, to, how).await.unwrap();
        assert_eq!((t.find(from).await, t.entry(to).await.attr.ino), (None, ino), "{from}");
    }
}

/// A file replaces a file; an empty directory is replaced by a directory.
pub async fn rename_replaces(t: &Upper) {
    let root = furnished(t).await;
    rename(&root, "a", "b", Rename::Replace).await.unwrap();
    assert_eq!((content(t, "b").await, t.find("a").await), (b"a".to_vec(), None));
    rename(&root, "full", "d", Rename::Replace).await.unwrap();
    assert_eq!(t.entry("d/in").await.attr.kind, Kind::Dir);
    assert_eq!(t.find("full").await, None);
}

/// A file replaces a whiteout: that is how a deleted name comes back.
pub async fn rename_replaces_a_whiteout(t: &Upper) {
    let root = furnished(t).await;
    root.whiteout(&name("w")).await.unwrap();
    rename(&root, "a", "w", Rename::Replace).await.unwrap();
    assert_eq!(content(t, "w").await, b"a");
}

/// A whiteout moves as a file does: that is how one is published from work.
pub async fn whiteouts_can_be_renamed(t: &Upper) {
    let (root, work) = (furnished(t).await, t.layer.work().await.unwrap());
    work.whiteout(&name("w")).await.unwrap();
    work.rename(&name("w"), &*root, &name("a"), Rename::Replace).await.unwrap();
    assert_eq!(t.find("a").await, Some(Found::Whiteout));
    work.whiteout(&name("w")).await.unwrap();
    work.rename(&name("w"), &*root, &name("d"), Rename::Exchange).await.unwrap();
    assert_eq!(t.find("d").await, Some(Found::Whiteout), "a directory gives way to a whiteout by exchange");
    assert!(work.dir(&name("d")).await.is_err() && work.dir(&name("w")).await.is_ok());
}

/// What cannot be replaced is refused with POSIX's errors, and nothing has changed.
pub async fn replace_refuses_what_posix_refuses(t: &Upper) {
    let root = furnished(t).await;
    let cases = [
        ("a", "d", ErrorKind::IsDir),
        ("d", "a", ErrorKind::NotDir),
        ("d", "full", ErrorKind::NotEmpty),
        ("absent", "a", ErrorKind::NotFound),
    ];
    let whiteout = t.can.rename_whiteout.then_some(Rename::Whiteout);
    for how in [Rename::Replace].into_iter().chain(whiteout) {
        for (from, to, kind) in cases {
            fails(rename(&root, from, to, how).await, kind, &format!("{how:?} of {to} by {from}"));
        }
    }
    let mut left: Vec<_> = t.walk().await.into_iter().map(|seen| seen.path).collect();
    left.sort();
    assert_eq!(left, [&b"a"[..], b"b", b"d", b"full", b"full/in"]);
}

/// A directory that holds a whiteout only is not empty.
pub async fn replace_counts_whiteouts(t: &Upper) {
    let root = furnished(t).await;
    root.upper_dir(&name("d")).await.unwrap().whiteout(&name("w")).await.unwrap();
    fails(
        rename(&root, "full", "d", Rename::Replace).await,
        ErrorKind::NotEmpty,
        "over a directory with a whiteout",
    );
}

/// `NoReplace` refuses whatever stands at the target, the object itself and whiteouts included.
pub async fn no_replace_refuses_a_taken_name(t: &Upper) {
    let root = furnished(t).await;
    root.whiteout(&name("w")).await.unwrap();
    for to in ["b", "d", "full", "w", "a"] {
        fails(rename(&root, "a", to, Rename::NoReplace).await, ErrorKind::Exists, &format!("to {to}"));
    }
    assert_eq!((content(t, "a").await, content(t, "b").await), (b"a".to_vec(), b"b".to_vec()));
}

/// `Exchange` swaps two objects of any kinds, in two directories too.
pub async fn exchange_swaps(t: &Upper) {
    let root = furnished(t).await;
    rename(&root, "a", "b", Rename::Exchange).await.unwrap();
    assert_eq!((content(t, "a").await, content(t, "b").await), (b"b".to_vec(), b"a".to_vec()));
    let full = root.upper_dir(&name("full")).await.unwrap();
    root.rename(&name("a"), &*full, &name("in"), Rename::Exchange).await.unwrap();
    assert_eq!((t.entry("a").await.attr.kind, t.entry("full/in").await.attr.kind), (Kind::Dir, Kind::File));
    rename(&root, "full", "b", Rename::Exchange).await.unwrap();
    assert_eq!(t.entry("b/in").await.attr.kind, Kind::File);
}

/// `Exchange` needs both names.
pub async fn exchange_needs_both_names(t: &Upper) {
    let root = furnished(t).await;
    fails(rename(&root, "a", "absent", Rename::Exchange).await, ErrorKind::NotFound, "exchange with nothing");
    fails(rename(&root, "absent", "a", Rename::Exchange).await, ErrorKind::NotFound, "exchange of nothing");
    assert_eq!(content(t, "a").await, b"a");
}

/// `Whiteout` leaves a whiteout at the source, for a directory too; a layer that cannot says `Invalid` and does nothing.
pub async fn whiteout_is_left_at_the_source(t: &Upper) {
    let root = furnished(t).await;
    if !t.can.rename_whiteout {
        if let Err(error) = rename(&root, "a", "b", Rename::Whiteout).await {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert_eq!(content(t, "a").await, b"a");
        }
        return;
    }
    for (from, to) in [("a", "b"), ("full", "d"), ("d", "new")] {
        rename(&root, from, to, Rename::Whiteout).await.unwrap();
        assert_eq!(t.find(from).await, Some(Found::Whiteout), "{from}");
        assert!(matches!(t.find(to).await, Some(Found::Entry(_))), "{to}");
    }
    assert_eq!(t.entry("new/in").await.attr.kind, Kind::Dir);
}

/// No directory goes into itself, by whatever mode and at whatever depth.
pub async fn no_directory_goes_into_itself(t: &Upper) {
    let root = furnished(t).await;
    let full = root.upper_dir(&name("full")).await.unwrap();
    let inner = full.upper_dir(&name("in")).await.unwrap();
    for how in [Rename::Replace, Rename::NoReplace, Rename::Whiteout] {
        let into = root.rename(&name("full"), &*full, &name("x"), how).await;
        fails(into, ErrorKind::Invalid, &format!("{how:?} into itself"));
        let deeper = root.rename(&name("full"), &*inner, &name("x"), how).await;
        fails(deeper, ErrorKind::Invalid, &format!("{how:?} into its child"));
    }
    let swap = root.rename(&name("full"), &*full, &name("in"), Rename::Exchange).await;
    fails(swap, ErrorKind::Invalid, "exchange with its child");
    let swap = full.rename(&name("in"), &*root, &name("full"), Rename::Exchange).await;
    fails(swap, ErrorKind::Invalid, "exchange with its parent");
    let over = full.rename(&name("in"), &*root, &name("full"), Rename::Replace).await;
    fails(over, ErrorKind::NotEmpty, "over its parent");
    assert!(t.find("full/in").await.is_some());
}

/// Two names of one object: nothing is done, both stay.
pub async fn renaming_to_the_same_object_does_nothing(t: &Upper) {
    let root = furnished(t).await;
    for how in [Rename::Replace, Rename::Exchange] {
        rename(&root, "a", "a", how).await.unwrap();
        rename(&root, "full", "full", how).await.unwrap();
    }
    if t.can.hard_links {
        root.link(&name("a"), &*root, &name("link")).await.unwrap();
        rename(&root, "a", "link", Rename::Replace).await.unwrap();
        assert_eq!(t.entry("link").await.attr.nlink, 2);
    }
    assert_eq!(content(t, "a").await, b"a");
}

/// Objects move between directories, with all that is below them.
pub async fn rename_crosses_directories(t: &Upper) {
    let root = furnished(t).await;
    let dir = root.upper_dir(&name("d")).await.unwrap();
    root.rename(&name("full"), &*dir, &name("moved"), Rename::Replace).await.unwrap();
    let how = if t.can.rename_whiteout { Rename::Whiteout } else { Rename::Replace };
    root.rename(&name("a"), &*dir, &name("a"), how).await.unwrap();
    assert_eq!(t.entry("d/moved/in").await.attr.kind, Kind::Dir);
    assert_eq!(t.entry("d/a").await.attr.kind, Kind::File);
    let left = t.can.rename_whiteout.then_some(Found::Whiteout);
    assert_eq!((t.find("full").await, t.find("a").await), (None, left));
}

/// What is finished in work appears in the tree by one rename, also over what stands there.
pub async fn rename_publishes_from_work(t: &Upper) {
    let (root, work) = (furnished(t).await, t.layer.work().await.unwrap());
    work.create(&name("tmp"), 0o600).await.unwrap().write_at(0, b"published").await.unwrap();
    work.rename(&name("tmp"), &*root, &name("a"), Rename::Replace).await.unwrap();
    assert_eq!(content(t, "a").await, b"published");
    work.make(&name("tmp"), &Make::Dir(0o700)).await.unwrap();
    work.set_opaque(Target::Child(&name("tmp"))).await.unwrap();
    work.rename(&name("tmp"), &*root, &name("full"), Rename::Exchange).await.unwrap();
    assert!(t.entry("full").await.opaque, "the mark moves with the directory");
    assert_eq!(work.dir(&name("tmp")).await.unwrap().list().await.unwrap().len(), 1);
}

/// A directory's handle stays valid when the directory, or one above it, is renamed.
pub async fn handles_survive_renames(t: &Upper) {
    let root = furnished(t).await;
    let full = root.upper_dir(&name("full")).await.unwrap();
    let inner = full.upper_dir(&name("in")).await.unwrap();
    rename(&root, "full", "away", Rename::Replace).await.unwrap();
    inner.create(&name("x"), 0o644).await.unwrap();
    full.create(&name("y"), 0o644).await.unwrap();
    assert!(t.find("away/in/x").await.is_some() && t.find("away/y").await.is_some());
    let dir = root.upper_dir(&name("d")).await.unwrap();
    root.rename(&name("away"), &*dir, &name("far"), Rename::NoReplace).await.unwrap();
    inner.unlink(&name("x")).await.unwrap();
    assert_eq!(t.find("d/far/in/x").await, None);
}

/// An open file survives its replacement, and the one that replaced it is another.
pub async fn files_survive_being_replaced(t: &Upper) {
    let root = furnished(t).await;
    let old = root.upper_file(&name("b")).await.unwrap();
    rename(&root, "a", "b", Rename::Replace).await.unwrap();
    old.write_at(1, b"!").await.unwrap();
    assert_eq!(&old.read_at(0, 10).await.unwrap()[..], b"b!");
    assert_eq!(Node::attr(&*old).await.unwrap().nlink, 0);
    assert_eq!(content(t, "b").await, b"a");
}

/// A rename into another layer's directory is `CrossDevice` or `Invalid`, never a move within one of them.
pub async fn foreign_directories_are_refused(t: &Upper) {
    let root = furnished(t).await;
    let other = crate::memory::MemoryUpper::new("foreign").upper_root().await.unwrap();
    // Memory itself refuses by identity, others by type.
    for how in ALL {
        let result = root.rename(&name("a"), &*other, &name("x"), how).await;
        let kind = result.map_err(|error| error.kind());
        assert!(matches!(kind, Err(ErrorKind::CrossDevice | ErrorKind::Invalid)), "{how:?}: {kind:?}");
    }
    assert_eq!(content(t, "a").await, b"a");
    assert_eq!(other.list().await.unwrap(), []);
}
