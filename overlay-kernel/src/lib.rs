//! The kernel engine: the overlayfs of Linux does the merging, this crate tells it what to merge.
//!
//! [`Offer::probe`] finds out what this kernel and this process can do, [`Plan::new`] decides what to say to the
//! kernel, and [`mount`] says it; [`remount`] and [`Mounted::unmount`] change and end what is mounted. Nothing here
//! knows of FUSE.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use overlay_kernel::{Lower, Offer, Plan, Request, Upper, mount};
//!
//! let request = Request {
//!     lowers: vec![Lower::Directory("/srv/base".into())],
//!     upper: Some(Upper { upper: "/srv/upper".into(), work: "/srv/work".into() }),
//!     ..Request::default()
//! };
//! let plan = Plan::new(&request)?;
//! match Offer::probe() {
//!     Offer::Overlayfs(means) => {
//!         let mounted = mount(&plan, &[], means, Path::new("/mnt"), Path::new("/run"))?;
//!         mounted.unmount()?;
//!     }
//!     Offer::Nothing(why) => println!("{why}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Decisions are pure: [`Plan`] (with `options` and `escape`) and `explain`, which turns what the kernel answered
//! into what to do. System calls are in rooms of their own: `layers`, `context`, `legacy`, `shelter`, `identity`,
//! `remount`, `upper`.

mod context;
mod depth;
mod error;
mod escape;
mod explain;
mod facts;
mod flags;
mod identity;
mod layers;
mod legacy;
mod mount;
mod options;
mod plan;
mod probe;
mod remount;
mod scratch;
mod shelter;
mod upper;

pub use depth::is_too_deep;
pub use error::{KernelError, Log};
pub use flags::Flags;
pub use identity::Mounted;
pub use mount::{detached, mount};
pub use plan::{LOWERS_MAX, Layer, Lower, Plan, Refusal, Request, Role, Setting, Upper};
pub use probe::{Means, Offer};
pub use remount::remount;
pub use scratch::scratch;
pub use upper::{upper_refusal, upper_refusal_with};
