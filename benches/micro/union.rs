//! Operations of the union on local layers, without FUSE in the loop.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot run is a panic")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use overlay_core::local::{LocalLayer, LocalOptions, LocalUpper};
use overlay_core::merge::inherit::Caller;
use overlay_core::overlay::{Open, Overlay, OverlayOptions, ROOT};
use overlay_core::{Layer, Name, Stack, UpperLayer};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const LOWERS: usize = 10;

/// A union of ten lowers under an upper; the deepest lower holds the files.
fn union(dir: &Path) -> Arc<Overlay> {
    let names = (0..LOWERS).map(|i| format!("l{i}")).chain(["upper".into(), "work".into()]);
    names.for_each(|name| std::fs::create_dir(dir.join(name)).unwrap());
    let deepest = dir.join(format!("l{}", LOWERS - 1));
    for i in 0..1000 {
        std::fs::write(deepest.join(format!("f{i}")), vec![7; 4096]).unwrap();
    }
    let options = LocalOptions::new(LocalUpper::namespace(&dir.join("work")).unwrap());
    let upper = LocalUpper::open(&dir.join("upper"), &dir.join("work"), &options).unwrap();
    let lower =
        |i| Arc::new(LocalLayer::open(&dir.join(format!("l{i}")), &options).unwrap()) as Arc<dyn Layer>;
    let stack =
        Stack::new(Some(Arc::new(upper) as Arc<dyn UpperLayer>), (0..LOWERS).map(lower).collect()).unwrap();
    let user = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let options = OverlayOptions { creates_as: Some(user), volatile: true, ..OverlayOptions::default() };
    Runtime::new().unwrap().block_on(Overlay::new(stack, options)).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn bench(c: &mut Criterion) {
    rustix::process::umask(rustix::fs::Mode::empty());
    let dir = TempDir::new().unwrap();
    let overlay = union(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    lookups(c, &runtime, &overlay);
    data(c, &runtime, &overlay);
    changes(c, &runtime, &overlay);
}

fn lookups(c: &mut Criterion, runtime: &Runtime, overlay: &Overlay) {
    c.bench_function("lookup of a known name", |b| {
        let f0 = name("f0");
        b.iter(|| runtime.block_on(overlay.lookup(ROOT, black_box(&f0))).unwrap());
    });
    c.bench_function("lookup through ten lowers, forgotten each time", |b| {
        let f1 = name("f1");
        b.iter(|| {
            let ino = runtime.block_on(overlay.lookup(ROOT, black_box(&f1))).unwrap().unwrap().ino;
            overlay.forget(ino, 1);
        });
    });
    c.bench_function("lookup of an absent name in ten lowers", |b| {
        let absent = name("absent");
        b.iter(|| runtime.block_on(overlay.lookup(ROOT, black_box(&absent))).unwrap());
    });
    c.bench_function("listing of 1,000 names", |b| {
        b.iter(|| {
            let handle = runtime.block_on(overlay.opendir(ROOT)).unwrap();
            black_box(runtime.block_on(overlay.readdir(handle, true)).unwrap().len());
            overlay.releasedir(handle);
        });
    });
}

fn data(c: &mut Criterion, runtime: &Runtime, overlay: &Overlay) {
    let ino = runtime.block_on(overlay.lookup(ROOT, &name("f2"))).unwrap().unwrap().ino;
    c.bench_function("open, read 4 KiB, close", |b| {
        b.iter(|| {
            let handle = runtime.block_on(overlay.open(ino, Open::default())).unwrap();
            black_box(runtime.block_on(overlay.read(handle, 0, 4096)).unwrap());
            overlay.release(handle);
        });
    });
}

fn changes(c: &mut Criterion, runtime: &Runtime, overlay: &Overlay) {
    let caller = Caller { uid: 0, gid: 0, umask: 0o022 };
    let open = Open { write: true, truncate: false };
    c.bench_function("create and unlink", |b| {
        let new = name("new");
        b.iter(|| {
            let (attr, handle) = runtime.block_on(overlay.create(caller, ROOT, &new, 0o666, open)).unwrap();
            overlay.release(handle);
            runtime.block_on(overlay.unlink(ROOT, &new)).unwrap();
            overlay.forget(attr.ino, 1);
        });
    });
    let ino = runtime.block_on(overlay.lookup(ROOT, &name("f3"))).unwrap().unwrap().ino;
    let handle = runtime.block_on(overlay.open(ino, open)).unwrap();
    c.bench_function("write 4 KiB to a file that was copied up", |b| {
        let data = vec![9; 4096];
        b.iter(|| runtime.block_on(overlay.write(handle, 0, black_box(&data), false)).unwrap());
    });
    overlay.release(handle);
}

criterion_group!(benches, bench);
criterion_main!(benches);
