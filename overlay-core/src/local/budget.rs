//! How many directory descriptors stay open, and which are closed when one more is needed.
//!
//! A second-chance queue: a directory that was used since it last came to the front goes to the back.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A place for a descriptor that may be closed at any time between two uses.
#[derive(Default)]
pub(super) struct Slot {
    fd: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
}

impl Slot {
    /// The descriptor, if it is open.
    pub(super) fn fd(&self) -> Option<Arc<OwnedFd>> {
        let fd = lock(&self.fd).clone();
        if fd.is_some() {
            self.used.store(true, Ordering::Relaxed);
        }
        fd
    }

    /// Closes the descriptor unless it was used since the last call.
    fn evict(&self) -> bool {
        let idle = !self.used.swap(false, Ordering::Relaxed);
        if idle {
            lock(&self.fd).take();
        }
        idle
    }
}

/// The descriptors that the layers of one process may keep open for directories. Clones share the budget.
#[derive(Clone)]
pub struct FdBudget {
    queue: Arc<Mutex<VecDeque<Weak<Slot>>>>,
    limit: usize,
}

impl FdBudget {
    /// A budget of `limit` descriptors, at least 16.
    pub fn new(limit: usize) -> Self {
        Self { queue: Arc::default(), limit: limit.max(16) }
    }

    /// Half of what the process may open: the rest is for open files.
    pub fn of_process() -> Self {
        let half = super::sys::descriptor_limit() / 2;
        Self::new(usize::try_from(half).unwrap_or(usize::MAX).min(1 << 16))
    }

    /// Puts a descriptor into `slot`, closing idle ones while there are too many.
    pub(super) fn fill(&self, slot: &Arc<Slot>, fd: Arc<OwnedFd>) {
        lock(&slot.fd).replace(fd);
        slot.used.store(true, Ordering::Relaxed);
        let mut queue = lock(&self.queue);
        queue.push_back(Arc::downgrade(slot));
        // Each slot gets one second chance a call, so that this ends even if all are in use.
        let mut chances = queue.len();
        while queue.len() > self.limit && chances > 0 {
            chances -= 1;
            let Some(front) = queue.pop_front() else { break };
            if front.upgrade().is_some_and(|slot| !slot.evict()) {
                queue.push_back(front);
            }
        }
    }
}

/// A lock whose poison is of no interest: what it guards is whole between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Arc<OwnedFd> {
        Arc::new(std::fs::File::open("/").unwrap().into())
    }

    #[test]
    fn idle_descriptors_are_closed_past_the_limit_and_used_ones_stay() {
        let budget = FdBudget::new(16);
        let slots: Vec<_> = (0..100).map(|_| Arc::new(Slot::default())).collect();
        budget.fill(&slots[0], descriptor());
        for slot in &slots[1..] {
            budget.fill(slot, descriptor());
            assert!(slots[0].fd().is_some(), "in use all the time");
        }
        let open = slots.iter().filter(|slot| slot.fd().is_some()).count();
        assert!(open <= 17, "{open} are open");
    }

    #[test]
    fn dropped_slots_leave_the_queue() {
        let budget = FdBudget::new(16);
        for _ in 0..100 {
            budget.fill(&Arc::new(Slot::default()), descriptor());
        }
        assert!(lock(&budget.queue).len() <= 16);
    }
}
