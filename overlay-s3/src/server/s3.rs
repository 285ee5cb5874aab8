//! The S3 operations, each a few lines over the key space.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::control::Control;
use super::keys::{After, Keys, Object as Stored, Question};
use super::objects;
use super::uploads::Uploads;

/// The most keys that one page holds, as in S3.
const PAGE_MAX: i32 = 1000;

pub(super) struct Service {
    keys: Arc<Keys>,
    control: Arc<Control>,
    uploads: Uploads,
}

impl Service {
    pub(super) fn new(keys: Arc<Keys>, control: Arc<Control>) -> Self {
        Self { keys, control, uploads: Uploads::default() }
    }

    fn bucket(&self, bucket: &str) -> S3Result<()> {
        if self.keys.has_bucket(bucket) { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Stored>> {
        self.bucket(bucket)?;
        self.keys.get(bucket, key).ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn delete(&self, bucket: &str, key: &str) {
        if !self.keys.remove(bucket, key) {
            tracing::trace!(bucket, key, "a key that does not exist is deleted; S3 calls that success");
        }
    }
}

fn respond<T>(output: T) -> S3Result<S3Response<T>> {
    Ok(S3Response::new(output))
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn list_buckets(&self, _: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.control.served("ListBuckets");
        let bucket = |name| Bucket { name: Some(name), ..Default::default() };
        let buckets = self.keys.bucket_names().into_iter().map(bucket).collect();
        respond(ListBucketsOutput { buckets: Some(buckets), ..Default::default() })
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.control.served("CreateBucket");
        if !self.keys.create_bucket(&request.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        respond(CreateBucketOutput::default())
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.control.served("HeadBucket");
        self.bucket(&request.input.bucket)?;
        respond(HeadBucketOutput::default())
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.control.served("ListObjectsV2");
        let input = request.input;
        let max_keys = input.max_keys.unwrap_or(PAGE_MAX).clamp(0, PAGE_MAX);
        let question = Question {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().unwrap_or_default(),
            after: after(&input)?,
            max: max_keys as usize,
        };
        let answer = self.keys.page(&input.bucket, &question).ok_or_else(|| s3_error!(NoSuchBucket))?;
        respond(objects::listing(input, max_keys, answer))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.control.served("GetObject");
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        objects::check(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        objects::content(&object, input.range.as_ref()).map(S3Response::new)
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.control.served("HeadObject");
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        objects::check(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        respond(objects::head(&object))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.control.served("PutObject");
        let input = request.input;
        self.bucket(&input.bucket)?;
        let data = objects::collect(input.body).await?;
        let existing = self.keys.get(&input.bucket, &input.key);
        objects::check_put(existing.as_deref(), input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let object = objects::made(data, input.content_type, input.metadata);
        let e_tag = Some(ETag::Strong(object.etag.clone()));
        self.keys.put_object(&input.bucket, &input.key, object);
        respond(PutObjectOutput { e_tag, ..Default::default() })
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.control.served("CopyObject");
        let input = request.input;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let source = self.object(bucket, key)?;
        self.bucket(&input.bucket)?;
        let copy = objects::copied(&source, input.metadata_directive, input.content_type, input.metadata);
        let e_tag = Some(ETag::Strong(copy.etag.clone()));
        let result =
            CopyObjectResult { e_tag, last_modified: Some(copy.modified.into()), ..Default::default() };
        self.keys.put_object(&input.bucket, &input.key, copy);
        respond(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.control.served("DeleteObject");
        self.bucket(&request.input.bucket)?;
        self.delete(&request.input.bucket, &request.input.key);
        respond(DeleteObjectOutput::default())
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.control.served("DeleteObjects");
        let input = request.input;
        self.bucket(&input.bucket)?;
        let delete = |object: ObjectIdentifier| {
            self.delete(&input.bucket, &object.key);
            DeletedObject { key: Some(object.key), ..Default::default() }
        };
        let deleted: Vec<_> = input.delete.objects.into_iter().map(delete).collect();
        let deleted = (input.delete.quiet != Some(true)).then_some(deleted);
        respond(DeleteObjectsOutput { deleted, ..Default::default() })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.control.served("CreateMultipartUpload");
        let input = request.input;
        self.bucket(&input.bucket)?;
        let id = self.uploads.begin(&input.bucket, &input.key, input.content_type, input.metadata);
        let (bucket, key) = (Some(input.bucket), Some(input.key));
        respond(CreateMultipartUploadOutput { bucket, key, upload_id: Some(id), ..Default::default() })
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.control.served("UploadPart");
        let input = request.input;
        let data = objects::collect(input.body).await?;
        let etag = self.uploads.part(&input.upload_id, input.part_number, data)?;
        respond(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() })
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.control.served("CompleteMultipartUpload");
        let input = request.input;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let object = self.uploads.complete(&input.upload_id, &input.bucket, &input.key, &parts)?;
        let e_tag = Some(ETag::Strong(object.etag.clone()));
        self.keys.put_object(&input.bucket, &input.key, object);
        let (bucket, key) = (Some(input.bucket), Some(input.key));
        respond(CompleteMultipartUploadOutput { bucket, key, e_tag, ..Default::default() })
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.control.served("AbortMultipartUpload");
        self.uploads.abort(&request.input.upload_id)?;
        respond(AbortMultipartUploadOutput::default())
    }
}

/// Where a page begins: a continuation token counts more than start-after, as in S3.
fn after(input: &ListObjectsV2Input) -> S3Result<After> {
    match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => objects::read_token(token).ok_or_else(|| s3_error!(InvalidArgument)),
        (None, Some(key)) => Ok(After::Key(key.clone())),
        (None, None) => Ok(After::Nothing),
    }
}
