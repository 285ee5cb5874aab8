//! An open object: reads by range, pinned to the version that was listed.

mod extents;
mod fetch;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use overlay_core::attr::Attr;
use overlay_core::error::{Error, Kind, Result};
use overlay_core::layer::{File, Node};
use overlay_core::name::Name;

use self::extents::{Extents, Piece};
use self::fetch::Source;
use crate::error::Failure;
use crate::prefix::{Context, Facts};

/// An object, open for reading.
pub(crate) struct ObjectFile {
    context: Arc<Context>,
    name: Name,
    attr: Attr,
    source: Arc<Source>,
    extents: Mutex<Extents>,
}

impl ObjectFile {
    /// Opens `key` without a request.
    pub(crate) fn new(
        context: &Arc<Context>,
        key: &str,
        name: Name,
        attr: Attr,
        facts: Arc<Facts>,
    ) -> Result<Self> {
        let path = Path::parse(key).map_err(|_| {
            let error = Error::new(Kind::Unsupported, "open").at(&name).in_layer(&context.label);
            error.because("the key cannot be asked for")
        })?;
        let source = Arc::new(Source { context: context.clone(), path, facts });
        Ok(Self { context: context.clone(), name, attr, source, extents: Mutex::default() })
    }

    fn extents(&self) -> MutexGuard<'_, Extents> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, offset: u64, len: usize) -> std::result::Result<Bytes, Failure> {
        let size = self.attr.size;
        let want = offset.min(size)..offset.saturating_add(len as u64).min(size);
        if want.is_empty() {
            return Ok(Bytes::new());
        }
        let pieces = self.extents().read(want.clone(), &self.source);
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            parts.push(cut(&piece.flight.clone().await?, piece, &want));
        }
        Ok(join(parts))
    }
}

/// The bytes of a piece that were asked for; shared, not copied.
fn cut(bytes: &Bytes, piece: &Piece, want: &std::ops::Range<u64>) -> Bytes {
    let start = want.start.max(piece.range.start) - piece.range.start;
    let end = want.end.min(piece.range.end) - piece.range.start;
    bytes.slice(start as usize..end as usize)
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}

#[async_trait]
impl Node for ObjectFile {
    async fn attr(&self) -> Result<Attr> {
        Ok(self.attr.clone())
    }
}

#[async_trait]
impl File for ObjectFile {
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let result = self.read(offset, len).await;
        result.map_err(|failure| failure.of("read", &self.context.label).at(&self.name))
    }
}
