//! Mounts that are changed while they are there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::io::ErrorKind;

use common::{Scene, means, names};
use overlay_kernel::remount;
use rustix::fs::{XattrFlags, setxattr};

#[test]
fn a_union_becomes_read_only_and_writable_again() {
    for means in means("a_union_becomes_read_only_and_writable_again") {
        let scene = Scene::new();
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        let merged = scene.path("merged");
        remount(&merged, Some(true)).unwrap();
        let refused = fs::write(scene.path("merged/new"), "").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ReadOnlyFilesystem);
        let line = &scene.mounts()[0];
        assert!(line.contains(" ro,") && line.contains(" overlay ro,"), "{line}");
        remount(&merged, None).unwrap();
        assert!(scene.mounts()[0].contains(" overlay ro,"), "as it was");
        remount(&merged, Some(false)).unwrap();
        fs::write(scene.path("merged/new"), "").unwrap();
        remount(&merged, None).unwrap();
        fs::write(scene.path("merged/newer"), "").unwrap();
    }
}

#[test]
fn an_upper_that_was_changed_behind_it_is_seen_anew() {
    for means in means("an_upper_that_was_changed_behind_it_is_seen_anew") {
        let scene = Scene::new();
        for layer in ["a", "upper"] {
            scene.make(&format!("{layer}/d"));
        }
        fs::write(scene.path("a/d/low"), "").unwrap();
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        assert_eq!(names(&scene.path("merged/d")), ["low"]);
        setxattr(scene.path("upper/d"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        remount(&scene.path("merged"), None).unwrap();
        assert!(names(&scene.path("merged/d")).is_empty(), "{means:?}");
    }
}

#[test]
fn a_union_without_an_upper_can_be_refreshed_and_not_made_writable() {
    for means in means("a_union_without_an_upper_can_be_refreshed_and_not_made_writable") {
        let scene = Scene::new();
        scene.mount(&scene.over(&["a", "b"]), means).unwrap();
        let merged = scene.path("merged");
        remount(&merged, None).unwrap();
        remount(&merged, Some(true)).unwrap();
        let error = remount(&merged, Some(false)).unwrap_err().to_string();
        assert!(
            error.contains("for writing (a union without an upper can only be read): Read-only"),
            "{error}"
        );
    }
}

#[test]
fn what_is_open_for_writing_stays_writable() {
    for means in means("what_is_open_for_writing_stays_writable") {
        let scene = Scene::new();
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        let file = fs::File::create(scene.path("merged/new")).unwrap();
        let error = remount(&scene.path("merged"), Some(true)).unwrap_err().to_string();
        assert!(error.contains("(files there are open for writing; close them first): Device"), "{error}");
        fs::write(scene.path("merged/newer"), "").unwrap();
        drop(file);
        remount(&scene.path("merged"), Some(true)).unwrap();
    }
}

#[test]
fn what_is_no_mount_point_is_refused() {
    if means("what_is_no_mount_point_is_refused").is_empty() {
        return;
    }
    let scene = Scene::new();
    let error = remount(&scene.path("a"), Some(true)).unwrap_err().to_string();
    assert!(error.contains("a (name the mount point itself): Invalid argument"), "{error}");
    let error = remount(&scene.path("gone"), None).unwrap_err().to_string();
    assert!(error.contains("cannot remount") && error.contains("gone: No such file"), "{error}");
}

#[test]
fn every_type_of_file_system_can_be_changed() {
    if means("every_type_of_file_system_can_be_changed").is_empty() {
        return;
    }
    let scene = Scene::new();
    let place = common::mounted(&scene, "tmpfs", "other");
    remount(&place, Some(true)).unwrap();
    assert_eq!(fs::write(place.join("x"), "").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    remount(&place, Some(false)).unwrap();
    fs::write(place.join("x"), "").unwrap();
}
