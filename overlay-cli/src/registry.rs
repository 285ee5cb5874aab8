//! The schemes of this binary: `dir`, and those of object stores.

use std::sync::Arc;

use async_trait::async_trait;
use overlay_core::error::Result;
use overlay_core::layer::Layer;
use overlay_core::local::{LocalLayer, LocalOptions};
use overlay_core::marker::kernel::Namespace;
use overlay_core::marker::oci::OciMarkers;
use overlay_core::spec::{DIR_SCHEME, LayerSpec, Opener, Registry};
use overlay_s3::{ObjectOpener, SCHEMES};

use crate::plan::Lower;

/// Opens the lower layers of a mount.
pub(crate) struct Layers {
    kernel: Registry,
    oci: Registry,
    owner: (u32, u32),
}

impl Layers {
    /// With these variables for object stores, whose objects belong to `owner` (user and group) unless a URL says
    /// otherwise, and local directories opened like this.
    pub(crate) fn new(
        environment: impl IntoIterator<Item = (String, String)>,
        owner: (u32, u32),
        local: LocalOptions,
    ) -> Self {
        let objects = Arc::new(ObjectOpener::new(environment));
        let oci = LocalOptions { fuse_overlayfs: true, ..local.clone() };
        Self { kernel: registry(&objects, local), oci: registry(&objects, oci), owner }
    }

    /// Opens a layer, its deletions read as it says.
    pub(crate) async fn open(&self, lower: &Lower) -> Result<Arc<dyn Layer>> {
        let spec = owned(&lower.spec, self.owner);
        if lower.oci {
            Ok(OciMarkers::new(self.oci.open(&spec).await?))
        } else {
            self.kernel.open(&spec).await
        }
    }
}

/// A spec that says whose its objects are: those of the user who mounts, who could change nothing of root's.
fn owned(spec: &LayerSpec, (uid, gid): (u32, u32)) -> LayerSpec {
    match spec.path() {
        Some(_) => spec.clone(),
        None => spec.clone().with_default("uid", &uid.to_string()).with_default("gid", &gid.to_string()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<(String, String)> {
        let spec = owned(&LayerSpec::parse(text).unwrap(), (7, 8));
        assert_eq!(spec.to_string(), text.split('?').next().unwrap());
        spec.options().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn objects_belong_to_who_mounts_unless_the_url_says_otherwise() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(options("s3://b/p%20q"), [pair("gid", "8"), pair("uid", "7")]);
        assert_eq!(options("s3://b/p?uid=1"), [pair("gid", "8"), pair("uid", "1")]);
        let endpoint = pair("endpoint", "http://h:1/a&b=ü");
        let others = [endpoint, pair("gid", "8"), pair("uid", "7")];
        assert_eq!(options("s3://b/p?endpoint=http://h:1/a%26b=%C3%BC"), others);
        assert_eq!(options("/directory"), []);
    }
}
