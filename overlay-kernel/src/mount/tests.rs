//! What only a kernel of another age would do, and whether this one agrees with the checks of the options.

use std::fs;
use std::os::fd::AsFd;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::*;
use crate::options::{Given, tests::every};
use crate::plan::{Layer, Lower, Request, Role, Setting, Upper};
use crate::probe::Offer;

const MEANS: [Means; 3] = [Means::Descriptors, Means::Paths, Means::Legacy];

fn possible(test: &str) -> bool {
    let offer = Offer::probe();
    if offer != Offer::Overlayfs(Means::Descriptors) {
        eprintln!("skipped: {test}: {offer:?}");
    }
    offer == Offer::Overlayfs(Means::Descriptors)
}

/// A tmpfs without a place, with one file.
fn tmpfs(name: &str) -> OwnedFd {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    fsconfig_create(&context).unwrap();
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&mount, name, flags, Mode::RUSR).unwrap();
    mount
}

fn made(root: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = root.path().join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

fn mounts_below(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap())
        .lines()
        .filter(|line| line.contains(path))
        .count()
}

fn union<'a>(plan: &'a Plan, mounts: &'a [BorrowedFd<'a>], runtime: &'a Path) -> Union<'a> {
    Union { plan, mounts, runtime, places: Places::Always }
}

fn over_mounts(names: &[&str]) -> Plan {
    let lower = |(index, name): (usize, &&str)| Lower::Mount { index, name: (*name).into() };
    let lowers = names.iter().enumerate().map(lower).collect();
    Plan::new(&Request { lowers, ..Request::default() }).unwrap()
}

#[test]
fn layers_without_a_path_get_a_place_as_long_as_it_is_needed() {
    if !possible("layers_without_a_path_get_a_place_as_long_as_it_is_needed") {
        return;
    }
    for means in MEANS {
        let root = tempfile::tempdir().unwrap();
        let (runtime, target) = (made(&root, "run"), made(&root, "merged"));
        let mounts = [tmpfs("a"), tmpfs("b")];
        let mounts: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
        let plan = over_mounts(&["x", "y"]);
        let mounted = union(&plan, &mounts, &runtime).mount(means, &target).unwrap();
        assert_eq!(names(&target), ["a", "b"], "{means:?}");
        assert_eq!(names(&runtime), [] as [&str; 0], "{means:?}");
        assert_eq!(mounts_below(root.path()), 1, "{means:?}");
        mounted.unmount().unwrap();
        assert_eq!(mounts_below(root.path()), 0, "{means:?}");
    }
}

#[test]
fn a_mount_that_serves_twice_is_given_one_place() {
    if !possible("a_mount_that_serves_twice_is_given_one_place") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mount = tmpfs("a");
    let plan = over_mounts(&["x", "x"]);
    let mounts = [mount.as_fd(), mount.as_fd()];
    let error = union(&plan, &mounts, root.path()).detached(Naming::Paths).unwrap_err().to_string();
    assert!(error.contains("x and x are the same directory"), "{error}");
    assert_eq!(names(root.path()), [] as [&str; 0]);
}

#[test]
fn nothing_is_left_of_a_place_where_something_fails() {
    if !possible("nothing_is_left_of_a_place_where_something_fails") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let (runtime, target) = (made(&root, "run"), made(&root, "merged"));
    let mount = tmpfs("a");
    let attached = fs::File::open("/").unwrap();
    let plan = over_mounts(&["x", "root"]);
    // The second layer is no mount that can be moved.
    let mounts = [mount.as_fd(), attached.as_fd()];
    let error = union(&plan, &mounts, &runtime).mount(Means::Paths, &target).unwrap_err().to_string();
    assert!(error.contains("give layer root a path under") && error.contains("move_mount: "), "{error}");
    let error = union(&plan, &mounts, &root.path().join("gone")).mount(Means::Paths, &target).unwrap_err();
    assert!(error.to_string().contains("gone: open: No such file"), "{error}");
    assert_eq!(names(&runtime), [] as [&str; 0]);
    // The union itself is refused.
    for means in MEANS {
        let mounts = [tmpfs("a"), tmpfs("b")];
        let mounts: Vec<_> = mounts.iter().map(AsFd::as_fd).collect();
        let mut plan = over_mounts(&["x", "y"]);
        plan.settings.push(Setting::Flag("nonsense".into()));
        let error = union(&plan, &mounts, &runtime).mount(means, &target).unwrap_err();
        assert!(matches!(error, KernelError::Refused { .. } | KernelError::Explained { .. }), "{error}");
        assert_eq!(names(&runtime), [] as [&str; 0]);
        assert_eq!(mounts_below(root.path()), 0);
    }
}

/// Whether this kernel makes a union with exactly these options.
fn taken(options: &[(String, Option<String>)], upper: bool) -> bool {
    let root = tempfile::tempdir().unwrap();
    let pair = upper.then(|| Upper { upper: made(&root, "u"), work: made(&root, "w") });
    let lowers = ["a", "b"].map(|name| Lower::Directory(made(&root, name))).to_vec();
    let mut plan = Plan::new(&Request { lowers, upper: pair, ..Request::default() }).unwrap();
    let told = |(key, value): &(String, Option<String>)| match value {
        None => Setting::Flag(key.clone()),
        Some(value) => Setting::Text(key.clone(), value.clone()),
    };
    plan.settings = options.iter().map(told).collect();
    detached(&plan, &[], Means::Descriptors, root.path()).is_ok()
}

/// `off` with `userxattr` is told as `nofollow`, and without an upper `off` may be either.
fn is_translated(options: &[(String, Option<String>)]) -> bool {
    let has = |key: &str, value: Option<&str>| options.contains(&(key.into(), value.map(Into::into)));
    has("userxattr", None) && has("redirect_dir", Some("off"))
}

#[test]
fn the_kernel_refuses_the_pairs_of_options_that_are_refused_before() {
    if !possible("the_kernel_refuses_the_pairs_of_options_that_are_refused_before") {
        return;
    }
    // `fsync` is new: an older kernel knows less than the checks do.
    let every: Vec<_> = every().into_iter().filter(|(key, _)| key != "fsync").collect();
    for (at, one) in every.iter().enumerate() {
        for other in every[..at].iter().filter(|other| other.0 != one.0) {
            let options = [other.clone(), one.clone()];
            for upper in [false, true] {
                let allowed = Given(&options).check(upper);
                if !is_translated(&options) {
                    assert_eq!(allowed.is_ok(), taken(&options, upper), "{options:?}, {upper}: {allowed:?}");
                }
            }
        }
    }
}

#[test]
fn the_kernel_takes_what_is_added_to_every_pair_of_options() {
    if !possible("the_kernel_takes_what_is_added_to_every_pair_of_options") {
        return;
    }
    let every: Vec<_> = every().into_iter().filter(|(key, _)| key != "fsync").collect();
    for (at, one) in every.iter().enumerate() {
        for other in &every[..at] {
            for (upper, data) in [(false, false), (false, true), (true, false), (true, true)] {
                let root = tempfile::tempdir().unwrap();
                let request = Request {
                    lowers: ["a", "b"].map(|name| Lower::Directory(made(&root, name))).to_vec(),
                    data: data.then(|| Lower::Directory(made(&root, "d"))).into_iter().collect(),
                    upper: upper.then(|| Upper { upper: made(&root, "u"), work: made(&root, "w") }),
                    options: vec![other.clone(), one.clone()],
                    ..Request::default()
                };
                let Ok(plan) = Plan::new(&request) else { continue };
                detached(&plan, &[], Means::Descriptors, root.path())
                    .unwrap_or_else(|error| panic!("{:?}, {upper}, {data}: {error}", plan.settings));
            }
        }
    }
}

#[test]
fn a_mount_that_was_not_given_is_named() {
    let plan = over_mounts(&["x", "y"]);
    assert_eq!(
        plan.layers[1],
        Layer { role: Role::Lower, place: Lower::Mount { index: 1, name: "y".into() } }
    );
    let error = detached(&plan, &[], Means::Paths, Path::new("/")).unwrap_err().to_string();
    assert!(error.contains("layer x is mount 0 of 0"), "{error}");
}
