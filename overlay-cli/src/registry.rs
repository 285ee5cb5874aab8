//! The schemes of this binary: `dir`, and those of object stores.

use std::sync::Arc;

use async_trait::async_trait;
use overlay_core::error::Result;
use overlay_core::layer::Layer;
use overlay_core::local::{LocalLayer, LocalOptions};
use overlay_core::marker::kernel::Namespace;
use overlay_core::marker::oci::OciMarkers;
use overlay_core::spec::{DIR_SCHEME, LayerSpec, Opener, Registry};
use overlay_kernel::Lower;
use overlay_s3::{ObjectOpener, SCHEMES};

/// Opens the lower layers of a mount.
pub(crate) struct Layers {
    kernel: Registry,
    oci: Registry,
}

impl Layers {
    /// With these variables for object stores, and local directories opened like this.
    pub(crate) fn new(environment: impl IntoIterator<Item = (String, String)>, local: LocalOptions) -> Self {
        let objects = Arc::new(ObjectOpener::new(environment));
        let oci = LocalOptions { fuse_overlayfs: true, ..local.clone() };
        Self { kernel: registry(&objects, local), oci: registry(&objects, oci) }
    }

    /// Opens a layer, its deletions read as it says.
    pub(crate) async fn open(&self, lower: &Lower) -> Result<Arc<dyn Layer>> {
        if lower.oci {
            Ok(OciMarkers::new(self.oci.open(&lower.spec).await?))
        } else {
            self.kernel.open(&lower.spec).await
        }
    }
}

/// Fails, before anything is opened, if a layer's scheme is unknown, or an option of a directory: the kernel engine
/// looks at the path alone.
pub(crate) fn check(lower: &Lower) -> Result<()> {
    if lower.spec.path().is_some() {
        return lower.spec.finish(&DIRECTORY_OPTIONS);
    }
    let objects = Arc::new(ObjectOpener::new([]));
    registry(&objects, LocalOptions::new(Namespace::User)).check(&lower.spec)
}

/// The options of a directory. They are taken before it is opened.
const DIRECTORY_OPTIONS: [&str; 1] = ["markers"];

fn registry(objects: &Arc<ObjectOpener>, local: LocalOptions) -> Registry {
    let directories = Registry::new().with(DIR_SCHEME, Arc::new(Directories(local)));
    SCHEMES.iter().fold(directories, |registry, scheme| registry.with(scheme, objects.clone()))
}

/// Local directories.
struct Directories(LocalOptions);

#[async_trait]
impl Opener for Directories {
    async fn open(&self, spec: &LayerSpec) -> Result<Arc<dyn Layer>> {
        spec.finish(&DIRECTORY_OPTIONS)?;
        let path = spec.path().unwrap_or_default();
        Ok(Arc::new(LocalLayer::open(&path, &self.0)?))
    }
}
