//! The FUSE server: a union mounted in user space.
//!
//! `adapter` decodes a request, calls [`overlay_core::overlay::Overlay`] and answers; it decides nothing about files.

mod adapter;
mod answer;
mod convert;
mod fusermount;
mod ioctl;
mod mount;
mod passthrough;
mod session;
mod task;

pub use mount::{MountError, MountFlags, MountOptions, unmount};
pub use session::{Mounted, Unmounter, mount};
