//! The union on the reference layers.
