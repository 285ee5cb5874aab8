//! The bytes of a memory file: blocks where something was written, holes elsewhere.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::attr::Attr;
use crate::error::{Error, Kind, Result};
use crate::layer::Seek;

/// Bytes in a block: the unit in which holes begin and end, as in most local file systems.
const BLOCK: u64 = 4096;

/// A sparse sequence of bytes. Every block is exactly [`BLOCK`] long; bytes past `size` in the last one are zero.
#[derive(Default)]
pub(super) struct Content {
    size: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Content {
    /// Puts the size and the allocated units into `attr`.
    pub(super) fn describe(&self, attr: &mut Attr) {
        attr.size = self.size;
        attr.blocks = self.blocks.len() as u64 * (BLOCK / 512);
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Bytes {
        let end = offset.saturating_add(len as u64).min(self.size);
        let mut out = BytesMut::with_capacity(end.saturating_sub(offset) as usize);
        for (index, from, to) in pieces(offset, end) {
            match self.blocks.get(&index) {
                Some(block) => out.extend_from_slice(&block[from..to]),
                None => out.resize(out.len() + (to - from), 0),
            }
        }
        out.freeze()
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let end = range_end(offset, data.len() as u64, "write")?;
        let mut rest = data;
        for (index, from, to) in pieces(offset, end) {
            let (piece, tail) = rest.split_at(to - from);
            let block = self.blocks.entry(index).or_insert_with(|| vec![0; BLOCK as usize].into());
            block[from..to].copy_from_slice(piece);
            rest = tail;
        }
        if !data.is_empty() {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, size: u64) -> Result<()> {
        range_end(size, 0, "truncate")?;
        if size < self.size {
            // What is cut off must read as zeros if the file grows again.
            self.zero(size, self.size);
        }
        self.size = size;
        Ok(())
    }

    pub(super) fn grow(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// Zeroes `from..to`: whole blocks become holes.
    pub(super) fn zero(&mut self, from: u64, to: u64) {
        let touched: Vec<u64> =
            self.blocks.range(from / BLOCK..to.div_ceil(BLOCK)).map(|(index, _)| *index).collect();
        for index in touched {
            let start = index * BLOCK;
            let (low, high) = (from.max(start) - start, to.min(start + BLOCK) - start);
            // Past the end all is zero already, so a last block may go as soon as its content does.
            if low == 0 && start + high >= self.size.min(start + BLOCK) {
                self.blocks.remove(&index);
            } else if let Some(block) = self.blocks.get_mut(&index) {
                block[low as usize..high as usize].fill(0);
            }
        }
    }

    pub(super) fn seek(&self, offset: u64, what: Seek) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let first = offset / BLOCK;
        let found = match what {
            Seek::Data => *self.blocks.range(first..).next()?.0 * BLOCK,
            Seek::Hole => {
                let data =
                    self.blocks.range(first..).zip(first..).take_while(|((index, _), at)| *index == at);
                (first + data.count() as u64) * BLOCK
            }
        };
        let found = found.max(offset).min(self.size);
        (what == Seek::Hole || found < self.size).then_some(found)
    }
}

/// The end of a range, `TooBig` past the largest offset that a file can have.
pub(super) fn range_end(offset: u64, len: u64, op: &'static str) -> Result<u64> {
    let end = offset.checked_add(len).filter(|end| *end <= i64::MAX as u64);
    end.ok_or_else(|| Error::new(Kind::TooBig, op))
}

/// `offset..end` cut at block borders: the block's index and the bounds within it.
fn pieces(offset: u64, end: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let last = if offset < end { end.div_ceil(BLOCK) } else { offset / BLOCK };
    (offset / BLOCK..last).map(move |index| {
        let start = index * BLOCK;
        (index, (offset.max(start) - start) as usize, (end.min(start + BLOCK) - start) as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_reads_as_zeros() {
        let mut content = Content::default();
        content.write(BLOCK - 1, b"abc").unwrap();
        assert_eq!(content.size, BLOCK + 2);
        assert_eq!(&content.read(BLOCK - 2, 10)[..], b"\0abc");
        assert!(content.read(BLOCK + 2, 1).is_empty());
        assert_eq!(content.write(i64::MAX as u64, b"x").unwrap_err().kind(), Kind::TooBig);
    }

    #[test]
    fn a_file_cut_and_grown_again_is_zero_there() {
        let mut content = Content::default();
        content.write(0, &[7; 6000]).unwrap();
        content.resize(10).unwrap();
        content.resize(6000).unwrap();
        let read = content.read(0, 6000);
        assert!(read[..10].iter().all(|b| *b == 7) && read[10..].iter().all(|b| *b == 0));
    }

    #[test]
    fn seek_finds_data_and_holes() {
        let mut content = Content::default();
        content.resize(10 * BLOCK).unwrap();
        content.write(4 * BLOCK, &[1; BLOCK as usize]).unwrap();
        assert_eq!(content.seek(0, Seek::Data), Some(4 * BLOCK));
        assert_eq!(content.seek(0, Seek::Hole), Some(0));
        assert_eq!(content.seek(4 * BLOCK + 5, Seek::Data), Some(4 * BLOCK + 5));
        assert_eq!(content.seek(4 * BLOCK + 5, Seek::Hole), Some(5 * BLOCK));
        assert_eq!(content.seek(5 * BLOCK, Seek::Data), None);
        assert_eq!(content.seek(10 * BLOCK, Seek::Hole), None);
        content.zero(4 * BLOCK, 5 * BLOCK);
        assert_eq!(content.seek(0, Seek::Data), None, "a punched block is a hole");
    }
}
