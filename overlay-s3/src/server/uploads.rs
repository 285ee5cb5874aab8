//! Multipart uploads under way.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use s3s::dto::{CompletedPart, Metadata};
use s3s::{S3Result, s3_error};

use super::keys::Object;
use super::objects;

#[derive(Default)]
pub(super) struct Uploads {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    uploads: BTreeMap<String, Upload>,
}

struct Upload {
    bucket: String,
    key: String,
    content_type: Option<String>,
    metadata: Option<Metadata>,
    parts: BTreeMap<i32, Object>,
}

impl Uploads {
    pub(super) fn begin(
        &self,
        bucket: &str,
        key: &str,
        content_type: Option<String>,
        metadata: Option<Metadata>,
    ) -> String {
        let mut state = self.state();
        state.last_id += 1;
        let id = format!("upload-{}", state.last_id);
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let upload = Upload { bucket, key, content_type, metadata, parts: BTreeMap::new() };
        state.uploads.insert(id.clone(), upload);
        id
    }

    /// Keeps a part; its tag.
    pub(super) fn part(&self, id: &str, number: i32, data: Bytes) -> S3Result<String> {
        let mut state = self.state();
        let upload = state.uploads.get_mut(id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let part = Object::new(data);
        let etag = part.etag.clone();
        upload.parts.insert(number, part);
        Ok(etag)
    }

    /// Ends an upload with an object of the listed parts.
    pub(super) fn complete(
        &self,
        id: &str,
        bucket: &str,
        key: &str,
        listed: &[CompletedPart],
    ) -> S3Result<Object> {
        let mut state = self.state();
        let upload = state.uploads.get(id).filter(|upload| upload.bucket == bucket && upload.key == key);
        let data = joined(upload.ok_or_else(|| s3_error!(NoSuchUpload))?, listed)?;
        let upload = state.uploads.remove(id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let object = objects::made(data, upload.content_type, upload.metadata);
        let etag = format!("{}-{}", object.etag, listed.len());
        Ok(Object { etag, ..object })
    }

    pub(super) fn abort(&self, id: &str) -> S3Result<()> {
        self.state().uploads.remove(id).map(|_| ()).ok_or_else(|| s3_error!(NoSuchUpload))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The listed parts in their order, each as it was uploaded.
fn joined(upload: &Upload, listed: &[CompletedPart]) -> S3Result<Bytes> {
    if !listed.windows(2).all(|pair| pair[0].part_number < pair[1].part_number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    let mut data = BytesMut::new();
    for part in listed {
        let stored = part.part_number.and_then(|number| upload.parts.get(&number));
        let same = |object: &&Object| part.e_tag.as_ref().is_none_or(|etag| etag.value() == object.etag);
        let stored = stored.filter(same).ok_or_else(|| s3_error!(InvalidPart))?;
        data.extend_from_slice(&stored.data);
    }
    Ok(data.freeze())
}
