//! A validated stack: the lowers, topmost first, and perhaps an upper.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::layer::{Layer, UpperLayer};

/// The most layers of a stack: the index of a layer is 16 bits wide in inode numbers.
pub const LAYERS_MAX: usize = u16::MAX as usize;

/// Layers to be merged.
#[derive(Clone)]
pub struct Stack {
    upper: Option<Arc<dyn UpperLayer>>,
    lowers: Vec<Arc<dyn Layer>>,
    data: Vec<Arc<dyn Layer>>,
}

impl Stack {
    /// A stack of `lowers` (topmost first) under `upper`; without an upper it is read-only.
    ///
    /// # Errors
    /// `Invalid` without a lower, or with more layers than [`LAYERS_MAX`].
    pub fn new(upper: Option<Arc<dyn UpperLayer>>, lowers: Vec<Arc<dyn Layer>>) -> Result<Self> {
        Self::with_data(upper, lowers, Vec::new())
    }

    /// As [`Stack::new`], over data-only layers (topmost first): nothing of them is shown, but files of the layers above
    /// that are marked as lacking their data, and have a path for a redirect, take it from that path in them.
    pub fn with_data(
        upper: Option<Arc<dyn UpperLayer>>,
        lowers: Vec<Arc<dyn Layer>>,
        data: Vec<Arc<dyn Layer>>,
    ) -> Result<Self> {
        if lowers.is_empty() {
            return Err(Error::new(Kind::Invalid, "mount").because("a stack needs at least one lower layer"));
        }
        let count = lowers.len() + data.len();
        if count >= LAYERS_MAX {
            let sentence = format!("a stack has at most {LAYERS_MAX} layers, this one has {count}");
            return Err(Error::new(Kind::Invalid, "mount").because(sentence));
        }
        Ok(Self { upper, lowers, data })
    }

    /// The writable layer.
    pub fn upper(&self) -> Option<&Arc<dyn UpperLayer>> {
        self.upper.as_ref()
    }

    /// The read-only layers, topmost first.
    pub fn lowers(&self) -> &[Arc<dyn Layer>] {
        &self.lowers
    }

    /// The layers that lend data only, topmost first.
    pub fn data(&self) -> &[Arc<dyn Layer>] {
        &self.data
    }
}
