//! Redirects of directories on the reference layers: what they mean to a reader, and what a rename writes.

use std::sync::Arc;

use super::tests::{find, name, read, split, tree};
use super::{Overlay, OverlayOptions, ROOT, RedirectDir};
use crate::conformance::block_on;
use crate::entry::Found;
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Layer, UpperLayer};
use crate::memory::{MemoryBuilder, MemoryLayer, MemoryUpper};
use crate::merge::plan::RenameMode;
use crate::stack::Stack;

fn built(builder: MemoryBuilder) -> Arc<dyn Layer> {
    Arc::new(builder.build().unwrap())
}

async fn open(
    upper: Option<&Arc<MemoryUpper>>,
    lowers: Vec<Arc<dyn Layer>>,
    how: RedirectDir,
) -> Arc<Overlay> {
    let upper = upper.map(|upper| upper.clone() as Arc<dyn UpperLayer>);
    let options = OverlayOptions { redirect_dir: how, ..OverlayOptions::default() };
    Overlay::new(Stack::new(upper, lowers).unwrap(), options).await.unwrap()
}

async fn mv(overlay: &Overlay, from: &str, to: &str) -> Result<()> {
    let ((from, old), (to, new)) = (split(overlay, from).await?, split(overlay, to).await?);
    overlay.rename(from, &old, to, &new, RenameMode::Replace).await
}

/// The redirect mark of an object of a layer.
async fn mark(layer: &MemoryUpper, path: &str) -> Option<String> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let mut dir = layer.root().await.unwrap();
    for part in above.split('/').filter(|part| !part.is_empty()) {
        dir = dir.dir(&name(part)).await.unwrap();
    }
    let entry = dir.lookup(&name(last)).await.unwrap().and_then(Found::entry).unwrap();
    entry.redirect.map(|mark| String::from_utf8(mark).unwrap())
}

fn two_lowers() -> Vec<Arc<dyn Layer>> {
    let top = MemoryLayer::builder("top").file("a/b/top", "").dir("x").file("p/in", "");
    vec![built(top), built(MemoryLayer::builder("bottom").file("a/b/c/deep", "deep").file("a/g", ""))]
}

#[test]
fn renames_write_what_the_kernel_writes() {
    block_on(async {
        let upper = Arc::new(MemoryUpper::new("upper"));
        let overlay = open(Some(&upper), two_lowers(), RedirectDir::On).await;
        // Each line: what was seen in the upper after the same command on the kernel's overlayfs (6.18).
        for (from, to, wanted) in [
            ("a", "a2", "a"),
            ("a2/b", "x/b2", "/a/b"),
            ("x/b2/c", "c2", "/a/b/c"),
            ("a2", "x/a3", "/a"),
            ("x/a3", "x/a4", "/a"),
        ] {
            mv(&overlay, from, to).await.unwrap_or_else(|error| panic!("{from} {to}: {error}"));
            assert_eq!(mark(&upper, to).await.as_deref(), Some(wanted), "{from} {to}");
        }
        let seen = tree(&overlay).await.unwrap();
        let paths: Vec<_> = seen.keys().map(String::as_str).collect();
        let wanted = ["/c2", "/c2/deep", "/p", "/p/in", "/x", "/x/a4", "/x/a4/g", "/x/b2", "/x/b2/top"];
        assert_eq!(paths, wanted);
        let again = open(Some(&Arc::new(upper.reopen().unwrap())), two_lowers(), RedirectDir::Follow).await;
        assert_eq!(tree(&again).await.unwrap(), seen, "after a remount");
        let alone =
            open(None, [vec![upper as Arc<dyn Layer>], two_lowers()].concat(), RedirectDir::Off).await;
        assert_eq!(tree(&alone).await.unwrap(), seen, "as a lower");
        assert_eq!(read(&alone, find(&alone, "c2/deep").await.unwrap()).await.unwrap(), "deep");
    });
}

#[test]
fn a_directory_of_the_upper_takes_what_was_redirected_with_it() {
    block_on(async {
        let upper = Arc::new(MemoryLayer::builder("upper").dir("pure").build_upper().unwrap());
        let overlay = open(Some(&upper), two_lowers(), RedirectDir::On).await;
        for (from, to) in [("p", "pure/p"), ("pure", "pure2"), ("pure2/p", "pure2/p2"), ("pure2/p2", "p3")] {
            mv(&overlay, from, to).await.unwrap();
        }
        assert_eq!(mark(&upper, "p3").await.as_deref(), Some("/p"));
        assert_eq!(mark(&upper, "pure2").await, None);
        mv(&overlay, "p3", "p").await.unwrap();
        assert!(find(&overlay, "p/in").await.is_ok());
    });
}

#[test]
fn without_redirects_such_a_directory_stays_and_nothing_is_copied_up() {
    block_on(async {
        for how in [RedirectDir::Follow, RedirectDir::NoFollow, RedirectDir::Off] {
            let upper = Arc::new(MemoryUpper::new("upper"));
            let overlay = open(Some(&upper), two_lowers(), how).await;
            let error = mv(&overlay, "a", "moved").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CrossDevice, "{how:?}");
            assert_eq!(upper.root().await.unwrap().list().await.unwrap(), []);
        }
    });
}

#[test]
fn a_path_that_is_too_long_for_a_mark_stays() {
    block_on(async {
        let long = format!("{}/{}", "x".repeat(200), "y".repeat(200));
        let lower = || vec![built(MemoryLayer::builder("lower").dir(&long).file(format!("{long}/in"), ""))];
        let upper = Arc::new(MemoryUpper::new("upper"));
        let overlay = open(Some(&upper), lower(), RedirectDir::On).await;
        assert_eq!(mv(&overlay, &long, "moved").await.unwrap_err().kind(), ErrorKind::CrossDevice);
        assert!(find(&overlay, &long).await.is_ok());
        mv(&overlay, &long, &format!("{}/z", "x".repeat(200))).await.unwrap();
    });
}

#[test]
fn marks_that_cannot_be_followed_are_errors_of_the_look_up_and_hide_nothing_else() {
    block_on(async {
        for (value, how, kind) in [
            ("a", RedirectDir::NoFollow, ErrorKind::NotPermitted),
            ("a/b", RedirectDir::On, ErrorKind::Invalid),
            ("", RedirectDir::Off, ErrorKind::Invalid),
            ("/..", RedirectDir::Follow, ErrorKind::Access),
        ] {
            let top = built(MemoryLayer::builder("top").dir("r").redirect(value).file("other", ""));
            let overlay = open(None, [vec![top], two_lowers()].concat(), how).await;
            assert_eq!(overlay.lookup(ROOT, &name("r")).await.unwrap_err().kind(), kind, "{value:?}");
            assert!(find(&overlay, "other").await.is_ok());
        }
    });
}
