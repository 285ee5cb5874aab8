//! The bytes of an open file that are at hand or on their way, shared by everyone who reads it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use overlay_core::error::Kind;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;

use super::fetch::Source;
use super::window::{Cursor, aligned, missing};
use crate::error::Failure;

/// Bytes that one open file keeps: two windows and what lies shortly behind.
const HELD_MAX: u64 = 24 << 20;

/// A fetch that everyone can wait for.
type Flight = Shared<BoxFuture<'static, Result<Bytes, Failure>>>;

/// What a read waits for.
pub(super) struct Piece {
    pub(super) range: Range<u64>,
    pub(super) flight: Flight,
}

/// Ranges of the file, in order and not overlapping.
#[derive(Default)]
pub(super) struct Extents {
    held: Vec<Extent>,
    cursor: Cursor,
    clock: u64,
}

struct Extent {
    range: Range<u64>,
    flight: Flight,
    task: AbortHandle,
    /// When it was last of use.
    used: u64,
    /// Room of the layer's budget, for what was read ahead.
    _room: Option<OwnedSemaphorePermit>,
}

impl Extent {
    fn has_failed(&self) -> bool {
        self.task.is_finished() && matches!(self.flight.clone().now_or_never(), Some(Err(_)))
    }
}

impl Drop for Extent {
    /// Nobody waits any more: it is dropped with the file, or when it has ended.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Extents {
    /// The pieces that cover `want`, in order. What is missing of them, and what should be read ahead, is on its
    /// way when this returns.
    pub(super) fn read(&mut self, want: Range<u64>, source: &Arc<Source>) -> Vec<Piece> {
        let size = source.facts.size;
        self.forget_failed(&want);
        let plan = self.cursor.plan(&want, size);
        if !self.launch(&plan, &want, source) {
            self.launch(&aligned(&want, size), &want, source);
        }
        self.touch(&plan);
        let pieces = self.pieces(&want);
        self.evict(&plan);
        pieces
    }

    /// Drops what failed of a range, ahead of its time or in an earlier read, so that it is asked for again.
    fn forget_failed(&mut self, range: &Range<u64>) {
        self.held.retain(|extent| !(overlaps(&extent.range, range) && extent.has_failed()));
    }

    /// Asks for what is missing of `plan`. `false` if the budget did not allow all of it; then nothing that
    /// `want` needs was left out but by being in a part that is only wanted for later.
    fn launch(&mut self, plan: &Range<u64>, want: &Range<u64>, source: &Arc<Source>) -> bool {
        for range in missing(plan, self.held.iter().map(|extent| &extent.range)) {
            let needed = overlaps(&range, want);
            let room = room(source, &range);
            if room.is_none() && !needed {
                return false;
            }
            let at = self.held.partition_point(|extent| extent.range.start < range.start);
            self.held.insert(at, extent(source, range, room));
        }
        true
    }

    fn touch(&mut self, range: &Range<u64>) {
        self.clock += 1;
        let clock = self.clock;
        let used = self.held.iter_mut().filter(|extent| overlaps(&extent.range, range));
        used.for_each(|extent| extent.used = clock);
    }

    fn pieces(&self, want: &Range<u64>) -> Vec<Piece> {
        let found = self.held.iter().filter(|extent| overlaps(&extent.range, want));
        found.map(|extent| Piece { range: extent.range.clone(), flight: extent.flight.clone() }).collect()
    }

    /// Gives up what was longest of no use, but nothing that is on its way: someone may wait for it.
    fn evict(&mut self, keep: &Range<u64>) {
        let mut total: u64 = self.held.iter().map(|extent| extent.range.end - extent.range.start).sum();
        while total > HELD_MAX {
            let idle = |extent: &Extent| extent.task.is_finished() && !overlaps(&extent.range, keep);
            let candidates = self.held.iter().enumerate().filter(|(_, extent)| idle(extent));
            let Some((at, _)) = candidates.min_by_key(|(_, extent)| extent.used) else { return };
            let gone = self.held.remove(at);
            total -= gone.range.end - gone.range.start;
        }
    }
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Room for a range in the layer's budget, if there is any.
fn room(source: &Source, range: &Range<u64>) -> Option<OwnedSemaphorePermit> {
    let kib = u32::try_from((range.end - range.start).div_ceil(1024)).ok()?;
    source.context.ahead.clone().try_acquire_many_owned(kib).ok()
}

/// Starts a fetch as a task of its own, whose deadline is not spent while nobody polls.
fn extent(source: &Arc<Source>, range: Range<u64>, room: Option<OwnedSemaphorePermit>) -> Extent {
    let (source, wanted) = (source.clone(), range.clone());
    let task = tokio::spawn(async move { source.fetch(wanted).await });
    let abort = task.abort_handle();
    let flight = task
        .map(|joined| joined.unwrap_or_else(|_| Err(Failure::new(Kind::Io, "the read was cut short"))))
        .boxed()
        .shared();
    Extent { range, flight, task: abort, used: 0, _room: room }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{self, From, Scope};
    use crate::prefix::Context;
    use crate::store::Store;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};

    const MIB: u64 = 1 << 20;

    /// An object of `size` bytes in memory, in a layer that may read `ahead_kib` ahead.
    async fn source(size: u64, ahead_kib: usize) -> Arc<Source> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("f");
        store.put(&path, vec![7; size as usize].into()).await.unwrap();
        let context =
            Arc::new(Context::new(Store::whole(store), "test".into(), Default::default(), ahead_kib));
        let page = page::list(&context, crate::error::Asked::List, "", Scope::Children, From::Start).await;
        let facts = Arc::new(page.unwrap().objects.remove(0).1);
        Arc::new(Source { context, path, facts })
    }

    async fn settle(pieces: Vec<Piece>) {
        for piece in pieces {
            let bytes = piece.flight.await.unwrap();
            assert_eq!(bytes.len() as u64, piece.range.end - piece.range.start);
        }
    }

    fn held(extents: &Extents) -> u64 {
        extents.held.iter().map(|extent| extent.range.end - extent.range.start).sum()
    }

    #[tokio::test]
    async fn memory_is_bounded_and_given_back() {
        let source = source(96 * MIB, 64 << 10).await;
        let mut extents = Extents::default();
        let mut most = 0;
        for at in 0..96 {
            settle(extents.read(at * MIB..(at + 1) * MIB, &source)).await;
            most = most.max(held(&extents));
        }
        assert!(most > 8 * MIB && most <= HELD_MAX + 8 * MIB, "{most}");
        assert!(source.context.ahead.available_permits() < 64 << 10);
        drop(extents);
        assert_eq!(source.context.ahead.available_permits(), 64 << 10);
    }

    #[tokio::test]
    async fn without_room_a_read_gets_what_it_asks_for() {
        let source = source(8 * MIB, 0).await;
        let mut extents = Extents::default();
        for at in 0..64 {
            settle(extents.read(at * MIB / 8..(at + 1) * MIB / 8, &source)).await;
        }
        assert_eq!(source.context.counters.snapshot().bytes_read, 8 * MIB, "all of it, and once");
    }

    #[tokio::test]
    async fn scattered_reads_are_bounded_too() {
        let source = source(96 * MIB, 1 << 20).await;
        let mut extents = Extents::default();
        for at in 0..600 {
            let offset = at * 7919 * 4096 % (95 * MIB);
            settle(extents.read(offset..offset + MIB / 2, &source)).await;
        }
        assert!(held(&extents) <= HELD_MAX + 8 * MIB, "{}", held(&extents));
    }
}
