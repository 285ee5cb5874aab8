//! What the kernel refuses, and what people are told of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::os::fd::AsFd;

use common::{Scene, means, means_with_mounts, options, tmpfs};
use overlay_kernel::{KernelError, Lower, Means, Plan, Request, Upper};

/// Has every means refuse the request that `prepare` makes of a scene, with these words.
fn refuses(test: &str, words: &str, prepare: impl Fn(&Scene) -> Request) {
    for means in means(test) {
        let scene = Scene::new();
        let request = prepare(&scene);
        let before = scene.mounts();
        let sentence = scene.refused(&request, means);
        assert!(sentence.contains(words), "{means:?}: {sentence}");
        assert_eq!(scene.mounts(), before, "{means:?}");
    }
}

#[test]
fn a_missing_layer_is_named() {
    refuses("a_missing_layer_is_named", "/gone: No such file", |scene| scene.over(&["a", "gone"]));
}

#[test]
fn a_layer_that_is_no_directory_is_named() {
    refuses("a_layer_that_is_no_directory_is_named", "a/both: Not a directory", |scene| {
        scene.over(&["a/both", "b"])
    });
}

#[test]
fn a_missing_mount_point_is_named() {
    refuses("a_missing_mount_point_is_named", "cannot mount on ", |scene| {
        fs::remove_dir(scene.path("merged")).unwrap();
        scene.over(&["a", "b"])
    });
}

#[test]
fn a_mount_point_that_is_no_directory_is_named() {
    refuses("a_mount_point_that_is_no_directory_is_named", "merged: Not a directory", |scene| {
        fs::remove_dir(scene.path("merged")).unwrap();
        fs::write(scene.path("merged"), "").unwrap();
        scene.over(&["a", "b"])
    });
}

#[test]
fn a_layer_that_is_there_twice_is_named() {
    refuses("a_layer_that_is_there_twice_is_named", "b are the same directory, and", |scene| {
        scene.over(&["b", "a", "b"])
    });
}

#[test]
fn a_lower_that_is_the_upper_is_named() {
    refuses("a_lower_that_is_the_upper_is_named", "upper are the same directory, and", |scene| {
        scene.writable(&["upper", "a"])
    });
}

#[test]
fn layers_inside_one_another_are_named() {
    refuses("layers_inside_one_another_are_named", "a/inner lies inside ", |scene| {
        scene.make("a/inner");
        scene.over(&["a", "a/inner"])
    });
}

#[test]
fn upper_and_work_that_do_not_lie_apart_are_named() {
    for (upper, work) in [("upper", "upper"), ("upper", "upper/w"), ("work/u", "work")] {
        refuses("upper_and_work_that_do_not_lie_apart_are_named", "must lie apart", |scene| {
            let upper = Some(Upper { upper: scene.make(upper), work: scene.make(work) });
            Request { upper, ..scene.over(&["a"]) }
        });
    }
}

#[test]
fn upper_and_work_on_different_mounts_are_named() {
    refuses(
        "upper_and_work_on_different_mounts_are_named",
        "are on different mounts; put both on one",
        |scene| {
            let upper =
                Some(Upper { upper: common::mounted(scene, "tmpfs", "other"), work: scene.path("work") });
            Request { upper, ..scene.over(&["a"]) }
        },
    );
}

#[test]
fn what_a_volatile_mount_left_is_named() {
    refuses("what_a_volatile_mount_left_is_named", "work/incompat/volatile to use it as it is", |scene| {
        let request = scene.writable(&["a"]);
        let options = options(&["volatile"]);
        scene.mount(&Request { options, ..request.clone() }, Means::Legacy).unwrap().unmount().unwrap();
        request
    });
}

#[test]
fn an_upper_that_is_read_only_is_named() {
    refuses("an_upper_that_is_read_only_is_named", "cannot be written", |scene| {
        let other = common::mounted(scene, "tmpfs", "other");
        let upper = Some(Upper { upper: scene.make("other/u"), work: scene.make("other/w") });
        overlay_kernel::remount(&other, Some(true)).unwrap();
        Request { upper, ..scene.over(&["a"]) }
    });
}

/// Mounts an overlay of `a` and `b` on `name`.
fn stack(scene: &Scene, lowers: &[&str], name: &str) {
    let plan = Plan::new(&scene.over(lowers)).unwrap();
    overlay_kernel::mount(&plan, &[], Means::Legacy, &scene.make(name), &scene.path("run")).unwrap();
}

#[test]
fn what_is_stacked_too_deep_is_named() {
    refuses(
        "what_is_stacked_too_deep_is_named",
        "second is itself on overlayfs, and the kernel stacks",
        |scene| {
            stack(scene, &["a", "b"], "first");
            stack(scene, &["first", "a"], "second");
            scene.over(&["b", "second"])
        },
    );
}

#[test]
fn an_upper_in_use_is_named() {
    refuses(
        "an_upper_in_use_is_named",
        "is in use by another overlay; unmount that, or use others",
        |scene| {
            let request = Request { options: options(&["index=on"]), ..scene.writable(&["a"]) };
            let plan = Plan::new(&request).unwrap();
            let place = scene.make("first");
            overlay_kernel::mount(&plan, &[], Means::Legacy, &place, &scene.path("run")).unwrap();
            request
        },
    );
}

#[test]
fn an_upper_of_other_lowers_is_named() {
    refuses("an_upper_of_other_lowers_is_named", "was made over other lowers, and", |scene| {
        let options = options(&["index=on"]);
        let request = Request { options: options.clone(), ..scene.writable(&["a"]) };
        scene.mount(&request, Means::Legacy).unwrap().unmount().unwrap();
        Request { options, ..scene.writable(&["b"]) }
    });
}

#[test]
fn a_mount_that_was_not_given_is_named() {
    refuses("a_mount_that_was_not_given_is_named", "layer s3://b is mount 3 of 0 that were given", |scene| {
        let lowers = vec![scene.lower("a"), Lower::Mount { index: 3, name: "s3://b".into() }];
        Request { lowers, ..Request::default() }
    });
}

#[test]
fn what_cannot_be_mounted_although_it_got_a_place_leaves_nothing() {
    for means in means_with_mounts("what_cannot_be_mounted_although_it_got_a_place_leaves_nothing") {
        let scene = Scene::new();
        let mount = tmpfs(&["x"]);
        let upper = Some(Upper { upper: scene.path("upper"), work: scene.path("upper") });
        let lowers = vec![Lower::Mount { index: 0, name: "s3://b".into() }];
        let request = Request { lowers, upper, ..Request::default() };
        let error = scene.mount_with(&request, &[mount.as_fd()], means).unwrap_err().to_string();
        assert!(error.contains("must lie apart"), "{error}");
        assert!(scene.mounts().is_empty() && common::names(&scene.path("run")).is_empty());
    }
}

#[test]
fn options_that_this_kernel_does_not_know_come_with_its_own_words() {
    for means in means("options_that_this_kernel_does_not_know_come_with_its_own_words") {
        let scene = Scene::new();
        // Known where a security module is, which then does not know the label.
        let options = options(&["context=nonsense"]);
        let sentence = scene.refused(&Request { options, ..scene.over(&["a", "b"]) }, means);
        assert!(sentence.starts_with("the kernel refuses "), "{sentence}");
        if means != Means::Legacy {
            assert!(sentence.contains("refuses context=nonsense: Invalid argument"), "{sentence}");
            assert!(sentence.contains("context"), "{sentence}");
        }
    }
}

#[test]
fn the_causes_are_there_for_machines() {
    for means in means("the_causes_are_there_for_machines") {
        let scene = Scene::new();
        let error = scene.mount(&scene.over(&["a", "a"]), means).unwrap_err();
        let KernelError::Explained { cause, .. } = error else { panic!("{error}") };
        assert_eq!(cause.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
    }
}
