//! A prefix of an object store as a read-only layer.

mod dir;
mod draft;
mod fill;
mod tree;

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use object_store::ObjectStore;
use overlay_core::attr::Time;
use overlay_core::error::{Error, Kind, Result};
use overlay_core::layer::{Dir, Layer};
use tokio::sync::Semaphore;

pub(crate) use draft::Facts;
use tree::{DirNode, Inos};

use crate::stats::{Counters, Stats};
use crate::store::Store;
use crate::url::Settings;

/// KiB that all open files of a layer may hold read ahead. Without room a read still gets what it asks for.
const AHEAD_KIB: usize = 256 << 10;

/// What every room of a layer shares.
pub(crate) struct Context {
    pub(crate) store: Store,
    pub(crate) label: Arc<str>,
    pub(crate) settings: Settings,
    pub(crate) counters: Counters,
    /// KiB left for reading ahead.
    pub(crate) ahead: Arc<Semaphore>,
    /// The time of a directory of which nothing newer is known.
    opened: Time,
    inos: Mutex<Inos>,
}

impl Context {
    pub(crate) fn new(store: Store, label: Arc<str>, settings: Settings, ahead_kib: usize) -> Self {
        let ahead = Arc::new(Semaphore::new(ahead_kib));
        let (counters, inos) = (Counters::default(), Mutex::default());
        Self { store, label, settings, counters, ahead, opened: now(), inos }
    }
}

/// A prefix of an object store, shown as a tree.
///
/// The objects must not change while the layer is in use. A file whose object was replaced or removed answers
/// [`Kind::Stale`]; new objects are not seen.
pub struct PrefixLayer {
    context: Arc<Context>,
    root: Arc<DirNode>,
}

impl PrefixLayer {
    /// Shows the keys of `store` below `prefix` (without a slash at either end; empty for all). `label` appears
    /// in errors and logs: it must hold no secret.
    ///
    /// Directories are listed with `list_with_delimiter`, which hides nothing and fails for keys that
    /// `object_store` cannot represent; layers that [`ObjectOpener`](crate::ObjectOpener) opens can do better.
    ///
    /// # Errors
    /// Whatever the first listing fails with: `Access`, `NotFound`, `Io`. `Invalid` for a prefix that is no path.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        label: impl Into<Arc<str>>,
        settings: Settings,
    ) -> Result<Self> {
        let label = label.into();
        if object_store::path::Path::parse(prefix).is_ok_and(|path| path.as_ref() == prefix) {
            return Self::start(Store::whole(store), prefix, label, settings).await;
        }
        Err(Error::new(Kind::Invalid, "open").in_layer(&label).because("the prefix is no legal path"))
    }

    /// Opens the layer with one request: the first page of the root.
    pub(crate) async fn start(
        store: Store,
        prefix: &str,
        label: Arc<str>,
        settings: Settings,
    ) -> Result<Self> {
        let context = Arc::new(Context::new(store, label, settings, AHEAD_KIB));
        let key = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let root = fill::open(&context, key).await.map_err(|failure| failure.of("open", &context.label))?;
        Ok(Self { context, root })
    }

    /// What the layer has done since it was opened.
    pub fn stats(&self) -> Stats {
        self.context.counters.snapshot()
    }
}

#[async_trait]
impl Layer for PrefixLayer {
    fn label(&self) -> &Arc<str> {
        &self.context.label
    }

    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(dir::Handle::new(&self.context, &self.root)))
    }

    fn has_marks(&self) -> bool {
        false
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { sec: since.as_secs() as i64, nsec: since.subsec_nanos() }
}
