//! What every [`UpperLayer`](crate::UpperLayer) promises, one function a promise.

mod attributes;
mod files;
mod names;
mod rename;

pub use self::attributes::*;
pub use self::files::*;
pub use self::names::*;
pub use self::rename::*;
