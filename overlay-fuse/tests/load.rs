//! A union under load: four threads do random operations on one mount. Nothing panics, nothing hangs, and a new
//! mount shows the same tree.
//!
//! `OVERLAY_LOAD_SECONDS=n` makes it longer, `OVERLAY_SEED=n` makes it another.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test that uses a part of the other's modules"
)]

mod common;
#[path = "differential/flags.rs"]
mod flags;
#[path = "differential/lowers.rs"]
mod lowers;
#[path = "differential/op.rs"]
mod op;
#[path = "differential/rng.rs"]
mod rng;
#[path = "differential/side.rs"]
mod side;
#[path = "differential/tree.rs"]
mod tree;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use common::Union;
use op::Op;
use rng::Rng;
use side::{Side, Sort};
use tree::{Age, differences, tree};

const THREADS: u64 = 4;

/// A single operation is done in milliseconds; one that takes this long never ends.
const PATIENCE: Duration = Duration::from_secs(30);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Random operations until `until`; `done` hears of each.
fn work(side: &mut Side, rng: &mut Rng, until: Instant, known: &[String], errors: &Errors) {
    while Instant::now() < until {
        let step = op::step(rng, known);
        if matches!(step.op, Op::Remount) {
            continue;
        }
        errors.count.fetch_add(1, Ordering::Relaxed);
        if let Err(errno) = side.apply(&step)
            && matches!(errno, rustix::io::Errno::IO | rustix::io::Errno::NOTCONN)
        {
            eprintln!("{step:?}: {errno}");
            errors.broken.store(true, Ordering::Relaxed);
        }
    }
    side.close_all();
}

#[derive(Default)]
struct Errors {
    count: AtomicU64,
    /// An operation panicked or the server died.
    broken: AtomicBool,
}

/// Ends the test from outside if it hangs: a thread that waits for a mount that does not answer cannot be stopped.
fn watchdog(limit: Duration) -> Sender<()> {
    let (alive, heard) = channel();
    std::thread::spawn(move || {
        if heard.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("HANG: the mount does not answer");
            std::process::exit(101);
        }
    });
    alive
}

#[test]
fn four_threads_leave_a_tree_that_a_new_mount_shows_again() {
    needs_fuse!();
    let seconds = Duration::from_secs(number("OVERLAY_LOAD_SECONDS").unwrap_or(5));
    let seed = number("OVERLAY_SEED").unwrap_or(1);
    eprintln!("OVERLAY_SEED={seed}");
    let alive = watchdog(seconds + PATIENCE);
    let mut union = Union::new(2);
    let mut rng = Rng::new(seed);
    for (index, layer) in lowers::lowers(&mut rng, lowers::Extra::Links).iter().take(2).enumerate() {
        lowers::build(&union.at(&format!("l{index}")), layer);
    }
    (union.options.metacopy, union.options.index) = (seed % 2 == 1, seed % 3 == 1);
    union.mount();
    let lower = |union: &Union, index: usize| tree(&union.at(&format!("l{index}")), i64::MAX, Sort::Ours);
    let lowers_before = [lower(&union, 0), lower(&union, 1)];
    let known: Vec<_> = tree(&union.mnt(""), i64::MAX, Sort::Ours).into_keys().filter(|p| p != "/").collect();
    let errors = Errors::default();
    let until = Instant::now() + seconds;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut side = Side::new(union.mnt(""), Sort::Ours, i64::MAX);
            let mut rng = Rng::new(seed * THREADS + thread);
            let (known, errors) = (&known, &errors);
            scope.spawn(move || work(&mut side, &mut rng, until, known, errors));
        }
    });
    assert!(!errors.broken.load(Ordering::Relaxed), "an operation failed with EIO or the server died");
    let count = errors.count.load(Ordering::Relaxed);
    assert!(count > 1000, "only {count} operations in {seconds:?}");
    let before = tree(&union.mnt(""), i64::MAX, Sort::Ours);
    let after = tree(&union.remount().mnt(""), i64::MAX, Sort::Ours);
    let lines = differences(&after, &before, Age::Used);
    assert!(lines.is_empty(), "the new mount (called kernel) shows another tree:\n{}", lines.join("\n"));
    assert_eq!([lower(&union, 0), lower(&union, 1)], lowers_before, "the lowers");
    union.unmount();
    assert_eq!(common::names(&union.at("work/work")), [""; 0], "left in work");
    alive.send(()).unwrap();
    eprintln!("{count} operations");
}
