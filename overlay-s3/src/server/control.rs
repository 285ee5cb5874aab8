//! What tests turn: the counters, the pause, the latency.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Control {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    requests: AtomicU64,
    latency_micros: AtomicU64,
    /// Requests still to be answered with 503.
    failures: AtomicU64,
    paused: watch::Sender<bool>,
}

impl Default for Control {
    fn default() -> Self {
        let (counts, requests, latency_micros, failures) = Default::default();
        Self { counts, requests, latency_micros, failures, paused: watch::Sender::new(false) }
    }
}

impl Control {
    pub(super) fn served(&self, operation: &'static str) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += 1;
    }

    pub(super) fn count(&self, operation: &str) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(operation).copied().unwrap_or_default()
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.store(micros, Relaxed);
    }

    pub(super) fn fail(&self, requests: u64) {
        self.failures.store(requests, Relaxed);
    }

    /// Whether this request is one of those to fail.
    pub(super) fn fails(&self) -> bool {
        self.failures.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Lets a request in: at once, after the latency, or when the pause is over.
    pub(super) async fn admit(&self) {
        self.requests.fetch_add(1, Relaxed);
        let latency = Duration::from_micros(self.latency_micros.load(Relaxed));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut paused = self.paused.subscribe();
        if paused.wait_for(|paused| !paused).await.is_err() {
            tracing::debug!("the server ends while it is paused");
        }
    }
}
