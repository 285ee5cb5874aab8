//! What a lower protects from change stays so: objects that are immutable or append-only there (chattr(1)).
//!
//! The kernel's overlayfs refuses to change them as any file system does, but for appending to what is append-only,
//! which is refused here too. An object of the upper is protected by the file system it lies on.

use super::Overlay;
use super::inode::{Inode, Lower};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::Target;

impl Overlay {
    /// Fails for an object that only a lower has and that is protected there.
    pub(super) async fn refuse_protected(&self, inode: &Inode, op: &'static str) -> Result<()> {
        if inode.has_upper() {
            return Ok(());
        }
        let lower = inode.state().lowers.first().cloned();
        let protected = match &lower {
            Some(Lower::Dir(_, dir)) => dir.is_protected(Target::Itself).await?,
            Some(Lower::Other(_, dir, name)) => dir.is_protected(Target::Child(name)).await?,
            Some(Lower::Data(_)) | None => false,
        };
        if protected { Err(Error::new(ErrorKind::NotPermitted, op)) } else { Ok(()) }
    }
}
