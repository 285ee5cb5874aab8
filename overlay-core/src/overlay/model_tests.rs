//! A union behaves like one plain file system: random operations on a union of layers and on a single layer that
//! holds the merged tree from the start give the same results and the same trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{ROOT_USER, find, name, split, tree};
use super::{Change, Open, Overlay, OverlayOptions, RedirectDir};
use crate::attr::SetAttr;
use crate::conformance::block_on;
use crate::error::{Kind as ErrorKind, Result};
use crate::layer::{SetXattr, UpperLayer};
use crate::memory::{MemoryBuilder, MemoryLayer, MemoryUpper};
use crate::merge::plan::RenameMode;
use crate::stack::Stack;

/// What a layer holds under a path of one or two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    File,
    Dir,
    OpaqueDir,
    Whiteout,
}

#[derive(Clone, Debug)]
enum Op {
    Create(String),
    Write(String),
    Truncate(String),
    Mkdir(String),
    Symlink(String),
    Unlink(String),
    Rmdir(String),
    Chown(String),
    Xattr(String),
    Link(String, String),
    Rename(String, String, RenameMode),
    Remount,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn path() -> impl Strategy<Value = String> {
    let part = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        part().prop_map(String::from),
        (part(), part()).prop_map(|(a, b)| format!("{a}/{b}")),
        (part(), part(), part()).prop_map(|(a, b, c)| format!("{a}/{b}/{c}")),
    ]
}

fn mode() -> impl Strategy<Value = RenameMode> {
    prop::sample::select(
        &[RenameMode::Replace, RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange][..],
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => path().prop_map(Op::Create),
        1 => path().prop_map(Op::Write),
        1 => path().prop_map(Op::Truncate),
        1 => path().prop_map(Op::Mkdir),
        1 => path().prop_map(Op::Symlink),
        3 => path().prop_map(Op::Unlink),
        3 => path().prop_map(Op::Rmdir),
        1 => path().prop_map(Op::Chown),
        1 => path().prop_map(Op::Xattr),
        1 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        4 => (path(), path(), mode()).prop_map(|(a, b, m)| Op::Rename(a, b, m)),
        1 => Just(Op::Remount),
    ]
}

type Rows = BTreeMap<String, Put>;

fn layer() -> impl Strategy<Value = Rows> {
    let put = prop::sample::select(&[Put::File, Put::File, Put::Dir, Put::OpaqueDir, Put::Whiteout][..]);
    prop::collection::btree_map(path(), put, 0..7)
}

/// Leaves out what would lie below something that is no directory.
fn sound(rows: &Rows) -> Rows {
    let is_dir = |path: &str| !matches!(rows.get(path), Some(Put::File | Put::Whiteout));
    let parents = |path: &str| path.match_indices('/').all(|(at, _)| is_dir(&path[..at]));
    rows.iter().filter(|(path, _)| parents(path)).map(|(path, put)| (path.clone(), *put)).collect()
}

fn fill(label: &str, rows: &Rows) -> MemoryBuilder {
    let mut builder = MemoryLayer::builder(label);
    for (path, put) in &sound(rows) {
        builder = match put {
            Put::File => builder.file(path, format!("{label} {path}")),
            Put::Dir => builder.dir(path),
            Put::OpaqueDir => builder.dir(path).opaque(),
            Put::Whiteout => builder.whiteout(path),
        };
    }
    builder
}

/// The same merged tree in one layer.
fn flat(seen: &BTreeMap<String, String>) -> MemoryUpper {
    let mut builder = MemoryLayer::builder("flat");
    for (path, shown) in seen {
        let path = path.trim_start_matches('/');
        // "File 644 0:0 content", as `tree` prints it.
        builder = match shown.split_once("0:0 ") {
            Some((kind, content)) if kind.starts_with("File") => builder.file(path, content),
            _ => builder.dir(path),
        };
    }
    builder.build_upper().unwrap()
}

/// A mount that can be made anew over the same upper.
struct Subject {
    upper: Arc<MemoryUpper>,
    lowers: Vec<Arc<MemoryLayer>>,
    overlay: Arc<Overlay>,
    options: OverlayOptions,
}

impl Subject {
    async fn new(upper: MemoryUpper, lowers: Vec<Arc<MemoryLayer>>, options: OverlayOptions) -> Self {
        let upper = Arc::new(upper);
        let overlay = mount(&upper, &lowers, &options).await;
        Self { upper, lowers, overlay, options }
    }

    async fn remount(&mut self) {
        self.upper = Arc::new(self.upper.reopen().unwrap());
        self.overlay = mount(&self.upper, &self.lowers, &self.options).await;
    }
}

async fn mount(
    upper: &Arc<MemoryUpper>,
    lowers: &[Arc<MemoryLayer>],
    options: &OverlayOptions,
) -> Arc<Overlay> {
    let upper: Arc<dyn UpperLayer> = upper.clone();
    let lowers = lowers.iter().map(|lower| lower.clone() as Arc<dyn crate::Layer>).collect();
    Overlay::new(Stack::new(Some(upper), lowers).unwrap(), options.clone()).await.unwrap()
}

async fn act(overlay: &Overlay, op: &Op) -> Result<()> {
    let write = Open { write: true, truncate: false };
    match op {
        Op::Create(path) => {
            let (dir, last) = split(overlay, path).await?;
            let (_, handle) = overlay.create(ROOT_USER, dir, &last, 0o644, write).await?;
            let written = overlay.write(handle, 0, b"created", false).await;
            overlay.release(handle);
            written
        }
        Op::Write(path) => open_and_write(overlay, path, write).await,
        Op::Truncate(path) => open_and_write(overlay, path, Open { truncate: true, ..write }).await,
        Op::Mkdir(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.mkdir(ROOT_USER, dir, &last, 0o755).await.map(drop)
        }
        Op::Symlink(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.symlink(ROOT_USER, dir, &last, b"target").await.map(drop)
        }
        Op::Unlink(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.unlink(dir, &last).await
        }
        Op::Rmdir(path) => {
            let (dir, last) = split(overlay, path).await?;
            overlay.rmdir(dir, &last).await
        }
        Op::Chown(path) => {
            let set = SetAttr { uid: Some(7), ..SetAttr::default() };
            let change = Change { set, kill_privilege: false };
            overlay.setattr(find(overlay, path).await?, None, &change).await.map(drop)
        }
        Op::Xattr(path) => overlay.setxattr(find(overlay, path).await?, b"user.k", b"v", SetXattr::Any).await,
        Op::Link(old, new) => {
            let ino = find(overlay, old).await?;
            let (dir, last) = split(overlay, new).await?;
            overlay.link(ino, dir, &last).await.map(drop)
        }
        Op::Rename(old, new, mode) => {
            let ((from, old), (to, new)) = (split(overlay, old).await?, split(overlay, new).await?);
            overlay.rename(from, &old, to, &new, *mode).await
        }
        Op::Remount => Ok(()),
    }
}

async fn open_and_write(overlay: &Overlay, path: &str, open: Open) -> Result<()> {
    let handle = overlay.open(find(overlay, path).await?, open).await?;
    let written = overlay.write(handle, 2, b"written", false).await;
    overlay.release(handle);
    written
}

/// Plays the operations on both; a rename that the union must refuse is left out on the other.
async fn play(layers: &[Rows; 3], ops: &[Op], options: OverlayOptions) {
    let lowers = vec![
        Arc::new(fill("top", &layers[1]).build().unwrap()),
        Arc::new(fill("bottom", &layers[2]).build().unwrap()),
    ];
    let mut union =
        Subject::new(fill("upper", &layers[0]).build_upper().unwrap(), lowers, options.clone()).await;
    let empty = vec![Arc::new(MemoryLayer::builder("empty").build().unwrap())];
    let mut plain = Subject::new(flat(&tree(&union.overlay).await.unwrap()), empty, options).await;
    for (step, op) in ops.iter().enumerate() {
        if matches!(op, Op::Remount) {
            union.remount().await;
            plain.remount().await;
        }
        let ours = act(&union.overlay, op).await.map_err(|error| error.kind());
        if ours != Err(ErrorKind::CrossDevice) {
            let expected = act(&plain.overlay, op).await.map_err(|error| error.kind());
            assert_eq!(ours, expected, "step {step}: {op:?} of {ops:?} on {layers:?}");
        }
        let trees = (tree(&union.overlay).await.unwrap(), tree(&plain.overlay).await.unwrap());
        assert_eq!(trees.0, trees.1, "after step {step}: {op:?} of {ops:?} on {layers:?}");
    }
    let work = union.upper.work().await.unwrap();
    assert_eq!(work.list().await.unwrap(), [], "work is left empty");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_union_is_like_one_file_system(
        upper in layer(),
        top in layer(),
        bottom in layer(),
        ops in prop::collection::vec(op(), 1..25),
        redirect_dir in prop::sample::select(&[RedirectDir::On, RedirectDir::On, RedirectDir::Off][..]),
        metacopy in any::<bool>(),
    ) {
        let options = OverlayOptions { redirect_dir, metacopy, ..OverlayOptions::default() };
        block_on(play(&[upper, top, bottom], &ops, options));
    }
}

#[test]
fn the_model_notices_a_difference() {
    let rows = |rows: &[(&str, Put)]| rows.iter().map(|(p, put)| ((*p).to_string(), *put)).collect::<Rows>();
    block_on(async {
        let lower = Arc::new(fill("lower", &rows(&[("a/b", Put::File)])).build().unwrap());
        let union = Subject::new(MemoryUpper::new("upper"), vec![lower], OverlayOptions::default()).await;
        let before = tree(&union.overlay).await.unwrap();
        act(&union.overlay, &Op::Unlink("a/b".into())).await.unwrap();
        assert_ne!(before, tree(&union.overlay).await.unwrap());
        assert!(union.overlay.lookup(super::ROOT, &name("a")).await.unwrap().is_some());
    });
}
