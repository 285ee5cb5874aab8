//! Promises about the content of files.

use std::sync::Arc;

use bytes::Bytes;

use crate::conformance::sample::{SPARSE_DATA, SPARSE_SIZE};
use crate::conformance::suite::Subject;
use crate::conformance::walk::name;
use crate::layer::{File, Layer, Seek};

type Lower = Subject<dyn Layer>;

async fn open(t: &Lower, path: &str) -> (Arc<dyn File>, Bytes) {
    let content = t.tree.row(path).and_then(|row| row.content()).expect("a declared file");
    (t.dir("").await.file(&name(path)).await.unwrap(), content)
}

/// Every declared file holds its content.
pub async fn contents_are_as_declared(t: &Lower) {
    for row in t.tree.rows() {
        let Some(content) = row.content() else { continue };
        let (dir, name) = t.place(row).await;
        let read = dir.file(&name).await.unwrap().read_at(0, content.len() + 1).await.unwrap();
        assert!(read == content, "{name:?}: {} bytes of {}", read.len(), content.len());
    }
}

/// An empty file reads as nothing.
pub async fn an_empty_file_is_empty(t: &Lower) {
    let (file, _) = open(t, "empty").await;
    for (offset, len) in [(0, 0), (0, 1), (0, 1 << 20), (1, 1)] {
        assert!(file.read_at(offset, len).await.unwrap().is_empty(), "{len} bytes at {offset}");
    }
}

/// A read gives what was asked for, cut at the end of the file only.
pub async fn reads_end_at_the_end(t: &Lower) {
    for path in ["hello", "big"] {
        let (file, content) = open(t, path).await;
        let size = content.len();
        let offsets = [0, 1, size / 2, size - 1, size];
        for offset in offsets {
            for len in [0, 1, 2, size / 2, size - offset, size - offset + 1, size + 4096] {
                let read = file.read_at(offset as u64, len).await.unwrap();
                let expected = &content[offset..(offset + len).min(size)];
                assert!(read == expected, "{len} bytes at {offset} of {path}: {} came", read.len());
            }
        }
    }
}

/// A read past the end is empty, at the largest offset too.
pub async fn reads_past_the_end_are_empty(t: &Lower) {
    let (file, content) = open(t, "hello").await;
    for offset in [content.len() as u64, content.len() as u64 + 1, 1 << 40, i64::MAX as u64] {
        assert!(file.read_at(offset, 4096).await.unwrap().is_empty(), "at {offset}");
    }
}

/// A large file read piece by piece is the file.
pub async fn sequential_reads_join_up(t: &Lower) {
    let (file, content) = open(t, "big").await;
    for step in [1 << 17, 100_003] {
        let mut joined = Vec::new();
        loop {
            let piece = file.read_at(joined.len() as u64, step).await.unwrap();
            if piece.is_empty() {
                break;
            }
            joined.extend_from_slice(&piece);
        }
        assert!(joined == content, "in steps of {step}");
    }
}

/// Pieces of a large file in any order are right.
pub async fn scattered_reads_are_right(t: &Lower) {
    let (file, content) = open(t, "big").await;
    let mut at = content.len() / 3;
    for round in 0..60 {
        at = (at * 31 + 7919) % content.len();
        let len = [1, 511, 4096, 65_537, 300_000][round % 5];
        let read = file.read_at(at as u64, len).await.unwrap();
        assert!(read == content[at..(at + len).min(content.len())], "{len} bytes at {at}");
    }
}

/// One handle serves several readers at once.
pub async fn concurrent_reads_do_not_mix(t: &Lower) {
    let (file, content) = open(t, "big").await;
    let readers: Vec<_> =
        (0..8).map(|reader| tokio::spawn(read_strides(file.clone(), content.clone(), reader))).collect();
    for reader in readers {
        reader.await.expect("a reader sees the right bytes");
    }
}

async fn read_strides(file: Arc<dyn File>, content: Bytes, reader: usize) {
    for stride in (reader..80).step_by(8) {
        let (at, len) = (stride * (content.len() / 80), 50_000);
        let read = file.read_at(at as u64, len).await.unwrap();
        assert!(read == content[at..(at + len).min(content.len())], "{len} bytes at {at}");
    }
}

/// A file without holes is data up to its end, where the one hole begins.
pub async fn dense_files_are_all_data(t: &Lower) {
    let (file, content) = open(t, "hello").await;
    let size = content.len() as u64;
    for offset in [0, size / 2, size - 1] {
        assert_eq!(file.seek(offset, Seek::Data).await.unwrap(), Some(offset), "data at {offset}");
        assert_eq!(file.seek(offset, Seek::Hole).await.unwrap(), Some(size), "hole from {offset}");
    }
}

/// No offset at or past the end has data or a hole.
pub async fn seek_ends_at_the_end(t: &Lower) {
    for path in ["hello", "empty"] {
        let (file, content) = open(t, path).await;
        for offset in [content.len() as u64, content.len() as u64 + 1, 1 << 40] {
            assert_eq!(file.seek(offset, Seek::Data).await.unwrap(), None, "data at {offset} of {path}");
            assert_eq!(file.seek(offset, Seek::Hole).await.unwrap(), None, "hole at {offset} of {path}");
        }
    }
}

/// Holes are found, to the layer's block, and read as zeros.
pub async fn holes_are_found(t: &Lower) {
    if !t.can.holes {
        return;
    }
    let (file, _) = open(t, "sparse").await;
    assert_eq!(file.seek(0, Seek::Hole).await.unwrap(), Some(0), "it begins with a hole");
    let data = file.seek(0, Seek::Data).await.unwrap().expect("there is data");
    assert!(data > 0 && data <= SPARSE_DATA.start, "data begins at {data}");
    let hole = file.seek(SPARSE_DATA.start, Seek::Hole).await.unwrap().expect("a hole follows");
    assert!((SPARSE_DATA.end..SPARSE_SIZE).contains(&hole), "the next hole begins at {hole}");
    assert_eq!(file.seek(hole, Seek::Data).await.unwrap(), None, "no data follows");
}
