//! How layers write down that a name is deleted or a directory is opaque.

pub mod kernel;
