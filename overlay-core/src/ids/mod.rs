//! Owners that differ between the layers and those who look: mapped ids and squashed owners, as fuse-overlayfs has them.
//!
//! [`Owners`] decides (pure); [`shown`] and [`shown_upper`] wrap any layer by it. The union above sees only what is shown.

mod acl;
mod layer;
mod map;
mod owners;
#[cfg(test)]
mod tests;
mod upper;

use std::sync::Arc;

pub use map::{IdMap, OVERFLOW};
pub use owners::{Ids, Owners};

use crate::layer::{Layer, UpperLayer};

/// A lower layer whose objects are shown with mapped or squashed owners.
pub fn shown(inner: Arc<dyn Layer>, owners: &Owners) -> Arc<dyn Layer> {
    let rules = Rules::of(inner.label(), owners);
    Arc::new(Mapped { inner, rules })
}

/// An upper layer that shows mapped or squashed owners, and stores what is meant by those that it is given.
pub fn shown_upper(inner: Arc<dyn UpperLayer>, owners: &Owners) -> Arc<dyn UpperLayer> {
    let rules = Rules::of(inner.label(), owners);
    Arc::new(Mapped { inner, rules })
}

/// A layer, or a handle of one, whose owners are shown otherwise.
struct Mapped<T: ?Sized> {
    inner: Arc<T>,
    rules: Arc<Rules>,
}

/// What all handles of a layer share.
struct Rules {
    owners: Owners,
    /// The layer's, for errors.
    label: Arc<str>,
}

impl Rules {
    fn of(label: &Arc<str>, owners: &Owners) -> Arc<Self> {
        Arc::new(Self { owners: owners.clone(), label: label.clone() })
    }
}

impl<T: ?Sized> Mapped<T> {
    /// What the layer gave out shows its owners alike.
    fn wrap<U: ?Sized>(&self, inner: Arc<U>) -> Mapped<U> {
        Mapped { inner, rules: self.rules.clone() }
    }
}
