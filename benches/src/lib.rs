//! Benchmarks of the overlay crates: `cargo bench -p overlay-benches`.
//!
//! `micro/` measures operations of the union without FUSE in the loop. Dated results are kept in `results/`.
