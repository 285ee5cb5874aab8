//! The overall deadline of one request: a FUSE client cannot be interrupted, so nothing waits for ever.

use std::future::Future;
use std::time::Duration;

use crate::error::Failure;

/// Runs `work`, which fails when the deadline passes first.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(Failure::late(deadline)),
    }
}
