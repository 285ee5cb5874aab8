//! The signals that end a server.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Unmount;
use crate::failure::{Failure, Result};

/// The signals that ask a process to end.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Takes the signals from now on. To be called on a runtime.
    pub(crate) fn new() -> Result<Self> {
        let fail = |error| Failure::cannot("take signals", error);
        let take = |kind| signal(kind).map_err(fail);
        Ok(Self([
            take(SignalKind::terminate())?,
            take(SignalKind::interrupt())?,
            take(SignalKind::hangup())?,
        ]))
    }

    /// Does what may take its time, unless one of them comes first: nothing is mounted yet, so it is just dropped.
    pub(super) async fn unless_asked<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.next() => Err(Failure::new("it was asked to end before anything was mounted")),
        }
    }

    /// Waits for one of them.
    pub(crate) fn next(&mut self) -> impl Future<Output = ()> {
        let [terminate, interrupt, hangup] = &mut self.0;
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        }
    }
}

/// The status of a process that a second signal ended.
const INTERRUPTED: i32 = 130;

/// Unmounts at the first signal and ends the process at the second.
pub(super) async fn end_by_signal(mut signals: Signals, unmount: Unmount) {
    signals.next().await;
    // fusermount3 may take its time, and a second signal should be heard meanwhile.
    let unmounting = tokio::task::spawn_blocking(move || unmount.unmount());
    tokio::spawn(async move {
        if let Ok(Err(error)) = unmounting.await {
            tracing::error!(%error, "the union could not be unmounted");
        }
    });
    signals.next().await;
    std::process::exit(INTERRUPTED);
}
