//! Object stores as read-only layers: a prefix of S3, GCS, Azure, a WebDAV server, a directory or memory is shown
//! as a tree.
//!
//! Start at [`ObjectOpener`] to open what a user typed, at [`PrefixLayer`] to show a store that a program has
//! already. The unit of caching is a *complete directory*: once listed, it answers every look-up, found or not,
//! without a request.
//!
//! ```
//! use overlay_core::{Layer, LayerSpec, Name};
//! use overlay_s3::ObjectOpener;
//!
//! # async fn example() -> overlay_core::Result<()> {
//! let spec = LayerSpec::parse("s3://bucket/prefix?region=eu-central-1&timeout=10")?;
//! let layer = ObjectOpener::new(std::env::vars()).open_prefix(&spec).await?;
//! let found = layer.root().await?.lookup(&Name::new("README")?).await?;
//! println!("{found:?}, after {} requests", layer.stats().lists);
//! # Ok(())
//! # }
//! ```
//!
//! Everything must be polled within a tokio runtime with timers and input/output enabled.
//!
//! # Limits
//! - `file://` is a stand-in for a bucket: it follows symbolic links, out of the directory too, and hides names
//!   that are not UTF-8. A directory of this machine is better given as a path.
//! - The keys of a store are UTF-8; those with ASCII control characters are hidden.
//! - A truncated listing of a server that does not list in order (S3's directory buckets) costs one page more.

mod deadline;
mod error;
mod opener;
mod page;
mod prefix;
mod read;
mod sanitize;
#[cfg(feature = "server")]
pub mod server;
mod stats;
mod store;
mod url;
mod wire;

pub use opener::ObjectOpener;
pub use prefix::PrefixLayer;
pub use stats::{Hidden, Stats};
pub use url::{SCHEMES, Settings};
