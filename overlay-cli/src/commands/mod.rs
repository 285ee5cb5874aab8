//! The commands, one room each.

pub(crate) mod demo;
pub(crate) mod mount;
pub(crate) mod umount;
