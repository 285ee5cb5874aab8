//! Real mounts of the kernel's overlayfs, by every means that it has; skipped, with a message, where this process may
//! not mount.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod common;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, symlink};

use common::{Scene, means, means_with_mounts, names, options, tmpfs};
use overlay_kernel::{Flags, KernelError, LOWERS_MAX, Lower, Means, Mounted, Plan, Request, Upper, detached};
use rustix::fs::{Mode, OFlags, XattrFlags, setxattr};

#[test]
fn a_union_is_merged_and_writes_go_to_the_upper() {
    for means in means("a_union_is_merged_and_writes_go_to_the_upper") {
        let scene = Scene::new();
        let mounted = scene.mount(&scene.writable(&["a", "b"]), means).unwrap();
        assert_eq!(mounted.path(), scene.path("merged").canonicalize().unwrap());
        assert_eq!(scene.read("merged/both"), "a");
        fs::write(scene.path("merged/low"), "new").unwrap();
        assert_eq!((scene.read("upper/low"), scene.read("b/low")), ("new".into(), "b".into()));
        fs::remove_file(scene.path("merged/both")).unwrap();
        assert!(fs::symlink_metadata(scene.path("upper/both")).unwrap().file_type().is_char_device());
    }
}

#[test]
fn renamed_directories_are_redirected() {
    for means in means("renamed_directories_are_redirected") {
        let scene = Scene::new();
        scene.make("a/d");
        fs::write(scene.path("a/d/f"), "deep").unwrap();
        scene.mount(&scene.writable(&["a"]), means).unwrap();
        fs::rename(scene.path("merged/d"), scene.path("merged/e")).unwrap();
        assert_eq!(scene.read("merged/e/f"), "deep");
        assert!(!scene.path("upper/e/f").exists(), "redirected, not copied");
    }
}

#[test]
fn without_an_upper_nothing_can_be_written() {
    for means in means("without_an_upper_nothing_can_be_written") {
        let scene = Scene::new();
        scene.mount(&scene.over(&["a", "b"]), means).unwrap();
        let error = fs::write(scene.path("merged/new"), "").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn flags_and_source_are_shown() {
    for means in means("flags_and_source_are_shown") {
        let scene = Scene::new();
        let flags = Flags { no_dev: true, no_suid: true, ..Flags::default() };
        let words = options(&["ro", "noexec", "noatime", "nodiratime", "nosymfollow", "sync"]);
        let request = Request { flags, options: words, source: "me".into(), ..scene.writable(&["a", "b"]) };
        scene.mount(&request, means).unwrap();
        let line = &scene.mounts()[0];
        assert!(line.contains(" - overlay me ro"), "{line}");
        let shown = " ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow ";
        assert!(line.contains(shown), "{means:?}: {line}");
        assert!(line.contains("ro,sync,"), "{line}");
    }
}

#[test]
fn strict_access_times_are_kept() {
    for means in means("strict_access_times_are_kept") {
        let scene = Scene::new();
        scene
            .mount(&Request { options: options(&["strictatime"]), ..scene.over(&["a", "b"]) }, means)
            .unwrap();
        let line = &scene.mounts()[0];
        assert!(!line.contains("relatime") && !line.contains("noatime"), "{line}");
    }
}

#[test]
fn options_reach_the_kernel() {
    for means in means("options_reach_the_kernel") {
        let scene = Scene::new();
        let words = options(&["index=on", "uuid=null", "volatile", "metacopy=on"]);
        scene.mount(&Request { options: words, ..scene.writable(&["a"]) }, means).unwrap();
        let line = &scene.mounts()[0];
        for word in ["index=on", "uuid=null", "volatile", "metacopy=on", "redirect_dir=on"] {
            assert!(line.contains(word), "{means:?}: {word}: {line}");
        }
    }
}

#[test]
fn names_with_separators_and_escapes_are_taken_as_they_are() {
    for means in means("names_with_separators_and_escapes_are_taken_as_they_are") {
        for name in
            [":", ",", "\\", "\\:", "\\,", "\\\\", "::", " ", "a:b,c\\d e", ":\\", ",lowerdir=", "é\n\t\"'#"]
        {
            let scene = Scene::new();
            let odd = |kind: &str| format!("{name}/{kind}{name}");
            for kind in ["low", "data", "upper", "work"] {
                scene.make(&odd(kind));
            }
            fs::write(scene.path(&odd("low")).join("low"), "odd").unwrap();
            let upper = Upper { upper: scene.path(&odd("upper")), work: scene.path(&odd("work")) };
            let request = Request { upper: Some(upper.clone()), ..scene.over(&[&odd("low"), "a"]) };
            let request = Request { data: vec![scene.lower(&odd("data"))], ..request };
            let mounted =
                scene.mount(&request, means).unwrap_or_else(|why| panic!("{means:?}: {name}: {why}"));
            assert_eq!(scene.read("merged/low"), "odd");
            assert_eq!(scene.read("merged/both"), "a");
            fs::write(scene.path("merged/new"), name).unwrap();
            assert_eq!(fs::read_to_string(upper.upper.join("new")).unwrap(), name);
            mounted.unmount().unwrap();
        }
    }
}

#[test]
fn names_that_are_no_text_and_long_paths_are_taken() {
    use std::os::unix::ffi::OsStrExt;
    for means in means("names_that_are_no_text_and_long_paths_are_taken") {
        let scene = Scene::new();
        let long = vec!["x".repeat(200); 6].join("/");
        let odd = scene.make(&long).join(std::ffi::OsStr::from_bytes(b"\xff\xfe,"));
        fs::create_dir(&odd).unwrap();
        fs::write(odd.join("odd"), "odd").unwrap();
        let lowers = vec![Lower::Directory(odd), scene.lower("a")];
        scene.mount(&Request { lowers, ..scene.writable(&[]) }, means).unwrap();
        assert_eq!((scene.read("merged/odd"), scene.read("merged/both")), ("odd".into(), "a".into()));
    }
}

#[test]
fn paths_are_shown_where_they_fit() {
    for means in means("paths_are_shown_where_they_fit") {
        let scene = Scene::new();
        scene.mount(&scene.writable(&["a", "b"]), means).unwrap();
        let line = &scene.mounts()[0];
        for name in ["a", "b", "upper", "work"] {
            assert!(line.contains(scene.path(name).to_str().unwrap()), "{means:?}: {line}");
        }
    }
}

#[test]
fn as_many_lowers_as_the_kernel_merges_are_taken() {
    for means in means("as_many_lowers_as_the_kernel_merges_are_taken") {
        let scene = Scene::new();
        let names: Vec<_> = (0..LOWERS_MAX).map(|at| format!("lowers/{}{at}", "x".repeat(100))).collect();
        for (at, name) in names.iter().enumerate() {
            fs::write(scene.make(name).join(format!("f{at}")), "").unwrap();
        }
        let before = std::env::current_dir().unwrap();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        scene.mount(&scene.writable(&names), means).unwrap();
        assert_eq!(fs::read_dir(scene.path("merged")).unwrap().count(), LOWERS_MAX, "{means:?}");
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}

#[test]
fn options_that_fit_into_no_page_are_refused() {
    for means in means("options_that_fit_into_no_page_are_refused") {
        let scene = Scene::new();
        let context = Some(format!("s0:{}", "c".repeat(4096)));
        let request = Request { options: vec![("context".into(), context)], ..scene.over(&["a", "b"]) };
        let sentence = scene.refused(&request, means);
        if means == Means::Legacy {
            assert!(sentence.contains("bytes long and this kernel takes 4095"), "{sentence}");
        }
        assert!(scene.mounts().is_empty());
    }
}

fn lent(mounts: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    mounts.iter().map(AsFd::as_fd).collect()
}

fn mount_lower(index: usize) -> Lower {
    Lower::Mount { index, name: format!("mount {index}") }
}

#[test]
fn layers_may_be_mounts_without_a_path() {
    for means in means_with_mounts("layers_may_be_mounts_without_a_path") {
        let scene = Scene::new();
        let mounts = [tmpfs(&["x", "both"]), tmpfs(&["y"])];
        let lowers = vec![mount_lower(1), scene.lower("a"), mount_lower(0)];
        let request = Request { lowers, ..scene.writable(&[]) };
        scene.mount_with(&request, &lent(&mounts), means).unwrap();
        assert_eq!(names(&scene.path("merged")), ["both", "x", "y"], "{means:?}");
        assert_eq!(scene.read("merged/both"), "a");
        fs::write(scene.path("merged/x"), "new").unwrap();
        drop(mounts);
        assert_eq!((scene.read("merged/x"), scene.read("merged/y")), ("new".into(), "y".into()));
        assert!(names(&scene.path("run")).is_empty());
        assert_eq!(scene.mounts().len(), 1, "only the union is left");
    }
}

#[test]
fn many_mounts_without_a_path_fit_into_one_union() {
    for means in means_with_mounts("many_mounts_without_a_path_fit_into_one_union") {
        let scene = Scene::new();
        let mounts: Vec<_> = (0..300).map(|at| tmpfs(&[&format!("f{at}")])).collect();
        let request = Request { lowers: (0..300).map(mount_lower).collect(), ..Request::default() };
        scene.mount_with(&request, &lent(&mounts), means).unwrap();
        assert_eq!(names(&scene.path("merged")).len(), 300, "{means:?}");
    }
}

/// A file in `b` without data, which is found in `data` under another name.
fn refer(scene: &Scene, namespace: &str) {
    fs::write(scene.make("data/objects").join("1"), "the data").unwrap();
    fs::write(scene.path("b/refers"), "").unwrap();
    fs::OpenOptions::new().write(true).open(scene.path("b/refers")).unwrap().set_len(8).unwrap();
    for (name, value) in [("metacopy", ""), ("redirect", "/objects/1")] {
        let name = format!("{namespace}.overlay.{name}");
        setxattr(scene.path("b/refers"), &*name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
}

#[test]
fn data_only_layers_give_data_and_no_names() {
    for means in means("data_only_layers_give_data_and_no_names") {
        for (namespace, words) in [("trusted", options(&[])), ("user", options(&["userxattr"]))] {
            for upper in [true, false] {
                let scene = Scene::new();
                refer(&scene, namespace);
                let data = vec![scene.lower("data")];
                let upper = scene.upper().filter(|_| upper);
                let words = words.clone();
                let request = Request { data, upper, options: words, ..scene.over(&["b"]) };
                scene.mount(&request, means).unwrap();
                assert_eq!(scene.read("merged/refers"), "the data", "{means:?}, {namespace}");
                assert!(!scene.path("merged/objects").exists());
            }
        }
    }
}

#[test]
fn data_may_lie_in_a_mount_without_a_path() {
    for means in means_with_mounts("data_may_lie_in_a_mount_without_a_path") {
        let scene = Scene::new();
        refer(&scene, "trusted");
        let mount = common::detached("tmpfs");
        rustix::fs::mkdirat(&mount, "objects", Mode::RWXU).unwrap();
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let objects = rustix::fs::openat(&mount, "objects", flags, Mode::empty()).unwrap();
        common::put(objects.as_fd(), "1", "in the tmpfs");
        fs::write(scene.path("b/refers"), "").unwrap();
        fs::OpenOptions::new().write(true).open(scene.path("b/refers")).unwrap().set_len(12).unwrap();
        let request = Request { data: vec![mount_lower(0)], ..scene.writable(&["b"]) };
        scene.mount_with(&request, &[mount.as_fd()], means).unwrap();
        assert_eq!(scene.read("merged/refers"), "in the tmpfs", "{means:?}");
    }
}

#[test]
fn a_union_can_be_without_a_place() {
    for means in means("a_union_can_be_without_a_place") {
        let scene = Scene::new();
        let plan = Plan::new(&scene.writable(&["a", "b"])).unwrap();
        let union = detached(&plan, &[], means, &scene.path("run"));
        if means == Means::Legacy {
            assert!(matches!(union, Err(KernelError::NeedsTarget)));
            continue;
        }
        let union = union.unwrap();
        let file = rustix::fs::openat(&union, "low", OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut text = [0; 1];
        assert_eq!(rustix::io::read(file, &mut text).unwrap(), 1);
        assert_eq!(&text, b"b");
        assert!(scene.mounts().is_empty());
    }
}

#[test]
fn a_layer_may_be_the_mount_point() {
    for means in means("a_layer_may_be_the_mount_point") {
        let scene = Scene::new();
        fs::write(scene.path("merged/below"), "").unwrap();
        scene.mount(&scene.writable(&["a", "merged"]), means).unwrap();
        assert_eq!(names(&scene.path("merged")), ["below", "both"], "{means:?}");
    }
}

#[test]
fn unmounting_takes_that_very_mount_away() {
    for means in means("unmounting_takes_that_very_mount_away") {
        let scene = Scene::new();
        let mounted = scene.mount(&scene.over(&["a", "b"]), means).unwrap();
        assert_eq!(Mounted::at(&scene.path("merged")).unwrap(), mounted);
        // A file that is in use is no hindrance.
        let _file = fs::File::open(scene.path("merged/both")).unwrap();
        mounted.unmount().unwrap();
        assert!(scene.mounts().is_empty());
        mounted.unmount().unwrap();
        fs::remove_dir(scene.path("merged")).unwrap();
        mounted.unmount().unwrap();
    }
}

#[test]
fn another_mount_on_top_is_left_alone() {
    for means in means("another_mount_on_top_is_left_alone") {
        let scene = Scene::new();
        let mounted = scene.mount(&scene.over(&["a", "b"]), means).unwrap();
        common::mounted(&scene, "tmpfs", "merged");
        mounted.unmount().unwrap();
        assert_eq!(scene.mounts().len(), 2);
        let other = scene.mount(&scene.over(&["b", "a"]), means).unwrap();
        mounted.unmount().unwrap();
        assert_eq!(scene.mounts().len(), 3);
        other.unmount().unwrap();
        assert_eq!(scene.mounts().len(), 2);
    }
}

#[test]
fn the_mount_point_may_be_named_by_a_symbolic_link() {
    for means in means("the_mount_point_may_be_named_by_a_symbolic_link") {
        let scene = Scene::new();
        symlink(scene.path("merged"), scene.path("link")).unwrap();
        let plan = Plan::new(&scene.over(&["a", "b"])).unwrap();
        let link = scene.path("link");
        let mounted = overlay_kernel::mount(&plan, &[], means, &link, &scene.path("run")).unwrap();
        assert_eq!(mounted.path(), scene.path("merged").canonicalize().unwrap());
        mounted.unmount().unwrap();
        assert!(scene.mounts().is_empty());
    }
}
