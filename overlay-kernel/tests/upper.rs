//! Uppers that can be one and uppers that cannot.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::path::Path;

use common::{Scene, means, names};
use overlay_kernel::{KernelError, Means, Plan, Upper, upper_refusal, upper_refusal_with};

fn pair(root: &Path) -> Upper {
    let upper = Upper { upper: root.join("u"), work: root.join("w") };
    fs::create_dir(&upper.upper).unwrap();
    fs::create_dir(&upper.work).unwrap();
    upper
}

fn refused(upper: &Upper, words: &str) {
    let sentence = upper_refusal(upper).unwrap().unwrap();
    assert!(sentence.contains(words), "{sentence}");
    assert!(names(&upper.work).is_empty(), "nothing is left behind");
}

#[test]
fn a_good_one_is_found_good_and_left_as_it_is() {
    let scene = Scene::new();
    let mut uppers = vec![scene.upper().unwrap()];
    if !means("a_good_one_is_found_good_and_left_as_it_is").is_empty() {
        uppers.push(pair(&common::mounted(&scene, "tmpfs", "other")));
        assert_eq!(upper_refusal_with(&uppers[0], false).unwrap(), None);
    }
    for upper in uppers {
        assert_eq!(upper_refusal(&upper).unwrap(), None);
        assert_eq!(upper_refusal_with(&upper, true).unwrap(), None);
        assert!(names(&upper.work).is_empty() && names(&upper.upper).is_empty());
    }
}

#[test]
fn one_without_attributes_is_refused() {
    if means("one_without_attributes_is_refused").is_empty() {
        return;
    }
    let scene = Scene::new();
    let upper = pair(&common::mounted(&scene, "ramfs", "other"));
    refused(&upper, "/u can be no upper: its file system keeps no trusted attributes");
    let sentence = upper_refusal_with(&upper, true).unwrap().unwrap();
    assert!(sentence.contains("keeps no user attributes (setxattr user.overlay.trial: "), "{sentence}");
    assert!(names(&upper.work).is_empty());
}

#[test]
fn an_overlay_is_refused() {
    for means in means("an_overlay_is_refused") {
        let scene = Scene::new();
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        refused(&pair(&scene.path("merged")), "makes no whiteouts (mknod 0:0: Operation not permitted");
    }
}

#[test]
fn one_that_cannot_be_written_is_refused() {
    for means in means("one_that_cannot_be_written_is_refused") {
        let scene = Scene::new();
        let upper = pair(&scene.path("a"));
        let read = Upper { upper: scene.path("merged/u"), work: scene.path("merged/w") };
        scene.mount(&scene.over(&["a", "b"]), means).unwrap();
        refused(&read, "its file system is read-only (mkdir: Read-only file system");
        assert!(names(&upper.work).is_empty());
    }
}

#[test]
fn what_cannot_be_found_out_is_an_error() {
    let scene = Scene::new();
    let upper = Upper { upper: scene.path("upper"), work: scene.path("gone") };
    let error = upper_refusal(&upper).unwrap_err();
    assert!(matches!(error, KernelError::Trial { .. }));
    assert!(error.to_string().ends_with("gone: open: No such file or directory (os error 2)"), "{error}");
}

#[test]
fn what_is_found_good_is_an_upper() {
    for means in means("what_is_found_good_is_an_upper") {
        let scene = Scene::new();
        let upper = scene.upper().unwrap();
        assert_eq!(upper_refusal(&upper).unwrap(), None);
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        // And while it is one: nothing of the mount is touched.
        assert_eq!(upper_refusal(&upper).unwrap(), None);
        assert_eq!(names(&upper.work), ["work"]);
    }
}

#[test]
fn the_kernel_itself_takes_what_is_refused_here() {
    if means("the_kernel_itself_takes_what_is_refused_here").is_empty() {
        return;
    }
    let scene = Scene::new();
    let upper = Some(pair(&common::mounted(&scene, "ramfs", "other")));
    let plan = Plan::new(&overlay_kernel::Request { upper, ..scene.over(&["a", "b"]) }).unwrap();
    let merged = scene.path("merged");
    overlay_kernel::mount(&plan, &[], Means::Legacy, &merged, &scene.path("run")).unwrap();
}
