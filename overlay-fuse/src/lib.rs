//! The FUSE server: a union mounted in user space, or one layer as a lower of the kernel's overlayfs ([`Image`]).
//!
//! `adapter` decodes a request, calls [`overlay_core::overlay::Overlay`] and answers; it decides nothing about files.

mod adapter;
mod answer;
mod convert;
mod fusermount;
mod image;
mod ioctl;
mod mount;
mod passthrough;
mod session;
mod task;

pub use image::{Image, ImageError, ImageOptions, ImageServer};
pub use mount::{MountError, MountFlags, MountOptions, refresh, unmount};
pub use session::{Mounted, Ready, Unmounter, mount, prepare};
