//! Running an operation: polled once where the request arrived, handed to tokio only if it has to wait.
//!
//! A local layer's operation is ready at the first poll, so it costs no thread switch; one that waits for the
//! network holds up nobody. A panic costs its request an EIO and leaves a line in the log.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

/// Polls `operation` once on this thread; if it is not done, tokio finishes it.
pub(crate) fn run(runtime: &Handle, operation: impl Future<Output = ()> + Send + 'static) {
    // Timers and sockets that the operation makes belong to the runtime.
    let _runtime = runtime.enter();
    let mut operation = Box::pin(operation);
    if let Some(Poll::Pending) = poll_once(operation.as_mut()) {
        runtime.spawn(async move {
            if let Err(panic) = tokio::spawn(operation).await {
                tracing::error!(%panic, "a bug: an operation panicked; its caller got EIO");
            }
        });
    }
}

/// Polls an operation that borrows its input; `None` if it has to wait or panicked, with nothing kept of it.
pub(crate) fn try_now<T>(runtime: &Handle, operation: impl Future<Output = T>) -> Option<T> {
    let _runtime = runtime.enter();
    let operation = std::pin::pin!(operation);
    match poll_once(operation) {
        Some(Poll::Ready(value)) => Some(value),
        _ => None,
    }
}

/// One poll; `None` after a panic.
fn poll_once<F: Future + ?Sized>(operation: Pin<&mut F>) -> Option<Poll<F::Output>> {
    let mut context = Context::from_waker(Waker::noop());
    // The operation is dropped after a panic, so that nobody sees what it left half done; the union's own state is
    // changed only after its commit step, in pieces that cannot panic.
    match catch_unwind(AssertUnwindSafe(|| operation.poll(&mut context))) {
        Ok(poll) => Some(poll),
        Err(panic) => {
            tracing::error!(panic = message(&*panic), "a bug: an operation panicked; its caller got EIO");
            None
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn what_is_ready_runs_on_the_calling_thread() {
        let runtime = runtime();
        let here = std::thread::current().id();
        let (sender, receiver) = mpsc::channel();
        run(runtime.handle(), async move { sender.send(std::thread::current().id()).unwrap() });
        assert_eq!(receiver.try_recv().unwrap(), here);
    }

    #[test]
    fn what_waits_is_finished_by_the_runtime() {
        let runtime = runtime();
        let (sender, receiver) = mpsc::channel();
        run(runtime.handle(), async move {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            sender.send(()).unwrap();
        });
        receiver.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    }

    #[test]
    fn a_panic_drops_the_operation_and_spares_the_thread() {
        let runtime = runtime();
        let (sender, receiver) = mpsc::channel::<()>();
        run(runtime.handle(), async move {
            let _held = sender;
            panic!("on purpose");
        });
        assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Disconnected));
        let (sender, receiver) = mpsc::channel::<()>();
        run(runtime.handle(), async move {
            tokio::task::yield_now().await;
            let _held = sender;
            panic!("on purpose, later");
        });
        assert_eq!(
            receiver.recv_timeout(std::time::Duration::from_secs(30)),
            Err(mpsc::RecvTimeoutError::Disconnected)
        );
    }
}
