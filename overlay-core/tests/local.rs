//! The local-directory layers keep every promise of the contract.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

use std::path::Path;
use std::sync::Arc;

use overlay_core::conformance::{Capabilities, Tree, layer_suite, upper_suite};
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::{Layer, Result, UpperLayer};
use tempfile::TempDir;

fn directories() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("upper")).unwrap();
    std::fs::create_dir(dir.path().join("work")).unwrap();
    dir
}

fn options(dir: &Path) -> Result<LocalOptions> {
    Ok(LocalOptions::new(LocalUpper::namespace(&dir.join("work"))?))
}

async fn upper() -> Result<(Arc<dyn UpperLayer>, TempDir)> {
    let dir = directories();
    let upper = LocalUpper::open(&dir.path().join("upper"), &dir.path().join("work"), &options(dir.path())?)?;
    Ok((Arc::new(upper), dir))
}

/// Fills a directory through the upper, then opens it as a lower.
async fn lower(tree: &Tree) -> Result<(Arc<dyn Layer>, TempDir)> {
    let (upper, dir) = upper().await?;
    tree.write_to(&upper.upper_root().await?).await?;
    let layer = LocalLayer::open(&dir.path().join("upper"), &options(dir.path())?)?;
    Ok((Arc::new(layer), dir))
}

fn capabilities() -> Capabilities {
    let root = rustix::process::geteuid().is_root();
    Capabilities { owners: root, devices: root, ..Capabilities::ALL }
}

layer_suite!(local_layer, lower, capabilities());
upper_suite!(local_upper, upper, capabilities());

/// The wrappers that show other owners than the disk's, over real inodes, ACLs and xattrs.
mod wrapped {
    use overlay_core::ids::{self, IdMap, Ids, Owners};
    use overlay_core::override_stat::{self, Form};

    use super::*;

    /// Ids that the suites set, moved up; what the process makes (0, or its own id) stays among those that are mapped.
    fn owners() -> Owners {
        let map = IdMap::parse("0:100000:100000:100000:0:100000:200000:200000:4000000").ok();
        let ids = Ids { map, squash: None };
        Owners { uids: ids.clone(), gids: ids }
    }

    async fn mapped_upper() -> Result<(Arc<dyn UpperLayer>, TempDir)> {
        let (upper, dir) = upper().await?;
        Ok((ids::shown_upper(upper, &owners()), dir))
    }

    async fn told_upper() -> Result<(Arc<dyn UpperLayer>, TempDir)> {
        let (upper, dir) = upper().await?;
        Ok((override_stat::overridden_upper(upper, Form::Containers), dir))
    }

    async fn mapped_lower(tree: &Tree) -> Result<(Arc<dyn Layer>, TempDir)> {
        let (upper, dir) = mapped_upper().await?;
        tree.write_to(&upper.upper_root().await?).await?;
        let layer = LocalLayer::open(&dir.path().join("upper"), &options(dir.path())?)?;
        Ok((ids::shown(Arc::new(layer), &owners()), dir))
    }

    async fn told_lower(tree: &Tree) -> Result<(Arc<dyn Layer>, TempDir)> {
        let (upper, dir) = told_upper().await?;
        tree.write_to(&upper.upper_root().await?).await?;
        let layer = LocalLayer::open(&dir.path().join("upper"), &options(dir.path())?)?;
        Ok((override_stat::overridden(Arc::new(layer), Form::Containers), dir))
    }

    layer_suite!(mapped_lower_layer, mapped_lower, capabilities());
    upper_suite!(mapped_upper_layer, mapped_upper, capabilities());
    layer_suite!(told_lower_layer, told_lower, capabilities());
    upper_suite!(told_upper_layer, told_upper, capabilities());
}

/// A lower that others wrote, with marks of every kind that is read.
mod marks {
    use std::fs;

    use overlay_core::Name;
    use overlay_core::conformance::block_on;
    use overlay_core::entry::Found;
    use overlay_core::local::{LocalLayer, LocalOptions};
    use overlay_core::marker::kernel::Namespace;
    use overlay_core::marker::oci::OciMarkers;
    use overlay_core::{Layer, ListEntry};
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

    fn set(path: impl AsRef<std::path::Path>, key: &str, value: &[u8]) {
        setxattr(path.as_ref(), key, value, XattrFlags::empty()).unwrap();
    }

    fn open(dir: &std::path::Path, fuse_overlayfs: bool) -> LocalLayer {
        let options = LocalOptions { fuse_overlayfs, ..LocalOptions::new(Namespace::User) };
        LocalLayer::open(dir, &options).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn devices_and_xattrs_delete_only_where_the_kernel_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir(at("marked")).unwrap();
        fs::create_dir(at("plain")).unwrap();
        set(at("marked"), "user.overlay.opaque", b"x");
        for file in ["marked/gone", "marked/stays", "plain/stays"] {
            fs::write(at(file), "").unwrap();
        }
        for file in ["marked/gone", "plain/stays"] {
            set(at(file), "user.overlay.whiteout", b"");
        }
        mknodat(CWD, at("device"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        block_on(async {
            let root = open(dir.path(), false).root().await.unwrap();
            assert_eq!(root.lookup(&name("device")).await.unwrap(), Some(Found::Whiteout));
            let marked = root.dir(&name("marked")).await.unwrap();
            assert_eq!(marked.lookup(&name("gone")).await.unwrap(), Some(Found::Whiteout));
            assert!(marked.lookup(&name("stays")).await.unwrap().unwrap().entry().is_some());
            let gone = |rows: Vec<ListEntry>| rows.iter().filter(|row| row.whiteout).count();
            assert_eq!(gone(marked.list().await.unwrap()), 1);
            let plain = root.dir(&name("plain")).await.unwrap();
            assert!(plain.lookup(&name("stays")).await.unwrap().unwrap().entry().is_some());
            assert_eq!(gone(plain.list().await.unwrap()), 0);
            let entry = root.lookup(&name("marked")).await.unwrap().unwrap().entry().unwrap();
            assert!(!entry.opaque, "`x` says that it holds whiteouts, not that it is opaque");
        });
    }

    #[test]
    fn marks_of_fuse_overlayfs_and_of_images_count_where_they_are_declared() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["own", "image", "kernel"] {
            fs::create_dir(at(path)).unwrap();
        }
        set(at("own"), "user.fuseoverlayfs.opaque", b"y");
        set(at("kernel"), "user.overlay.opaque", b"y");
        fs::write(at("image/.wh..wh..opq"), "").unwrap();
        fs::write(at(".wh.deleted"), "").unwrap();
        block_on(async {
            let declared = OciMarkers::new(std::sync::Arc::new(open(dir.path(), true)));
            for (layer, declared) in [(declared.root(), true), (open(dir.path(), false).root(), false)] {
                let root = layer.await.unwrap();
                for (path, opaque) in [("own", declared), ("image", declared), ("kernel", true)] {
                    let entry = root.lookup(&name(path)).await.unwrap().unwrap().entry().unwrap();
                    assert_eq!(entry.opaque, opaque, "{path}, declared: {declared}");
                }
                let deleted = root.lookup(&name("deleted")).await.unwrap() == Some(Found::Whiteout);
                assert_eq!(deleted, declared);
            }
        });
    }

    #[test]
    fn private_xattrs_are_hidden_and_nested_ones_shown_without_a_level() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        for key in ["user.overlay.origin", "user.overlay.overlay.opaque", "user.overlayfoo", "user.k"] {
            set(&file, key, b"v");
        }
        block_on(async {
            let root = open(dir.path(), false).root().await.unwrap();
            let file = name("f");
            let mut keys = root.xattr_keys(overlay_core::Target::Child(&file)).await.unwrap();
            keys.sort();
            assert_eq!(keys, [&b"user.k"[..], b"user.overlay.opaque", b"user.overlayfoo"]);
        });
    }
}
