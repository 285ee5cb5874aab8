//! Opens what a user typed.

use std::sync::Arc;

use async_trait::async_trait;
use overlay_core::error::{Error, Kind, Result};
use overlay_core::layer::Layer;
use overlay_core::spec::{LayerSpec, Opener};

use crate::prefix::PrefixLayer;
use crate::store::{self, Environment};
use crate::url;

/// Opens object-store URLs as read-only layers. Register it for each of [`SCHEMES`](crate::SCHEMES).
///
/// The library reads no environment: a program passes the variables on (`AWS_…`, `GOOGLE_…`, `AZURE_…`), and they
/// are the only source of credentials. Others are ignored.
pub struct ObjectOpener {
    environment: Environment,
}

impl ObjectOpener {
    /// An opener with these variables.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { environment: environment.into_iter().collect() }
    }

    /// Opens a prefix; [`Opener::open`] with the layer's own type, for its counters.
    ///
    /// # Errors
    /// `Invalid` for a URL that makes no sense, `NotFound`, `Access`, or `Io` within the deadline.
    pub async fn open_prefix(&self, spec: &LayerSpec) -> Result<PrefixLayer> {
        let plan = url::plan(spec)?;
        let store = store::build(&plan, &self.environment).map_err(|error| unbuildable(&error, &plan))?;
        PrefixLayer::start(store, &plan.prefix, plan.label, plan.settings).await
    }
}

#[async_trait]
impl Opener for ObjectOpener {
    async fn open(&self, spec: &LayerSpec) -> Result<Arc<dyn Layer>> {
        Ok(Arc::new(self.open_prefix(spec).await?))
    }
}

/// A store that cannot even be made: a directory that is missing, a setting that makes no sense. The text of the
/// error may repeat a variable's value, so only a directory's is passed on.
fn unbuildable(error: &object_store::Error, plan: &url::Plan) -> Error {
    let (kind, sentence) = match &plan.place {
        url::Place::File { path } if !path.is_dir() => {
            (Kind::NotFound, "the directory does not exist".to_owned())
        }
        url::Place::File { .. } => (Kind::Io, error.to_string()),
        _ => (Kind::Invalid, "the options or the variables of the store make no sense".to_owned()),
    };
    Error::new(kind, "open").in_layer(&plan.label).because(sentence)
}
