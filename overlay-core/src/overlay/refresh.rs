//! Seeing an upper anew that was changed behind the mount.

use std::sync::Arc;

use super::Overlay;
use super::inode::{Inode, State};
use super::lookup::Built;
use super::table::known_depth;
use crate::error::Result;
use crate::name::Name;

impl Overlay {
    /// Looks at the layers once more, as far as they are known: a name that now stands for another object is looked up
    /// afresh when it is asked for next, and directories merge what they merge now. The client should drop the names
    /// that it keeps; those in use go on as before, as under the kernel's overlayfs.
    pub async fn refresh(&self) -> Result<()> {
        let _shape = self.renaming.lock().await;
        let mut known = self.table.named();
        // Directories first that others lie in.
        known.sort_by_cached_key(|(_, _, inode)| known_depth(inode));
        for (parent, name, inode) in known {
            let _names = parent.lock.write().await;
            self.refresh_one(&parent, &name, &inode).await?;
        }
        Ok(())
    }

    /// The caller holds the parent's lock.
    async fn refresh_one(&self, parent: &Arc<Inode>, name: &Name, inode: &Arc<Inode>) -> Result<()> {
        let facts = self.facts(parent, name).await?;
        let built = self.build(parent, name, facts).await?;
        let same = built.filter(|built| self.number_of(built) == inode.ino && is_still(built, inode));
        let Some(built) = same else {
            self.table.unname(parent.ino, name);
            return Ok(());
        };
        if inode.is_dir() {
            let _inside = inode.lock.write().await;
            let State { upper, lowers, redirect, .. } = built.state;
            let mut state = inode.state_mut();
            (state.upper, state.lowers, state.redirect) = (upper, lowers, redirect);
            state.default_acl = None;
        }
        Ok(())
    }
}

/// Whether what was found now is made up as what is known. A directory takes up what it merges now; of a file that was
/// copied up by this mount, whose number does not tell, the copy may be gone.
fn is_still(built: &Built, inode: &Inode) -> bool {
    let (now, known) = (&built.state, inode.state());
    let agrees = now.upper.is_none() == known.upper.is_none() && now.metacopy == known.metacopy;
    built.attr.kind == inode.kind && (inode.is_dir() || agrees)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]
mod tests {
    use super::*;
    use crate::conformance::block_on;
    use crate::layer::{Make, Target, UpperLayer};
    use crate::memory::MemoryLayer;
    use crate::overlay::{Open, OverlayOptions, ROOT};
    use crate::stack::Stack;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn an_upper_that_was_changed_behind_the_mount_is_seen() {
        block_on(async {
            let builder = MemoryLayer::builder("lower").file("fresh/low", "").file("old/low", "");
            let lower = builder.file("file", "").file("gone", "").file("copied", "low").build().unwrap();
            let upper = Arc::new(MemoryLayer::builder("upper").dir("old").build_upper().unwrap());
            let stack = Stack::new(Some(upper.clone()), vec![Arc::new(lower)]).unwrap();
            let overlay = Overlay::new(stack, OverlayOptions::default()).await.unwrap();
            let ino = async |parent, text: &str| {
                overlay.lookup(parent, &name(text)).await.unwrap().map(|attr| attr.ino)
            };
            let fresh = ino(ROOT, "fresh").await.unwrap();
            let old = ino(ROOT, "old").await.unwrap();
            let copied = ino(ROOT, "copied").await.unwrap();
            overlay.open(copied, Open { write: true, truncate: false }).await.unwrap();
            let file = ino(ROOT, "file").await;
            ino(ROOT, "gone").await.unwrap();
            assert!(ino(fresh, "low").await.is_some() && ino(old, "low").await.is_some());

            let root = upper.upper_root().await.unwrap();
            root.make(&name("fresh"), &Make::Dir(0o755)).await.unwrap();
            root.whiteout(&name("gone")).await.unwrap();
            root.unlink(&name("copied")).await.unwrap();
            for dir in ["fresh", "old"] {
                root.set_opaque(Target::Child(&name(dir))).await.unwrap();
            }
            overlay.refresh().await.unwrap();

            let anew = ino(ROOT, "fresh").await.unwrap();
            assert_ne!(anew, fresh, "another object is on top");
            assert_eq!(ino(anew, "low").await, None);
            assert_eq!(ino(ROOT, "old").await, Some(old));
            assert_eq!(ino(old, "low").await, None);
            assert_eq!(ino(ROOT, "gone").await, None);
            assert_eq!(overlay.lookup(ROOT, &name("copied")).await.unwrap().unwrap().size, 3, "the lower's");
            assert_eq!(ino(ROOT, "file").await, file);
        });
    }
}
