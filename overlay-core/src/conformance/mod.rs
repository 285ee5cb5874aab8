//! Suites that a layer type of your own runs by one line: [`layer_suite!`] and, for uppers, [`upper_suite!`].
//!
//! Each promise of the contract is one `#[test]`. Beside them: [`Tree`], content as plain data, and [`Faults`], which
//! lets chosen calls of any layer fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken promise is a panic: that is what a test is"
)]

mod faults;
mod faulty;
mod fill;
pub mod lower;
mod macros;
mod sample;
mod suite;
mod tree;
pub mod upper;
mod walk;

pub use self::faults::{Call, Faults};
#[cfg(test)]
pub(crate) use self::suite::assert_forwards_everything;
pub use self::suite::{Subject, block_on, check_layer, check_upper};
pub use self::tree::{Capabilities, Row, Tree, What, names};
pub use crate::{layer_suite, upper_suite};

#[cfg(test)]
mod tests;
