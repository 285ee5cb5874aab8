//! Object stores as read-only layers: a prefix of S3, GCS, Azure, a WebDAV server, a directory or memory is shown
//! as a tree.
//!
//! Start at [`ObjectOpener`] to open what a user typed, at [`PrefixLayer`] to show a store that a program has
//! already. The unit of caching is a *complete directory*: once listed, it answers every look-up, found or not,
//! without a request.

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
