//! On-disk encodings of deletions: how layers say that a name is gone or that a directory hides those below.

pub mod kernel;
pub mod oci;
