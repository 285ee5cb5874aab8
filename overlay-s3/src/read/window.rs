//! How far to read: pure decisions over the offsets of past reads.

use std::ops::Range;

/// Objects up to this size are fetched whole at the first read: one request, kept while open.
pub(super) const SMALL: u64 = 1 << 20;
/// Random reads are widened to blocks of this size, so that neighbouring small reads share a request.
const BLOCK: u64 = 64 << 10;
/// The first window of a sequential reader; it doubles up to the last.
const WINDOW_FIRST: u64 = 256 << 10;
/// Bounds what one open file holds ahead.
const WINDOW_LAST: u64 = 8 << 20;
/// How far from the expected offset a read still counts as sequential: a kernel's read-ahead sends several
/// reads at once, and they come in any order. For long reads twice their length.
const SLACK: u64 = 256 << 10;
/// The longest single request: large windows are fetched by several at once, and a reader waits for one of them.
const PART: u64 = 2 << 20;

/// What past reads tell of the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Where the next read of a sequential reader begins.
    next: u64,
    /// The current window; 0 before the first sequential read.
    window: u64,
    /// To where a sequential reader has been served or fetched ahead.
    ahead: u64,
}

impl Cursor {
    /// The range to have at hand for a read of `want`, a part of an object of `size` bytes.
    pub(super) fn plan(&mut self, want: &Range<u64>, size: u64) -> Range<u64> {
        if size <= SMALL {
            return 0..size;
        }
        let slack = SLACK.max(2 * (want.end - want.start));
        if want.start.abs_diff(self.next) > slack {
            *self = Self { next: want.end, window: 0, ahead: 0 };
            return aligned(want, size);
        }
        self.next = self.next.max(want.end);
        if self.window == 0 {
            self.window = WINDOW_FIRST;
            self.ahead = want.start + WINDOW_FIRST.max(want.end - want.start);
        } else if self.ahead < self.next + self.window / 2 {
            self.window = (self.window * 2).min(WINDOW_LAST);
            self.ahead = self.next + self.window;
        }
        want.start..self.ahead.max(want.end).min(size)
    }
}

/// The range widened to whole blocks.
pub(super) fn aligned(range: &Range<u64>, size: u64) -> Range<u64> {
    let end = range.end.div_ceil(BLOCK).saturating_mul(BLOCK);
    range.start / BLOCK * BLOCK..end.min(size)
}

/// The parts of `range` that none of `held` covers (in order, not overlapping), cut to the longest request.
pub(super) fn missing<'a>(range: &Range<u64>, held: impl Iterator<Item = &'a Range<u64>>) -> Vec<Range<u64>> {
    let mut gaps = Vec::new();
    let mut at = range.start;
    for held in held.filter(|held| held.end > range.start && held.start < range.end) {
        parts(at..held.start, &mut gaps);
        at = at.max(held.end);
    }
    parts(at..range.end, &mut gaps);
    gaps
}

fn parts(gap: Range<u64>, out: &mut Vec<Range<u64>>) {
    let mut at = gap.start;
    while at < gap.end {
        let end = gap.end.min(at + PART);
        out.push(at..end);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 64 * MIB;

    /// The ends of the ranges at hand while a file is read in order, `step` bytes a time.
    fn sequential(step: u64, reads: u64) -> Vec<u64> {
        let mut cursor = Cursor::default();
        (0..reads).map(|at| cursor.plan(&(at * step..(at + 1) * step), SIZE).end).collect()
    }

    #[test]
    fn small_objects_are_taken_whole() {
        assert_eq!(Cursor::default().plan(&(5..6), SMALL), 0..SMALL);
        assert_eq!(Cursor::default().plan(&(0..1), SMALL + 1), 0..WINDOW_FIRST);
    }

    #[test]
    fn the_window_doubles_as_reads_go_on() {
        let ends = sequential(128 * KIB, 8);
        let expected = [256, 768, 768, 768, 1664, 1664, 1664, 1664].map(|kib: u64| kib * KIB);
        assert_eq!(ends, expected);
    }

    #[test]
    fn the_window_stops_at_its_maximum() {
        let step = 128 * KIB;
        for (at, end) in sequential(step, 400).into_iter().enumerate() {
            assert!(end <= (at as u64 + 1) * step + WINDOW_LAST, "read {at}");
            assert!(end >= ((at as u64 + 1) * step).min(SIZE));
        }
    }

    #[test]
    fn nothing_is_wanted_past_the_end() {
        let mut cursor = Cursor::default();
        assert_eq!(cursor.plan(&(0..2 * MIB), 3 * MIB), 0..2 * MIB);
        assert_eq!(cursor.plan(&(2 * MIB..3 * MIB), 3 * MIB), 2 * MIB..3 * MIB);
    }

    #[test]
    fn random_reads_fetch_their_blocks_only() {
        let mut cursor = Cursor::default();
        for offset in [40 * MIB + 5, 3 * MIB, 60 * MIB + 65_535] {
            let range = cursor.plan(&(offset..offset + 10), SIZE);
            assert!(
                range.start <= offset && range.end >= offset + 10 && range.end - range.start <= 2 * BLOCK
            );
            assert_eq!((range.start % BLOCK, range.end % BLOCK), (0, 0));
        }
    }

    #[test]
    fn a_reader_that_settles_is_read_ahead_again() {
        let mut cursor = Cursor::default();
        cursor.plan(&(40 * MIB..40 * MIB + 4096), SIZE);
        let range = cursor.plan(&(40 * MIB + 4096..40 * MIB + 8192), SIZE);
        assert_eq!(range.end, 40 * MIB + 4096 + WINDOW_FIRST);
    }

    #[test]
    fn reads_in_slightly_wrong_order_are_sequential() {
        let mut cursor = Cursor::default();
        cursor.plan(&(0..128 * KIB), SIZE);
        cursor.plan(&(256 * KIB..384 * KIB), SIZE);
        let before = cursor.window;
        let range = cursor.plan(&(128 * KIB..256 * KIB), SIZE);
        assert!(cursor.window >= before && range.end > 384 * KIB);
    }

    #[test]
    fn long_reads_in_wrong_order_are_sequential_too() {
        let mut cursor = Cursor::default();
        for pair in 0..8 {
            let first = pair * 2 * MIB;
            cursor.plan(&(first + MIB..first + 2 * MIB), SIZE);
            cursor.plan(&(first..first + MIB), SIZE);
        }
        assert!(cursor.window >= 2 * MIB, "{cursor:?}");
    }

    #[test]
    fn gaps_are_what_is_not_held() {
        let held = [10..20, 20..30, 40..50];
        let gaps = |range: Range<u64>| missing(&range, held.iter());
        assert_eq!(gaps(0..60), [0..10, 30..40, 50..60]);
        assert_eq!(gaps(12..28), []);
        assert_eq!(gaps(15..60), [30..40, 50..60]);
        assert_eq!(gaps(50..60).first(), Some(&(50..60)));
        assert_eq!(missing(&(0..5 * MIB), [].iter()), [0..2 * MIB, 2 * MIB..4 * MIB, 4 * MIB..5 * MIB]);
    }
}
