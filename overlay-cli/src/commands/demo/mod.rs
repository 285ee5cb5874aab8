//! `overlay demo`: a directory and an S3 bucket under one tree, on this machine alone, within a second.

#[cfg(feature = "demo-server")]
mod scene;
#[cfg(feature = "demo-server")]
mod story;
#[cfg(feature = "demo-server")]
mod tree;

/// Shows it.
#[cfg(feature = "demo-server")]
pub(crate) use story::run;

/// Says why it cannot.
#[cfg(not(feature = "demo-server"))]
pub(crate) fn run() -> crate::failure::Result<()> {
    Err(crate::failure::Failure::new(
        "this binary was built without the demonstration; build it with the feature demo-server",
    ))
}
