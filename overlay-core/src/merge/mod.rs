//! Pure decisions of the union: facts go in, a decision comes out, nothing is asked or changed.

pub mod inherit;
pub mod listing;
pub mod lookup;
pub mod nlink;
pub mod plan;
pub mod redirect;
