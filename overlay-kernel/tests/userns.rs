//! In a user namespace of its own, where attributes are of the user: the test runs itself in `unshare -Urm`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::os::fd::AsFd;
use std::process::Command;

use common::{Scene, means, means_with_mounts, names, options, tmpfs};
use overlay_kernel::{Lower, Means, Offer, Request, remount, upper_refusal, upper_refusal_with};

/// Set in the process that runs in the namespace.
const INSIDE: &str = "OVERLAY_KERNEL_TEST_INSIDE";

/// Whether this process is in the namespace; if not, runs the test there.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: {test}: unshare -Urm is not possible here");
        return false;
    }
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-Urm").arg(this).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn a_union_with_user_attributes_works_by_every_means() {
    let test = "a_union_with_user_attributes_works_by_every_means";
    if !inside(test) {
        return;
    }
    for means in means(test) {
        let scene = Scene::new();
        scene.make("a/d");
        let request = Request { options: options(&["userxattr"]), ..scene.writable(&["a", "b"]) };
        let mounted = scene.mount(&request, means).unwrap();
        fs::write(scene.path("merged/low"), "new").unwrap();
        fs::remove_file(scene.path("merged/both")).unwrap();
        fs::remove_dir(scene.path("merged/d")).unwrap();
        fs::create_dir(scene.path("merged/d")).unwrap();
        assert_eq!(names(&scene.path("merged")), ["d", "low"]);
        remount(&scene.path("merged"), Some(true)).unwrap();
        assert!(fs::write(scene.path("merged/x"), "").is_err());
        remount(&scene.path("merged"), Some(false)).unwrap();
        fs::write(scene.path("merged/x"), "").unwrap();
        mounted.unmount().unwrap();
        assert!(scene.mounts().is_empty());
    }
}

#[test]
fn layers_without_a_path_work_there_too() {
    let test = "layers_without_a_path_work_there_too";
    if !inside(test) {
        return;
    }
    for means in means_with_mounts(test) {
        let scene = Scene::new();
        let mount = tmpfs(&["x"]);
        let lowers = vec![Lower::Mount { index: 0, name: "m".into() }, scene.lower("a")];
        let options = options(&["userxattr"]);
        let request = Request { lowers, options, ..scene.writable(&[]) };
        scene.mount_with(&request, &[mount.as_fd()], means).unwrap();
        assert_eq!(names(&scene.path("merged")), ["both", "x"]);
        assert!(names(&scene.path("run")).is_empty());
    }
}

#[test]
fn without_user_attributes_the_way_out_is_told() {
    let test = "without_user_attributes_the_way_out_is_told";
    if !inside(test) {
        return;
    }
    for means in means(test) {
        let scene = Scene::new();
        let sentence = scene.refused(&scene.writable(&["a"]), means);
        assert!(sentence.contains("add userxattr, without redirect_dir, metacopy and verity"), "{sentence}");
        scene.mount(&scene.over(&["a", "b"]), means).unwrap();
    }
}

#[test]
fn an_upper_is_tried_with_user_attributes() {
    let test = "an_upper_is_tried_with_user_attributes";
    if !inside(test) {
        return;
    }
    let scene = Scene::new();
    let upper = scene.upper().unwrap();
    assert_eq!(upper_refusal(&upper).unwrap(), None);
    assert_eq!(upper_refusal_with(&upper, true).unwrap(), None);
    let sentence = upper_refusal_with(&upper, false).unwrap().unwrap();
    assert!(sentence.contains("keeps no trusted attributes, or not for this process"), "{sentence}");
    assert!(names(&upper.work).is_empty());
}

#[test]
fn who_may_not_mount_is_told_so() {
    // A user namespace without a user has no privilege over the mounts of the others.
    let output = Command::new("unshare").args(["-U", "true"]).status();
    if !output.is_ok_and(|status| status.success()) {
        eprintln!("skipped: who_may_not_mount_is_told_so: unshare -U is not possible here");
        return;
    }
    if std::env::var_os(INSIDE).is_some() {
        let Offer::Nothing(why) = Offer::probe() else { panic!("an offer") };
        assert_eq!(why, "this process may not mount overlayfs (it needs CAP_SYS_ADMIN)");
        for means in [Means::Descriptors, Means::Paths, Means::Legacy] {
            let scene = Scene::new();
            let sentence = scene.refused(&scene.writable(&["a"]), means);
            assert!(sentence.starts_with(&format!("{why}: Operation not permitted")), "{sentence}");
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-U").arg(this).args(["--exact", "who_may_not_mount_is_told_so"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
