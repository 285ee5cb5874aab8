//! The encoding, its costs and its errors, over layers in memory.

use std::collections::BTreeMap;

use super::*;
use crate::conformance::{Faults, Row, Tree, What, block_on, layer_suite};
use crate::memory::{MemoryBuilder, MemoryLayer};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn sample() -> MemoryBuilder {
    MemoryLayer::builder("oci")
        .file("plain", "p")
        .file(".wh.gone", "")
        .file("both", "b")
        .file(".wh.both", "")
        .file("replaced/in", "i")
        .file(".wh.replaced", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/in", "i")
        .file("clear/in", "i")
        .file(".wh..wh.aufs", "")
        .dir(".wh..wh.plnk")
        .file(".wh.", "")
        .file(".wh..", "")
        .file(".wh...", "")
        .file(".wh..wh..opq", "")
        .file("wh.ordinary", "")
        .whiteout("native")
        .file(".wh.native", "")
        .file("undeleted", "")
        .whiteout(".wh.undeleted-too")
}

/// The layer, and the counter of the calls that reach what it wraps.
fn wrapped() -> (Arc<dyn Layer>, Faults) {
    let faults = Faults::new();
    let inner = faults.layer(Arc::new(sample().build().unwrap()));
    (OciMarkers::new(inner), faults)
}

fn lookup(layer: &Arc<dyn Layer>, text: &str) -> Result<Option<Found>> {
    block_on(async { layer.root().await?.lookup(&name(text)).await })
}

fn is_opaque(layer: &Arc<dyn Layer>, text: &str) -> bool {
    lookup(layer, text).unwrap().unwrap().entry().unwrap().opaque
}

#[test]
fn a_marker_deletes_its_name() {
    let (layer, _) = wrapped();
    for text in ["gone", "native"] {
        assert_eq!(lookup(&layer, text).unwrap(), Some(Found::Whiteout), "{text}");
    }
    assert_eq!(lookup(&layer, "absent").unwrap(), None);
    assert_eq!(lookup(&layer, "undeleted-too").unwrap(), None, "a marker that the layer deletes is none");
}

#[test]
fn a_name_beside_its_marker_is_shown() {
    let (layer, _) = wrapped();
    assert!(matches!(lookup(&layer, "both").unwrap(), Some(Found::Entry(entry)) if !entry.opaque));
    assert!(is_opaque(&layer, "replaced"), "the marker hides what the layers below hold under the name");
}

#[test]
fn the_opaque_marker_concerns_its_own_directory() {
    let (layer, _) = wrapped();
    assert!(is_opaque(&layer, "opaque") && !is_opaque(&layer, "clear"));
}

#[test]
fn marker_names_are_absent() {
    let (layer, _) = wrapped();
    let root = block_on(layer.root()).unwrap();
    for text in
        [".wh.gone", ".wh.both", ".wh..wh.aufs", ".wh..wh.plnk", ".wh.", ".wh..", ".wh..wh..opq", ".wh.none"]
    {
        let name = name(text);
        let target = Target::Child(&name);
        assert_eq!(lookup(&layer, text).unwrap(), None, "{text}");
        let not_found = |error: Error| assert_eq!(error.kind(), Kind::NotFound, "{text}");
        block_on(root.dir(&name)).map(drop).map_err(not_found).unwrap_err();
        block_on(root.file(&name)).map(drop).map_err(not_found).unwrap_err();
        block_on(root.read_link(&name)).map_err(not_found).unwrap_err();
        block_on(root.xattr(target, b"user.x")).map_err(not_found).unwrap_err();
        block_on(root.xattr_keys(target)).map_err(not_found).unwrap_err();
        block_on(root.flags(target)).map_err(not_found).unwrap_err();
    }
}

#[test]
fn lists_show_names_and_whiteouts_once() {
    let (layer, _) = wrapped();
    let root = block_on(layer.root()).unwrap();
    let rows = block_on(root.list()).unwrap();
    let shown: BTreeMap<String, bool> = rows.iter().map(|row| (row.name.to_string(), row.whiteout)).collect();
    assert_eq!(shown.len(), rows.len(), "each name once");
    let objects = ["both", "clear", "opaque", "plain", "replaced", "undeleted", "wh.ordinary"]
        .map(|name| (name, false));
    let expected = objects.into_iter().chain([("gone", true), ("native", true)]);
    assert_eq!(shown, expected.map(|(name, whiteout)| (name.to_owned(), whiteout)).collect());
    let inner = block_on(async { root.dir(&name("opaque")).await?.list().await }).unwrap();
    assert_eq!(inner.len(), 1, "markers of directories below are read too");
}

#[test]
fn look_ups_cost_what_they_must() {
    let (layer, faults) = wrapped();
    let root = block_on(layer.root()).unwrap();
    // Name, calls of the layer: opening a directory to see its marker is a call of its own.
    for (text, calls) in [
        ("plain", 1),
        ("both", 1),
        ("native", 1),
        ("gone", 2),
        ("absent", 2),
        ("replaced", 2),
        ("opaque", 4),
        ("clear", 4),
        (".wh.gone", 0),
    ] {
        let before = faults.calls();
        block_on(root.lookup(&name(text))).unwrap();
        assert_eq!(faults.calls() - before, calls, "{text}");
    }
}

#[test]
fn an_error_is_never_absence() {
    let (layer, faults) = wrapped();
    for (text, failing) in [
        ("absent", ".wh.absent"),
        ("gone", ".wh.gone"),
        ("clear", ".wh.clear"),
        ("clear", ".wh..wh..opq"),
        ("plain", "plain"),
    ] {
        let failing = name(failing);
        faults.fail_if(Kind::Io, move |call| call.op == "lookup" && call.name == Some(&failing));
        assert_eq!(lookup(&layer, text).unwrap_err().kind(), Kind::Io, "{text}");
    }
    faults.fail_if(Kind::Access, |call| call.op == "list");
    assert_eq!(block_on(async { layer.root().await?.list().await }).unwrap_err().kind(), Kind::Access);
}

#[test]
fn a_name_too_long_for_a_marker_is_simply_absent() {
    let (layer, _) = wrapped();
    assert_eq!(lookup(&layer, &"n".repeat(252)).unwrap(), None);
}

/// The same tree with its whiteouts and opaque directories written as names.
fn encoded(tree: &Tree) -> Tree {
    tree.rows().iter().fold(Tree::new(), |tree, row| {
        let opaque = row.opaque.then(|| [&row.path, &b"/"[..], OPAQUE].concat());
        let tree = tree.push(Row { opaque: false, ..encoded_name(row) });
        opaque.into_iter().fold(tree, |tree, path| tree.file(path, ""))
    })
}

fn encoded_name(row: &Row) -> Row {
    if row.what != What::Whiteout {
        return row.clone();
    }
    let (_, name) = row.split();
    let path = [&row.path[..row.path.len() - name.len()], PREFIX, name].concat();
    Row { path, what: What::File(Default::default()), ..row.clone() }
}

async fn make(tree: &Tree) -> Result<(Arc<dyn Layer>, ())> {
    Ok((OciMarkers::new(Arc::new(encoded(tree).to_memory("oci")?)), ()))
}

layer_suite!(markers_over_memory, make);
