//! The kernel engine: the overlayfs of Linux does the merging, this crate tells it what to merge.
//!
//! [`Offer::probe`] finds out what this kernel and this process can do, [`Plan::new`] decides what to say to the
//! kernel, and [`mount`] says it. Nothing here knows of FUSE.

mod mount;
mod plan;
mod probe;

pub use mount::{KernelError, mount};
pub use plan::{Flags, LOWERS_MAX, Lower, Plan, Refusal, Request, Setting, Upper};
pub use probe::Offer;
