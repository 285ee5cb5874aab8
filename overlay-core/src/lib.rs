//! The core of Overlay: the contract of a layer, the merge of a stack, and the union as an inode-addressed file
//! system with nothing of FUSE in it.
//!
//! Start at [`layer`] to write a layer type of your own, at [`stack`] and `overlay` to merge some.

pub mod attr;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy_up;
pub mod entry;
pub mod error;
pub mod ids;
pub mod layer;
pub mod local;
pub mod marker;
pub mod memory;
pub mod merge;
pub mod name;
pub mod overlay;
pub mod override_stat;
pub mod spec;
pub mod stack;

pub use attr::{Attr, SetAttr, SetTime, StatFs, Time};
pub use entry::{Entry, FileId, Found, ListEntry, Mark};
pub use error::{Error, Result};
pub use layer::{Dir, File, Layer, Node, Target, UpperDir, UpperFile, UpperLayer, UpperNode};
pub use name::Name;
pub use spec::{LayerSpec, Opener, Registry};
pub use stack::Stack;
