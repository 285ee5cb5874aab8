//! The commands, one room each.

pub(crate) mod demo;
mod dry_run;
pub(crate) mod mount;
pub(crate) mod remount;
pub(crate) mod umount;
