//! Random operations on the kernel's overlayfs and on ours: a program must see no difference.
//!
//! `OVERLAY_SEED=n` plays one sequence again, `OVERLAY_SEQUENCES=n` plays `n` from the seed or 0 on,
//! `OVERLAY_KEEP_GOING=1` goes on after a failure. What differs on purpose stands in `differential/allowed.rs`.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "in a test a failure is a panic, and modules are private"
)]

#[path = "differential/allowed.rs"]
mod allowed;
mod common;
#[path = "differential/flags.rs"]
mod flags;
#[path = "differential/lowers.rs"]
mod lowers;
#[path = "differential/op.rs"]
mod op;
#[path = "differential/rng.rs"]
mod rng;
#[path = "differential/run.rs"]
mod run;
#[path = "differential/shrink.rs"]
mod shrink;
#[path = "differential/side.rs"]
mod side;
#[path = "differential/tree.rs"]
mod tree;

use std::sync::atomic::{AtomicU64, Ordering};

use lowers::Extra;
use rng::Rng;
use run::Features;

/// Steps of a sequence.
const STEPS: usize = 120;

/// Sequences of an ordinary test run: what two cores do in some twenty seconds.
const SEQUENCES: u64 = 180;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Plays the sequence of a seed; the report of a failure.
fn play(features: Features, seed: u64) -> Option<String> {
    let mut rng = Rng::new(seed);
    // Redirects that no overlay wrote may show a lower object in two places. That is looked at and left alone: of what becomes
    // of such an object when it is changed, the kernel says that it is not defined.
    let marked = features == Features::On && seed % 3 == 2;
    let extra = match features {
        Features::On if marked => Extra::Marks,
        Features::Index => Extra::Links,
        _ => Extra::Nothing,
    };
    let layers = lowers::lowers(&mut rng, extra);
    let mut left = if marked { 0 } else { STEPS };
    let done = run::run(features, &layers, 8, |known| {
        left = left.checked_sub(1)?;
        Some(op::step(&mut rng, known))
    });
    let failure = done.failure?;
    let small = shrink::shrink(features, layers, done.steps, failure);
    Some(format!("OVERLAY_SEED={seed} {features:?}\n{small}"))
}

#[test]
fn the_kernel_and_we_agree_on_every_operation() {
    needs_fuse!();
    agree(Features::Off, SEQUENCES);
}

#[test]
fn the_kernel_and_we_agree_with_redirects_and_metacopies() {
    needs_fuse!();
    agree(Features::On, SEQUENCES);
}

#[test]
fn the_kernel_and_we_agree_with_an_index() {
    needs_fuse!();
    agree(Features::Index, SEQUENCES / 2);
}

fn agree(features: Features, sequences: u64) {
    let first = number("OVERLAY_SEED");
    let count = number("OVERLAY_SEQUENCES").unwrap_or(if first.is_some() { 1 } else { sequences });
    let seeds = first.unwrap_or(0)..first.unwrap_or(0) + count;
    let keep_going = number("OVERLAY_KEEP_GOING").is_some();
    let next = AtomicU64::new(seeds.start);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || (!keep_going && !failures.lock().unwrap().is_empty()) {
                        return;
                    }
                    if let Some(failure) = play(features, seed) {
                        eprintln!("{failure}\n");
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of the sequences failed:\n{}", failures.len(), failures.join("\n\n"));
}
