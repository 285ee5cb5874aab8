//! Promises about names: what is found, what is listed, what is absent.

use std::collections::{BTreeSet, HashMap};

use crate::attr::Kind;
use crate::conformance::sample::deep;
use crate::conformance::suite::Subject;
use crate::conformance::tree::{Row, What};
use crate::conformance::walk::{fails, name};
use crate::entry::Found;
use crate::error::Kind as ErrorKind;
use crate::layer::Layer;
use crate::name::Name;

type Lower = Subject<dyn Layer>;

/// The layer has a name for people.
pub async fn label_is_not_empty(t: &Lower) {
    assert!(!t.layer.label().is_empty());
}

/// The root is a directory.
pub async fn root_is_a_directory(t: &Lower) {
    let root = t.layer.root().await.unwrap();
    assert_eq!(root.attr().await.unwrap().kind, Kind::Dir);
    let again = t.layer.root().await.unwrap();
    assert_eq!(
        root.attr().await.unwrap().ino,
        again.attr().await.unwrap().ino,
        "the root is always the same"
    );
}

/// Every declared object is found and is of its kind.
pub async fn declared_names_are_found(t: &Lower) {
    for row in t.tree.rows() {
        let found =
            t.find(&row.path).await.unwrap_or_else(|| panic!("{} is absent", row.path.escape_ascii()));
        assert_eq!(found.entry().map(|entry| entry.attr.kind), row.kind(), "{}", row.path.escape_ascii());
    }
}

/// A directory lists all that is declared, each name once, and nothing else.
pub async fn lists_are_exact(t: &Lower) {
    let dirs = t.tree.rows().iter().filter(|row| row.what == What::Dir).map(|row| row.path.as_slice());
    for path in dirs.chain([&b""[..]]) {
        let declared = t.tree.rows().iter().filter(|row| row.split().0 == path).map(|row| row.split().1);
        let declared: BTreeSet<Name> = declared.map(name).collect();
        let listed = t.dir(path).await.list().await.unwrap();
        let unique: BTreeSet<Name> = listed.iter().map(|row| row.name.clone()).collect();
        assert_eq!(listed.len(), unique.len(), "a name is listed twice in {}", path.escape_ascii());
        assert_eq!(unique, declared, "in {}", path.escape_ascii());
    }
}

/// A look-up and the list of the same directory tell the same.
pub async fn lookup_agrees_with_list(t: &Lower) {
    for seen in t.walk().await {
        let path = seen.path.escape_ascii();
        match seen.found {
            Found::Whiteout => assert!(seen.listed.whiteout, "{path} is found as a whiteout"),
            Found::Entry(entry) => {
                assert!(!seen.listed.whiteout, "{path} is found as an object");
                assert_eq!((seen.listed.kind, seen.listed.ino), (entry.attr.kind, entry.attr.ino), "{path}");
            }
        }
    }
}

/// A walk over the lists meets exactly what is declared.
pub async fn a_walk_meets_everything(t: &Lower) {
    let met: BTreeSet<Vec<u8>> = t.walk().await.into_iter().map(|seen| seen.path).collect();
    assert_eq!(met, t.tree.rows().iter().map(|row| row.path.clone()).collect());
}

/// Absence is `Ok(None)`, however near a name is to one that exists.
pub async fn absence_is_no_error(t: &Lower) {
    let absent: [&[u8]; 10] = [
        b"absent",
        b"hell",
        b"hello2",
        b"HELLO",
        b"di",
        b"dir2",
        b"hello ",
        b"..hello",
        b"hello.",
        &[b'z'; 255],
    ];
    for path in ["", "dir", "dir/sub", &deep("")] {
        let dir = t.dir(path).await;
        for bytes in absent {
            assert_eq!(dir.lookup(&name(bytes)).await.unwrap(), None, "{} in {path:?}", bytes.escape_ascii());
        }
    }
}

/// Names are bytes: blanks, controls, quotes, percent signs and whatever is no UTF-8 are kept as they are.
pub async fn odd_names_are_kept(t: &Lower) {
    let dir = t.dir("names").await;
    let rows: Vec<&Row> = t.tree.rows().iter().filter(|row| row.split().0 == b"names").collect();
    assert!(rows.len() > 10, "the sample declares odd names");
    for row in rows {
        // Each file holds its own name, so a mix-up shows.
        let content = dir.file(&name(row.split().1)).await.unwrap().read_at(0, 4096).await.unwrap();
        assert_eq!(&content[..], row.split().1, "{}", row.path.escape_ascii());
    }
}

/// A deep tree is reached level by level.
pub async fn deep_nesting_is_reached(t: &Lower) {
    let file = t.dir(deep("")).await.file(&name("leaf")).await.unwrap();
    assert_eq!(&file.read_at(0, 100).await.unwrap()[..], b"at the bottom");
}

/// `dir` answers `NotFound` for what is absent and `NotDir` for what is no directory.
pub async fn dir_of_another_kind_fails(t: &Lower) {
    let root = t.dir("").await;
    fails(root.dir(&name("absent")).await, ErrorKind::NotFound, "dir of an absent name");
    for row in t.tree.rows().iter().filter(|row| row.kind() != Some(Kind::Dir)) {
        let (dir, name) = t.place(row).await;
        let kind = if row.what == What::Whiteout { ErrorKind::NotFound } else { ErrorKind::NotDir };
        fails(dir.dir(&name).await, kind, &format!("dir of {name:?}"));
    }
}

/// `file` answers `NotFound` for what is absent, `IsDir` for a directory, `Invalid` for the rest.
pub async fn file_of_another_kind_fails(t: &Lower) {
    let root = t.dir("").await;
    fails(root.file(&name("absent")).await, ErrorKind::NotFound, "file of an absent name");
    for row in t.tree.rows().iter().filter(|row| row.kind() != Some(Kind::File)) {
        let (dir, name) = t.place(row).await;
        let kind = match row.kind() {
            None => ErrorKind::NotFound,
            Some(Kind::Dir) => ErrorKind::IsDir,
            Some(_) => ErrorKind::Invalid,
        };
        fails(dir.file(&name).await, kind, &format!("file of {name:?}"));
    }
}

/// Two objects never share an inode number, two names of one object do, and the numbers stay.
pub async fn inode_numbers_are_unique_and_stable(t: &Lower) {
    let root = t.dir("").await.attr().await.unwrap();
    let mut owners = HashMap::from([((root.dev, root.ino), Vec::new())]);
    let first = t.walk().await;
    for seen in &first {
        let Found::Entry(entry) = &seen.found else { continue };
        let linked = matches!(t.tree.row(&seen.path).map(|row| &row.what), Some(What::HardLink(_)));
        let other = owners.insert((entry.attr.dev, entry.attr.ino), seen.path.clone());
        let may_share = linked || other.as_ref().is_some_and(|other| is_link(t, other));
        assert!(other.is_none() || may_share, "{} shares its number", seen.path.escape_ascii());
    }
    let numbers = |walk: &[crate::conformance::walk::Seen]| -> BTreeSet<(Vec<u8>, u64)> {
        walk.iter().map(|seen| (seen.path.clone(), seen.listed.ino)).collect()
    };
    assert_eq!(numbers(&first), numbers(&t.walk().await), "the numbers of a second walk");
}

fn is_link(t: &Lower, path: &[u8]) -> bool {
    matches!(t.tree.row(path).map(|row| &row.what), Some(What::HardLink(_)))
}

/// Two names of one file have one inode number and count each other.
pub async fn hard_links_are_one_object(t: &Lower) {
    for row in t.tree.rows() {
        if let What::HardLink(existing) = &row.what {
            let (link, other) = (t.entry(&row.path).await.attr, t.entry(existing).await.attr);
            assert_eq!((link.ino, link.nlink), (other.ino, 2), "{}", row.path.escape_ascii());
        }
    }
}

/// A directory that holds nothing lists nothing.
pub async fn an_empty_directory_is_empty(t: &Lower) {
    if t.can.empty_dirs {
        let dir = t.dir("void").await;
        assert_eq!(dir.list().await.unwrap(), []);
        assert_eq!(dir.lookup(&name("x")).await.unwrap(), None);
    }
}
