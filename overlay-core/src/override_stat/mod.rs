//! Owner, mode and type of objects in an xattr, for a process that may give files to nobody and make no devices:
//! fuse-overlayfs's `xattr_permissions`.
//!
//! `value` is the format and decides (pure); [`overridden`] and [`overridden_upper`] wrap any layer by it. The real
//! objects then are regular files, directories and symbolic links of the process. The xattrs are never shown.

mod layer;
#[cfg(test)]
mod tests;
mod upper;
mod value;

use std::sync::Arc;

pub use value::Form;

use crate::attr::Attr;
use crate::error::{Error, Kind, Result};
use crate::layer::{Layer, UpperLayer};
use value::Override;

/// A lower layer, what its xattrs say shown in place of what its inodes say.
pub fn overridden(inner: Arc<dyn Layer>, form: Form) -> Arc<dyn Layer> {
    let rules = Rules::of(inner.label(), form);
    Arc::new(Overridden { inner, rules })
}

/// An upper layer that keeps owner, mode and type in xattrs.
///
/// What is made in it cannot have the group of its directory by itself, so
/// [`OverlayOptions::creates_as`](crate::overlay::OverlayOptions::creates_as) must be `None` over it.
pub fn overridden_upper(inner: Arc<dyn UpperLayer>, form: Form) -> Arc<dyn UpperLayer> {
    let rules = Rules::of(inner.label(), form);
    Arc::new(Overridden { inner, rules })
}

/// A layer, or a handle of one, with its xattrs heeded.
struct Overridden<T: ?Sized> {
    inner: Arc<T>,
    rules: Arc<Rules>,
}

/// What all handles of a layer share.
struct Rules {
    form: Form,
    /// The layer's, for errors.
    label: Arc<str>,
}

impl Rules {
    fn of(label: &Arc<str>, form: Form) -> Arc<Self> {
        Arc::new(Self { form, label: label.clone() })
    }

    /// The attributes that an object with these of its own and this xattr is shown with.
    fn show(&self, real: Attr, value: Option<Vec<u8>>) -> Result<Attr> {
        let Some(value) = value else { return Ok(real) };
        let malformed = || {
            let text = String::from_utf8_lossy(&value);
            let sentence =
                format!("the override_stat xattr has the value \"{text}\", which is no UID:GID:0MODE:TYPE");
            Error::new(Kind::Invalid, "stat").in_layer(&self.label).because(sentence)
        };
        Ok(Override::parse(&value).ok_or_else(malformed)?.apply(real))
    }

    /// What a call answers that is for regular files, if what is shown is none.
    fn only_files(&self, shown: &Attr) -> Result<()> {
        if shown.kind == crate::attr::Kind::File {
            return Ok(());
        }
        Err(Error::new(Kind::Invalid, "open").in_layer(&self.label))
    }
}

impl<T: ?Sized> Overridden<T> {
    /// What the layer gave out is shown alike.
    fn wrap<U: ?Sized>(&self, inner: Arc<U>) -> Overridden<U> {
        Overridden { inner, rules: self.rules.clone() }
    }
}
