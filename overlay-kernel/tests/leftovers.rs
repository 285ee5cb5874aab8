//! No descriptor, mount or directory is left over; alone in its process, since it counts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::os::fd::AsFd;

use common::{Scene, means_with_mounts, names, options, tmpfs};
use overlay_kernel::{Lower, Means, Offer, Plan, Request, Upper, detached, remount, upper_refusal};

/// What this process holds: descriptors, threads.
fn held() -> (usize, usize) {
    let count = |path: &str| fs::read_dir(path).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// All that can be done by `means`, and much that fails.
fn everything(scene: &Scene, means: Means) {
    let mount = tmpfs(&["x"]);
    let lower = |index| Lower::Mount { index, name: "m".into() };
    let lowers = vec![lower(0), scene.lower("a"), scene.lower("b")];
    let good = Request { lowers, ..scene.writable(&[]) };
    let mounted = scene.mount_with(&good, &[mount.as_fd()], means).unwrap();
    for read_only in [Some(true), None, Some(false)] {
        remount(&scene.path("merged"), read_only).unwrap();
    }
    mounted.unmount().unwrap();
    scene.mount_with(&Request { lowers: vec![lower(1)], ..good.clone() }, &[], means).unwrap_err();
    scene
        .mount_with(&Request { lowers: vec![lower(0), lower(0)], ..good }, &[mount.as_fd()], means)
        .unwrap_err();
    scene.mount(&scene.over(&["a", "a"]), means).unwrap_err();
    scene.mount(&scene.over(&["a", "gone"]), means).unwrap_err();
    let context = Request { options: options(&["context=x"]), ..scene.over(&["a", "b"]) };
    scene.mount(&context, means).unwrap_err();
    let plan = Plan::new(&scene.over(&["a", "b"])).unwrap();
    overlay_kernel::mount(&plan, &[], means, &scene.path("gone"), &scene.path("run")).unwrap_err();
    assert_eq!(detached(&plan, &[], means, &scene.path("run")).is_ok(), means != Means::Legacy);
    let many: Vec<_> = (0..100).map(|at| format!("{}{at}", "x".repeat(80))).collect();
    let many: Vec<_> = many.iter().map(|name| scene.make(name).file_name().unwrap().to_owned()).collect();
    let many: Vec<_> = many.iter().map(|name| name.to_str().unwrap()).collect();
    scene.mount(&scene.over(&many), means).unwrap().unmount().unwrap();
    assert_eq!(upper_refusal(&scene.upper().unwrap()).unwrap(), None);
    let gone = Upper { upper: scene.path("upper"), work: scene.path("gone") };
    upper_refusal(&gone).unwrap_err();
    assert!(Offer::probe().is_any());
}

#[test]
fn nothing_is_left_over() {
    for means in means_with_mounts("nothing_is_left_over") {
        let scene = Scene::new();
        let before = held();
        everything(&scene, means);
        assert_eq!(held(), before, "{means:?}");
        assert!(scene.mounts().is_empty(), "{means:?}");
        assert!(names(&scene.path("run")).is_empty());
        assert_eq!(names(&scene.path("work")), ["work"]);
    }
}
