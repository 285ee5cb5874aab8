//! Files without their data on the reference layers: how they are read, what is written, when they get their data.

use std::sync::Arc;

use super::tests::{find, name, read, split};
use super::{Change, Open, Overlay, OverlayOptions, ROOT};
use crate::attr::SetAttr;
use crate::conformance::{Faults, block_on};
use crate::entry::{Entry, Found};
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Layer, UpperLayer};
use crate::memory::{MemoryBuilder, MemoryLayer, MemoryUpper};
use crate::merge::plan::RenameMode;
use crate::stack::Stack;

fn built(builder: MemoryBuilder) -> Arc<dyn Layer> {
    Arc::new(builder.build().unwrap())
}

fn lower() -> Arc<dyn Layer> {
    built(
        MemoryLayer::builder("lower")
            .file("d/f", "content")
            .file("g", "other")
            .file("two", "2")
            .hard_link("d/two", "two"),
    )
}

async fn open(upper: &Arc<MemoryUpper>, faults: &Faults) -> Arc<Overlay> {
    let options = OverlayOptions { metacopy: true, ..OverlayOptions::default() };
    let upper: Arc<dyn UpperLayer> = upper.clone();
    Overlay::new(Stack::new(Some(upper), vec![faults.layer(lower())]).unwrap(), options).await.unwrap()
}

async fn read_only(lowers: Vec<Arc<dyn Layer>>, data: Vec<Arc<dyn Layer>>) -> Arc<Overlay> {
    Overlay::new(Stack::with_data(None, lowers, data).unwrap(), OverlayOptions::default()).await.unwrap()
}

async fn mv(overlay: &Overlay, from: &str, to: &str) {
    let ((from, old), (to, new)) = (split(overlay, from).await.unwrap(), split(overlay, to).await.unwrap());
    overlay.rename(from, &old, to, &new, RenameMode::Replace).await.unwrap();
}

async fn chmod(overlay: &Overlay, path: &str) {
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    let change = Change { set, kill_privilege: false };
    overlay.setattr(find(overlay, path).await.unwrap(), None, &change).await.unwrap();
}

async fn write(overlay: &Overlay, path: &str, truncate: bool) -> Result<()> {
    let handle = overlay.open(find(overlay, path).await?, Open { write: true, truncate }).await?;
    let written = overlay.write(handle, 0, b"C", false).await;
    overlay.release(handle);
    written
}

async fn entry(layer: &MemoryUpper, path: &str) -> Entry {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = layer.root().await.unwrap();
    for part in above.split('/').filter(|part| !part.is_empty()) {
        dir = dir.dir(&name(part)).await.unwrap();
    }
    dir.lookup(&name(last)).await.unwrap().and_then(Found::entry).unwrap()
}

/// Whether an upper object lacks its data, and its redirect.
async fn marks(layer: &MemoryUpper, path: &str) -> (bool, Option<String>) {
    let entry = entry(layer, path).await;
    (entry.metacopy, entry.redirect.map(|mark| String::from_utf8(mark).unwrap()))
}

#[test]
fn changes_of_attributes_and_names_copy_no_data_and_write_what_the_kernel_writes() {
    block_on(async {
        let (upper, faults) = (Arc::new(MemoryUpper::new("upper")), Faults::new());
        let overlay = open(&upper, &faults).await;
        faults.fail_if(ErrorKind::Io, |call| call.op == "read_at");
        chmod(&overlay, "d/f").await;
        assert_eq!(marks(&upper, "d/f").await, (true, None));
        mv(&overlay, "d/f", "d/f2").await;
        assert_eq!(marks(&upper, "d/f2").await, (true, Some("f".into())));
        mv(&overlay, "d/f2", "f3").await;
        assert_eq!(marks(&upper, "f3").await, (true, Some("/d/f".into())));
        overlay.link(find(&overlay, "g").await.unwrap(), ROOT, &name("g2")).await.unwrap();
        assert_eq!(marks(&upper, "g2").await, (true, Some("/g".into())));
        mv(&overlay, "two", "second").await;
        assert_eq!(marks(&upper, "second").await, (true, Some("/two".into())), "it has two names below");
        let attr = entry(&upper, "f3").await.attr;
        assert_eq!((attr.size, attr.blocks, attr.mode), (7, 0, 0o600));
        let seen = overlay.getattr(find(&overlay, "f3").await.unwrap()).await.unwrap();
        assert_eq!((seen.size, seen.blocks), (7, 8), "the blocks are those of the data");
        faults.clear();
        for (path, content) in [("f3", "content"), ("g", "other"), ("g2", "other"), ("second", "2")] {
            assert_eq!(read(&overlay, find(&overlay, path).await.unwrap()).await.unwrap(), content);
        }
    });
}

#[test]
fn the_data_comes_when_somebody_writes_to_any_of_the_names() {
    block_on(async {
        let upper = Arc::new(MemoryUpper::new("upper"));
        let overlay = open(&upper, &Faults::new()).await;
        let g = find(&overlay, "g").await.unwrap();
        overlay.link(g, ROOT, &name("g2")).await.unwrap();
        let early = overlay.open(g, Open::default()).await.unwrap();
        let before = overlay.getattr(g).await.unwrap();
        let handle = overlay.open(g, Open { write: true, truncate: false }).await.unwrap();
        let after = overlay.getattr(g).await.unwrap();
        assert_eq!((after.mtime, after.atime, after.size), (before.mtime, before.atime, before.size));
        overlay.write(handle, 0, b"O", false).await.unwrap();
        assert_eq!(&overlay.read(early, 0, 64).await.unwrap()[..], b"Other", "opened before");
        for path in ["g", "g2"] {
            assert_eq!(
                marks(&upper, path).await,
                (false, Some("/g".into())),
                "the redirect stays, as the kernel's"
            );
        }
        let again = open(&Arc::new(upper.reopen().unwrap()), &Faults::new()).await;
        assert_eq!(read(&again, find(&again, "g2").await.unwrap()).await.unwrap(), "Other");
    });
}

#[test]
fn a_file_that_is_cut_to_nothing_needs_no_data() {
    block_on(async {
        let (upper, faults) = (Arc::new(MemoryUpper::new("upper")), Faults::new());
        let overlay = open(&upper, &faults).await;
        chmod(&overlay, "g").await;
        let ino = find(&overlay, "g").await.unwrap();
        faults.fail_if(ErrorKind::Io, |call| matches!(call.op, "read_at" | "file"));
        write(&overlay, "g", true).await.unwrap();
        assert_eq!(marks(&upper, "g").await, (false, None));
        assert_eq!(read(&overlay, ino).await.unwrap(), "C");
        assert_eq!(overlay.getattr(ino).await.unwrap().mode, 0o600);
        overlay.forget(ino, u64::MAX);
        assert_eq!(find(&overlay, "g").await.unwrap(), ino, "the number stays");
    });
}

#[test]
fn data_that_cannot_be_had_is_an_error_and_the_file_stays_as_it_is() {
    block_on(async {
        let (upper, faults) = (Arc::new(MemoryUpper::new("upper")), Faults::new());
        let overlay = open(&upper, &faults).await;
        chmod(&overlay, "g").await;
        faults.fail_if(ErrorKind::Access, |call| call.op == "read_at");
        assert_eq!(write(&overlay, "g", false).await.unwrap_err().kind(), ErrorKind::Access);
        faults.clear();
        assert_eq!(marks(&upper, "g").await, (true, None));
        assert_eq!(read(&overlay, find(&overlay, "g").await.unwrap()).await.unwrap(), "other");
        write(&overlay, "g", false).await.unwrap();
        assert_eq!(read(&overlay, find(&overlay, "g").await.unwrap()).await.unwrap(), "Cther");
    });
}

#[test]
fn data_is_found_down_a_chain_and_its_absence_is_an_error() {
    let copy = |label: &str, to: &str| {
        built(MemoryLayer::builder(label).sparse("d/f", 4, &[]).metacopy().redirect(to))
    };
    let bottom = || built(MemoryLayer::builder("bottom").file("data", "DATA").dir("dir"));
    block_on(async {
        let chain = read_only(vec![copy("top", "f"), copy("middle", "/data"), bottom()], Vec::new()).await;
        assert_eq!(read(&chain, find(&chain, "d/f").await.unwrap()).await.unwrap(), "DATA");
        for (lowers, what) in [
            (vec![copy("top", "/gone"), bottom()], "nothing is there"),
            (vec![copy("top", "/dir"), bottom()], "a directory is there"),
            (vec![bottom(), copy("last", "/data")], "nothing is below"),
        ] {
            let overlay = read_only(lowers, Vec::new()).await;
            let d = find(&overlay, "d").await.unwrap();
            assert_eq!(overlay.lookup(d, &name("f")).await.unwrap_err().kind(), ErrorKind::Io, "{what}");
        }
    });
}

#[test]
fn data_only_layers_lend_data_by_path_and_show_nothing() {
    let top = || {
        let blob = MemoryLayer::builder("top").sparse("f", 5, &[]).metacopy().redirect("/ab/cd");
        built(blob.sparse("lost", 5000, &[]).metacopy().redirect("/ab/lost"))
    };
    let empty = || built(MemoryLayer::builder("empty").dir("ab"));
    let blobs = || built(MemoryLayer::builder("blobs").file("ab/cd", "bytes").file("seen", ""));
    block_on(async {
        let overlay = read_only(vec![top()], vec![empty(), blobs()]).await;
        assert_eq!(read(&overlay, find(&overlay, "f").await.unwrap()).await.unwrap(), "bytes");
        assert!(overlay.lookup(ROOT, &name("seen")).await.unwrap().is_none());
        let lost = overlay.lookup(ROOT, &name("lost")).await.unwrap().unwrap();
        assert_eq!((lost.size, lost.blocks), (5000, 16), "nobody looks for the data before it is read");
        assert_eq!(read(&overlay, lost.ino).await.unwrap_err().kind(), ErrorKind::Io);

        let upper = Arc::new(MemoryUpper::new("upper"));
        let stack = Stack::with_data(Some(upper.clone()), vec![top()], vec![blobs()]).unwrap();
        let options = OverlayOptions { metacopy: true, ..OverlayOptions::default() };
        let overlay = Overlay::new(stack, options).await.unwrap();
        chmod(&overlay, "f").await;
        mv(&overlay, "f", "moved").await;
        assert_eq!(marks(&upper, "moved").await, (true, Some("f".into())));
        assert_eq!(read(&overlay, find(&overlay, "moved").await.unwrap()).await.unwrap(), "bytes");
        write(&overlay, "moved", false).await.unwrap();
        assert_eq!(read(&overlay, find(&overlay, "moved").await.unwrap()).await.unwrap(), "Cytes");
    });
}
