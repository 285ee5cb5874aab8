//! The union on the reference layers: what operations do, and that a failure or a crash at any call of a layer
//! leaves either the tree before or the tree after.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Change, Open, Overlay, OverlayOptions, ROOT};
use crate::attr::{Kind, SetAttr};
use crate::conformance::{Faults, block_on};
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{Allocate, Seek, SetXattr, UpperLayer};
use crate::memory::{MemoryBuilder, MemoryLayer, MemoryUpper};
use crate::merge::inherit::Caller;
use crate::merge::plan::RenameMode;
use crate::name::Name;
use crate::stack::Stack;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) const ROOT_USER: Caller = Caller { uid: 0, gid: 0, umask: 0 };

/// With an index some files have several names; without one each would be a file of its own.
fn lower(index: bool) -> MemoryLayer {
    let builder = MemoryLayer::builder("lower")
        .file("file", "lower file")
        .mode(0o644)
        .file("dir/inner", "inner")
        .file("dir/sub/deep", "deep")
        .dir("empty")
        .symlink("link", "file")
        .file("victim", "victim")
        .file("hollow/dead", "dead")
        .file("formerly/inside", "inside")
        .file("data", "the data of a copy")
        .file("linked", "linked");
    let linked = |builder: MemoryBuilder| {
        let builder = builder.hard_link("dir/second", "linked").hard_link("dir/sub/third", "linked");
        builder.file("single", "single").hard_link("dir/single", "single")
    };
    if index { linked(builder) } else { builder }.build().unwrap()
}

/// An upper with something of its own, whiteouts and an opaque directory.
fn upper() -> MemoryUpper {
    MemoryLayer::builder("upper")
        .file("own", "own")
        .file("over/x", "x")
        .whiteout("gone")
        .dir("pure/below")
        .file("pure/f", "f")
        .dir("shell")
        .opaque()
        .whiteout("shell/dead")
        .whiteout("hollow/dead")
        .whiteout("formerly")
        .dir("called")
        .redirect("formerly")
        .sparse("copy", 18, &[])
        .redirect("data")
        .metacopy()
        .whiteout("data")
        .sparse("two/names", 6, &[])
        .redirect("/linked")
        .metacopy()
        .hard_link("two/of them", "two/names")
        .build_upper()
        .unwrap()
}

async fn open(upper: Arc<dyn UpperLayer>, faults: &Faults) -> Result<Arc<Overlay>> {
    open_as(upper, faults, &OverlayOptions::default()).await
}

async fn open_as(
    upper: Arc<dyn UpperLayer>,
    faults: &Faults,
    options: &OverlayOptions,
) -> Result<Arc<Overlay>> {
    let lowers = vec![faults.layer(Arc::new(lower(options.index)))];
    Overlay::new(Stack::new(Some(upper), lowers)?, options.clone()).await
}

/// The features that change what is written.
fn features() -> [OverlayOptions; 4] {
    let options = |metacopy, index| OverlayOptions { metacopy, index, ..OverlayOptions::default() };
    [options(false, false), options(true, false), options(false, true), options(true, true)]
}

/// Each step with each choice of features.
fn trials() -> impl Iterator<Item = (Step, OverlayOptions)> {
    features().into_iter().flat_map(|options| {
        let linked = LINKED_STEPS.iter().filter(move |_| options.index);
        STEPS.iter().chain(linked).map(move |step| (*step, options.clone()))
    })
}

/// Everything that a user can see, by path.
pub(super) async fn tree(overlay: &Overlay) -> Result<BTreeMap<String, String>> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![(ROOT, String::new())];
    while let Some((dir, path)) = todo.pop() {
        let handle = overlay.opendir(dir).await?;
        for row in overlay.readdir(handle, true).await?.iter().skip(2) {
            let Some(child) = &row.name else { continue };
            let attr = overlay.lookup(dir, child).await?.expect("a listed name is found");
            assert_eq!((attr.ino, attr.kind), (row.ino, row.kind), "{path}/{child}");
            let path = format!("{path}/{child}");
            let content = match attr.kind {
                Kind::Dir => {
                    todo.push((attr.ino, path.clone()));
                    String::new()
                }
                Kind::Symlink => String::from_utf8(overlay.readlink(attr.ino).await?).unwrap(),
                Kind::File => read(overlay, attr.ino).await?,
                _ => String::new(),
            };
            seen.insert(path, format!("{:?} {:o} {}:{} {content}", attr.kind, attr.mode, attr.uid, attr.gid));
        }
        overlay.releasedir(handle);
    }
    Ok(seen)
}

pub(super) async fn read(overlay: &Overlay, ino: u64) -> Result<String> {
    let handle = overlay.open(ino, Open::default()).await?;
    let bytes = overlay.read(handle, 0, 1 << 16).await;
    overlay.release(handle);
    Ok(String::from_utf8(bytes?.to_vec()).unwrap())
}

pub(super) async fn find(overlay: &Overlay, path: &str) -> Result<u64> {
    let mut ino = ROOT;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let found = overlay.lookup(ino, &name(part)).await?;
        ino = found.ok_or_else(|| crate::Error::new(ErrorKind::NotFound, "find").at(&name(part)))?.ino;
    }
    Ok(ino)
}

pub(super) async fn split(overlay: &Overlay, path: &str) -> Result<(u64, Name)> {
    let (dir, last) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((find(overlay, dir).await?, name(last)))
}

/// An operation on paths.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(&'static str),
    Truncate(&'static str),
    Chmod(&'static str),
    SetXattr(&'static str),
    Create(&'static str),
    Mkdir(&'static str),
    Symlink(&'static str),
    Mknod(&'static str),
    Link(&'static str, &'static str),
    Unlink(&'static str),
    Rmdir(&'static str),
    Rename(&'static str, &'static str),
    Exchange(&'static str, &'static str),
}

const STEPS: &[Step] = &[
    Step::Write("file"),
    Step::Write("dir/sub/deep"),
    Step::Truncate("dir/inner"),
    Step::Chmod("dir/sub"),
    Step::Chmod("link"),
    Step::SetXattr("file"),
    Step::Create("new"),
    Step::Create("dir/sub/new"),
    Step::Create("gone"),
    Step::Mkdir("new"),
    Step::Mkdir("gone"),
    Step::Symlink("gone"),
    Step::Mknod("dir/fifo"),
    Step::Link("file", "dir/linked"),
    Step::Link("own", "gone"),
    Step::Unlink("file"),
    Step::Unlink("own"),
    Step::Unlink("over/x"),
    Step::Rmdir("empty"),
    Step::Rmdir("shell"),
    Step::Rename("file", "renamed"),
    Step::Rename("file", "victim"),
    Step::Rename("file", "gone"),
    Step::Rename("own", "dir/sub/own"),
    Step::Rename("pure", "gone"),
    Step::Rename("pure", "empty"),
    Step::Rename("pure", "shell"),
    Step::Rename("pure", "hollow"),
    Step::Rename("pure", "dir/pure"),
    Step::Rename("dir", "moved"),
    Step::Rename("dir", "gone"),
    Step::Rename("dir", "empty"),
    Step::Rename("dir", "shell"),
    Step::Rename("dir", "hollow"),
    Step::Rename("dir", "pure/below"),
    Step::Rename("dir/sub", "pure/sub"),
    Step::Rename("empty", "dir/sub/empty"),
    Step::Rename("called", "dir/called"),
    Step::Rename("called", "renamed"),
    Step::Write("copy"),
    Step::Write("two/names"),
    Step::Truncate("copy"),
    Step::Chmod("copy"),
    Step::Chmod("linked"),
    Step::SetXattr("copy"),
    Step::Link("copy", "gone"),
    Step::Link("two/names", "dir/third"),
    Step::Unlink("copy"),
    Step::Rename("copy", "dir/copy"),
    Step::Rename("copy", "file"),
    Step::Rename("linked", "renamed"),
    Step::Exchange("copy", "dir/inner"),
    Step::Exchange("dir", "called"),
    Step::Exchange("dir", "file"),
    Step::Exchange("dir/sub", "pure"),
    Step::Exchange("file", "victim"),
    Step::Exchange("pure", "file"),
    Step::Exchange("own", "dir/inner"),
];

/// Steps on files that have several names.
const LINKED_STEPS: &[Step] = &[
    Step::Write("linked"),
    Step::Write("dir/sub/third"),
    Step::Truncate("dir/second"),
    Step::Chmod("dir/second"),
    Step::Link("dir/second", "gone"),
    Step::Unlink("linked"),
    Step::Rename("linked", "moved"),
    Step::Rename("dir/second", "dir/sub/second"),
    Step::Rename("file", "linked"),
    Step::Rename("dir/second", "own"),
    Step::Exchange("linked", "pure"),
    Step::Exchange("dir/second", "file"),
];

async fn act(overlay: &Overlay, step: Step) -> Result<()> {
    match step {
        Step::Write(path) => {
            let handle =
                overlay.open(find(overlay, path).await?, Open { write: true, truncate: false }).await?;
            let written = overlay.write(handle, 0, b"CHANGED", false).await;
            overlay.release(handle);
            written
        }
        Step::Truncate(path) => {
            let handle =
                overlay.open(find(overlay, path).await?, Open { write: true, truncate: true }).await?;
            overlay.release(handle);
            Ok(())
        }
        Step::Chmod(path) => {
            // A link has no mode: its owner is changed instead.
            let ino = find(overlay, path).await?;
            let set = SetAttr { uid: Some(7), ..SetAttr::default() };
            overlay.setattr(ino, None, &Change { set, kill_privilege: false }).await.map(drop)
        }
        Step::SetXattr(path) => {
            overlay.setxattr(find(overlay, path).await?, b"user.k", b"v", SetXattr::Any).await
        }
        Step::Create(path) => {
            let (dir, last) = split(overlay, path).await?;
            let open = Open { write: true, truncate: false };
            let (_, handle) = overlay.create(ROOT_USER, dir, &last, 0o600, open).await?;
            overlay.release(handle);
            Ok(())
        }
        Step::Mkdir(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.mkdir(ROOT_USER, dir, &last, 0o700).await.map(drop)
        }
        Step::Symlink(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.symlink(ROOT_USER, dir, &last, b"target").await.map(drop)
        }
        Step::Mknod(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.mknod(ROOT_USER, dir, &last, Kind::Fifo, 0o600, 0).await.map(drop)
        }
        Step::Link(old, new) => {
            let (dir, last) = split(overlay, new).await?;
            overlay.link(find(overlay, old).await?, dir, &last).await.map(drop)
        }
        Step::Unlink(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.unlink(dir, &last).await
        }
        Step::Rmdir(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.rmdir(dir, &last).await
        }
        Step::Rename(old, new) => rename(overlay, old, new, RenameMode::Replace).await,
        Step::Exchange(old, new) => rename(overlay, old, new, RenameMode::Exchange).await,
    }
}

async fn rename(overlay: &Overlay, old: &str, new: &str, mode: RenameMode) -> Result<()> {
    let ((from, old), (to, new)) = (split(overlay, old).await?, split(overlay, new).await?);
    // As the kernel does, which then refers to both.
    overlay.lookup(from, &old).await?;
    overlay.lookup(to, &new).await?;
    overlay.rename(from, &old, to, &new, mode).await
}

/// The tree before and after a step, without faults.
async fn before_and_after(step: Step, options: &OverlayOptions) -> [BTreeMap<String, String>; 2] {
    let overlay = open_as(Arc::new(upper()), &Faults::new(), options).await.unwrap();
    let before = tree(&overlay).await.unwrap();
    act(&overlay, step).await.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
    [before, tree(&overlay).await.unwrap()]
}

/// A step that met a fault.
struct Trial {
    overlay: Arc<Overlay>,
    layer: Arc<MemoryUpper>,
    faults: Faults,
    result: Result<()>,
    /// Whether the step made as many calls as it takes to meet the fault.
    reached: bool,
}

/// Takes a step while the `nth` call of a layer fails, and all after it if it is a crash.
async fn attempt(step: Step, options: &OverlayOptions, nth: u64, crash: bool) -> Trial {
    let faults = Faults::new();
    let layer = Arc::new(upper());
    let overlay = open_as(faults.upper(layer.clone()), &faults, options).await.unwrap();
    match crash {
        true => faults.fail_from(nth, ErrorKind::Io),
        false => faults.fail_nth(nth, ErrorKind::NoSpace),
    }
    let calls = faults.calls();
    let result = act(&overlay, step).await;
    let reached = faults.calls() - calls >= nth;
    Trial { overlay, layer, faults, result, reached }
}

/// What the next mount sees.
async fn seen_next(layer: &MemoryUpper, options: &OverlayOptions) -> BTreeMap<String, String> {
    let next = Arc::new(layer.reopen().unwrap());
    tree(&open_as(next, &Faults::new(), options).await.unwrap()).await.unwrap()
}

#[test]
fn a_failure_at_any_call_leaves_the_tree_before_or_after() {
    block_on(async {
        for (step, options) in trials() {
            let wanted = before_and_after(step, &options).await;
            for nth in 1.. {
                let Trial { overlay, layer, faults, result, reached } =
                    attempt(step, &options, nth, false).await;
                faults.clear();
                let seen = tree(&overlay).await.unwrap();
                let context = format!("{step:?}, {options:?}, call {nth}: {result:?}");
                assert_eq!(
                    seen,
                    seen_next(&layer, &options).await,
                    "{context}: another mount sees another tree"
                );
                assert!(wanted.contains(&seen), "{context}: neither before nor after: {seen:#?}");
                assert!(result.is_err() || seen == wanted[1], "{context}: reported as done, and is not");
                // A change of attributes has to answer with the new ones, and they could not be read.
                let answers = matches!(step, Step::Chmod(_));
                let undone = result.is_ok() || answers || seen == wanted[0];
                assert!(undone, "{context}: reported as not done, and is");
                if !reached {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_crash_at_any_call_leaves_the_tree_before_or_after_for_the_next_mount() {
    block_on(async {
        for (step, options) in trials() {
            let wanted = before_and_after(step, &options).await;
            for nth in 1.. {
                let trial = attempt(step, &options, nth, true).await;
                let seen = seen_next(&trial.layer, &options).await;
                let context = format!("{step:?}, {options:?}, crash at call {nth} ({:?})", trial.result);
                assert!(wanted.contains(&seen), "{context}: {seen:#?}");
                if !trial.reached {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_rename_goes_in_two_steps_where_the_upper_cannot_leave_a_whiteout() {
    let renames: [&[Step]; 3] = [
        &[Step::Rename("file", "renamed")],
        &[Step::Rename("file", "victim")],
        &[Step::Rmdir("empty"), Step::Mkdir("empty"), Step::Rename("empty", "moved")],
    ];
    block_on(async {
        for steps in renames {
            let plain = open(Arc::new(upper()), &Faults::new()).await.unwrap();
            let faults = Faults::new();
            let layer = Arc::new(upper());
            let overlay = open(faults.upper(layer.clone()), &faults).await.unwrap();
            for &step in steps {
                act(&plain, step).await.unwrap();
                if let Step::Rename(..) = step {
                    // What the first rename is asked for is to leave a whiteout: EINVAL, as without the feature.
                    let first = AtomicBool::new(true);
                    faults.fail_if(ErrorKind::Invalid, move |call| {
                        let named = call.name.is_some_and(|name| !name.as_bytes().starts_with(b"#"));
                        call.op == "rename" && named && first.swap(false, Ordering::SeqCst)
                    });
                }
                act(&overlay, step).await.unwrap_or_else(|error| panic!("{steps:?}: {error:?}"));
            }
            let wanted = tree(&plain).await.unwrap();
            assert_eq!(tree(&overlay).await.unwrap(), wanted, "{steps:?}");
            assert_eq!(
                seen_next(&layer, &OverlayOptions::default()).await,
                wanted,
                "{steps:?}, the next mount"
            );
            assert_eq!(layer.work().await.unwrap().list().await.unwrap(), [], "{steps:?}");
        }
    });
}

#[test]
fn the_lower_is_never_asked_to_change_and_work_is_left_empty() {
    block_on(async {
        for &step in STEPS {
            let layer = Arc::new(upper());
            let overlay = open(layer.clone(), &Faults::new()).await.unwrap();
            act(&overlay, step).await.unwrap();
            assert_eq!(layer.work().await.unwrap().list().await.unwrap(), [], "{step:?}");
        }
    });
}

#[test]
fn inodes_live_as_long_as_the_client_refers_to_them() {
    block_on(async {
        let overlay = open(Arc::new(upper()), &Faults::new()).await.unwrap();
        let first = overlay.lookup(ROOT, &name("file")).await.unwrap().unwrap().ino;
        assert_eq!(overlay.lookup(ROOT, &name("file")).await.unwrap().unwrap().ino, first);
        overlay.forget(first, 1);
        assert!(overlay.getattr(first).await.is_ok(), "one reference is left");
        overlay.forget(first, 1);
        assert_eq!(overlay.getattr(first).await.unwrap_err().kind(), ErrorKind::Stale);
        assert_eq!(overlay.inode_count(), 1, "only the root is left");
        assert_eq!(
            overlay.lookup(ROOT, &name("file")).await.unwrap().unwrap().ino,
            first,
            "the same number again"
        );
    });
}

#[test]
fn a_number_is_kept_over_copy_up_rename_and_being_forgotten() {
    block_on(async {
        let overlay = open(Arc::new(upper()), &Faults::new()).await.unwrap();
        let ino = find(&overlay, "file").await.unwrap();
        act(&overlay, Step::Write("file")).await.unwrap();
        assert_eq!(find(&overlay, "file").await.unwrap(), ino);
        act(&overlay, Step::Rename("file", "dir/moved")).await.unwrap();
        assert_eq!(find(&overlay, "dir/moved").await.unwrap(), ino);
        overlay.forget(ino, u64::MAX);
        assert_eq!(find(&overlay, "dir/moved").await.unwrap(), ino);
    });
}

#[test]
fn operations_that_make_no_sense_fail_as_posix_says() {
    block_on(async {
        let o = open(Arc::new(upper()), &Faults::new()).await.unwrap();
        for (step, kind) in [
            (Step::Create("file"), ErrorKind::Exists),
            (Step::Mkdir("dir"), ErrorKind::Exists),
            (Step::Unlink("dir"), ErrorKind::IsDir),
            (Step::Unlink("gone"), ErrorKind::NotFound),
            (Step::Rmdir("file"), ErrorKind::NotDir),
            (Step::Rmdir("dir"), ErrorKind::NotEmpty),
            (Step::Rename("gone", "x"), ErrorKind::NotFound),
            (Step::Rename("pure", "pure/below/x"), ErrorKind::Invalid),
            (Step::Rename("pure/below", "pure"), ErrorKind::NotEmpty),
            (Step::Rename("pure", "file"), ErrorKind::NotDir),
            (Step::Rename("file", "pure"), ErrorKind::IsDir),
            (Step::Link("dir", "x"), ErrorKind::NotPermitted),
            (Step::Link("file", "own"), ErrorKind::Exists),
        ] {
            assert_eq!(act(&o, step).await.unwrap_err().kind(), kind, "{step:?}");
        }
    });
}

#[test]
fn handles_do_only_what_they_were_opened_for() {
    block_on(async {
        let o = open(Arc::new(upper()), &Faults::new()).await.unwrap();
        let ino = find(&o, "file").await.unwrap();
        let reader = o.open(ino, Open::default()).await.unwrap();
        assert_eq!(o.write(reader, 0, b"x", false).await.unwrap_err().kind(), ErrorKind::BadHandle);
        assert_eq!(o.lseek(reader, 0, Seek::Data).await.unwrap(), 0);
        assert_eq!(o.lseek(reader, 99, Seek::Data).await.unwrap_err().kind(), ErrorKind::NoSuchDevice);
        let writer = o.open(ino, Open { write: true, truncate: false }).await.unwrap();
        o.fallocate(writer, Allocate::Extend, 0, 20).await.unwrap();
        o.write(writer, 15, b"end", false).await.unwrap();
        assert_eq!(&o.read(reader, 0, 64).await.unwrap()[..], b"lower file\0\0\0\0\0end\0\0");
        o.release(reader);
        assert_eq!(o.read(reader, 0, 1).await.unwrap_err().kind(), ErrorKind::BadHandle);
    });
}

#[test]
fn a_stack_without_an_upper_refuses_changes() {
    block_on(async {
        let stack = Stack::new(None, vec![Arc::new(lower(false))]).unwrap();
        let o = Overlay::new(stack, OverlayOptions::default()).await.unwrap();
        let changes = [
            Step::Write("file"),
            Step::Chmod("file"),
            Step::SetXattr("file"),
            Step::Create("new"),
            Step::Mkdir("new"),
            Step::Link("file", "new"),
            Step::Unlink("file"),
            Step::Rmdir("empty"),
            Step::Rename("file", "new"),
        ];
        for step in changes {
            assert_eq!(act(&o, step).await.unwrap_err().kind(), ErrorKind::ReadOnly, "{step:?}");
        }
    });
}

#[test]
fn a_look_up_by_one_name_is_not_confused_by_what_happens_to_another() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path();
    for dir in ["lower", "work", "upper", "upper/one", "upper/two"] {
        std::fs::create_dir(path.join(dir)).unwrap();
    }
    std::fs::write(path.join("upper/two/b"), "four").unwrap();
    std::fs::hard_link(path.join("upper/two/b"), path.join("upper/one/a")).unwrap();
    let options = crate::local::LocalOptions::new(crate::marker::kernel::Namespace::User);
    let layer = crate::local::LocalLayer::open(&path.join("lower"), &options).unwrap();
    let upper = crate::local::LocalUpper::open(&path.join("upper"), &path.join("work"), &options).unwrap();
    let stack = Stack::new(Some(Arc::new(upper)), vec![Arc::new(layer)]).unwrap();
    let o = block_on(Overlay::new(stack, OverlayOptions::default())).unwrap();
    let (one, two) = block_on(async { (find(&o, "one").await.unwrap(), find(&o, "two").await.unwrap()) });
    let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while std::time::Instant::now() < end {
                block_on(async {
                    // Met as "one/a" first, so that this is the name by which it is reached.
                    let known = o.lookup(one, &name("a")).await.unwrap().unwrap().ino;
                    o.unlink(one, &name("a")).await.unwrap();
                    let open = Open { write: true, truncate: false };
                    let (other, handle) = o.create(ROOT_USER, one, &name("a"), 0o600, open).await.unwrap();
                    o.release(handle);
                    o.unlink(one, &name("a")).await.unwrap();
                    let linked = o.lookup(two, &name("b")).await.unwrap().unwrap().ino;
                    o.link(linked, one, &name("a")).await.unwrap();
                    o.forget(other.ino, 1);
                    o.forget(linked, 2);
                    o.forget(known, 1);
                });
            }
        });
        while std::time::Instant::now() < end {
            let seen = block_on(o.lookup(two, &name("b"))).unwrap().unwrap();
            assert_eq!(seen.size, 4, "the attributes of another file");
            o.forget(seen.ino, 1);
        }
    });
}
