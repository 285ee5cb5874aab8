//! What every [`Layer`](crate::Layer) promises, one function a promise.

mod attributes;
mod content;
mod life;
mod names;

pub use self::attributes::*;
pub use self::content::*;
pub use self::life::*;
pub use self::names::*;
