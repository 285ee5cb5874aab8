//! Promises about the content of files that can be written.

use std::sync::Arc;

use crate::conformance::sample::noise;
use crate::conformance::suite::Subject;
use crate::conformance::walk::name;
use crate::error::Kind as ErrorKind;
use crate::layer::{Allocate, Layer, Node, Seek, UpperFile, UpperLayer};

type Upper = Subject<dyn UpperLayer>;

async fn file(t: &Upper, path: &str, content: &[u8]) -> Arc<dyn UpperFile> {
    let file = t.layer.upper_root().await.unwrap().create(&name(path), 0o644).await.unwrap();
    file.write_at(0, content).await.unwrap();
    file
}

async fn size(file: &Arc<dyn UpperFile>) -> u64 {
    Node::attr(&**file).await.unwrap().size
}

async fn all(file: &Arc<dyn UpperFile>) -> Vec<u8> {
    file.read_at(0, 1 << 24).await.unwrap().to_vec()
}

/// What is written is read, at once and through other handles.
pub async fn writes_are_read_everywhere(t: &Upper) {
    let file = file(t, "f", b"0123456789").await;
    let other = t.layer.upper_root().await.unwrap().upper_file(&name("f")).await.unwrap();
    let lower = t.layer.root().await.unwrap().file(&name("f")).await.unwrap();
    other.write_at(3, b"abc").await.unwrap();
    assert_eq!(all(&file).await, b"012abc6789");
    assert_eq!(&lower.read_at(2, 5).await.unwrap()[..], b"2abc6");
    file.write_at(8, b"XYZ").await.unwrap();
    assert_eq!((size(&other).await, all(&other).await), (11, b"012abc67XYZ".to_vec()));
}

/// A write beyond the end leaves zeros between.
pub async fn writes_beyond_the_end_leave_zeros(t: &Upper) {
    let file = file(t, "f", b"start").await;
    file.write_at(100_000, b"end").await.unwrap();
    let content = all(&file).await;
    assert_eq!(content.len(), 100_003);
    assert!(content.starts_with(b"start") && content.ends_with(b"end"));
    assert!(content[5..100_000].iter().all(|byte| *byte == 0));
}

/// An empty write changes nothing, past the end too.
pub async fn empty_writes_change_nothing(t: &Upper) {
    let file = file(t, "f", b"abc").await;
    file.write_at(1000, b"").await.unwrap();
    assert_eq!(all(&file).await, b"abc");
}

/// A large write is written whole.
pub async fn large_writes_are_whole(t: &Upper) {
    let content = noise((3 << 20) + 5);
    let file = file(t, "f", &content).await;
    assert!(all(&file).await == content);
    file.write_at(1 << 20, &content[..1 << 20]).await.unwrap();
    let read = file.read_at(1 << 20, 1 << 20).await.unwrap();
    assert!(read == content[..1 << 20]);
    assert!(file.read_at(2 << 20, 1 << 21).await.unwrap() == content[2 << 20..]);
}

/// Writers of different ranges do not disturb each other.
pub async fn concurrent_writes_do_not_mix(t: &Upper) {
    let file = file(t, "f", b"").await;
    let write = |at: u8, file: Arc<dyn UpperFile>| async move {
        for round in 0..8_u64 {
            file.write_at((round * 8 + u64::from(at)) * 5000, &[at + 1; 5000]).await.unwrap();
        }
    };
    let writers: Vec<_> = (0..8).map(|at| tokio::spawn(write(at, file.clone()))).collect();
    for writer in writers {
        writer.await.expect("a writer succeeds");
    }
    let content = all(&file).await;
    assert_eq!(content.len(), 64 * 5000);
    for (number, chunk) in content.chunks(5000).enumerate() {
        assert!(chunk.iter().all(|byte| *byte as usize == number % 8 + 1), "chunk {number}");
    }
}

/// An open file survives the removal of its name, for reading, writing and attributes.
pub async fn files_outlive_unlink(t: &Upper) {
    let file = file(t, "f", b"still").await;
    let root = t.layer.upper_root().await.unwrap();
    let other = root.upper_file(&name("f")).await.unwrap();
    root.unlink(&name("f")).await.unwrap();
    drop(other);
    file.write_at(5, b" here").await.unwrap();
    assert_eq!(all(&file).await, b"still here");
    assert_eq!(Node::attr(&*file).await.unwrap().nlink, 0);
    UpperFile::sync(&*file, true).await.unwrap();
}

/// Files without holes are data; a file grown by its size alone reads as zeros there.
pub async fn seek_finds_what_is_written(t: &Upper) {
    let file = file(t, "f", &[1; 10]).await;
    assert_eq!(file.seek(3, Seek::Data).await.unwrap(), Some(3));
    assert_eq!(file.seek(3, Seek::Hole).await.unwrap(), Some(10));
    assert_eq!(file.seek(10, Seek::Data).await.unwrap(), None);
    let at = 8 << 20;
    file.write_at(at, b"x").await.unwrap();
    let data = file.seek(10, Seek::Data).await.unwrap();
    assert!(data.is_some_and(|data| data <= at), "{data:?}");
    if t.can.holes {
        let hole = file.seek(0, Seek::Hole).await.unwrap();
        assert!(hole.is_some_and(|hole| (10..at).contains(&hole)), "{hole:?}");
    }
}

/// What an allocation does to size and content. `Unsupported` is an answer, a wrong content is none.
pub async fn allocations_do_what_they_say(t: &Upper) {
    // How, offset, length; the size after, and what must read as zeros.
    let cases = [
        (Allocate::Extend, 5000, 20_000, 25_000, 10_000..25_000),
        (Allocate::Extend, 0, 100, 10_000, 0..0),
        (Allocate::KeepSize, 5000, 20_000, 10_000, 0..0),
        (Allocate::PunchHole, 1000, 5000, 10_000, 1000..6000),
        (Allocate::PunchHole, 9000, 5000, 10_000, 9000..10_000),
        (Allocate::Zero, 9000, 5000, 14_000, 9000..14_000),
        (Allocate::ZeroKeepSize, 9000, 5000, 10_000, 9000..10_000),
    ];
    for (number, (how, offset, len, after, zeros)) in cases.into_iter().enumerate() {
        let file = file(t, &number.to_string(), &[7; 10_000]).await;
        match file.allocate(how, offset, len).await {
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{how:?}: {error}"),
            Ok(()) => {
                let content = all(&file).await;
                assert_eq!((content.len(), size(&file).await), (after, after as u64), "{how:?}");
                let wrong = (0..after).find(|at| content[*at] != if zeros.contains(at) { 0 } else { 7 });
                assert_eq!(wrong, None, "{how:?} of {len} at {offset}");
            }
        }
    }
}

/// Reserved space is zero when the file grows into it.
pub async fn reserved_space_reads_as_zeros(t: &Upper) {
    let file = file(t, "f", b"abc").await;
    if file.allocate(Allocate::KeepSize, 0, 100_000).await.is_ok() {
        file.write_at(50_000, b"x").await.unwrap();
        assert!(all(&file).await[3..50_000].iter().all(|byte| *byte == 0));
    }
}

/// `copy_range` copies at least a byte and at most what was asked for, and 0 at the end of the source.
pub async fn copy_range_copies(t: &Upper) {
    let content = noise((2 << 20) + 999);
    let (source, copy) = (file(t, "source", &content).await, file(t, "copy", b"head").await);
    let (mut from, mut to) = (1_u64, 4_u64);
    loop {
        let len = content.len() as u64 - from + 10;
        let copied = copy.copy_range(&*source, from, to, len).await.unwrap();
        assert!(copied <= content.len() as u64 - from, "{copied} from {from}");
        if copied == 0 {
            break;
        }
        (from, to) = (from + copied, to + copied);
    }
    assert_eq!(from, content.len() as u64, "it ends at the end");
    assert!(all(&copy).await == [b"head", &content[1..]].concat());
    assert!(copy.copy_range(&*source, 0, 0, 3).await.unwrap() <= 3);
}

/// `copy_range` takes the files of other layers.
pub async fn copy_range_takes_foreign_files(t: &Upper) {
    let foreign = crate::memory::MemoryLayer::builder("foreign").file("f", "from elsewhere").build().unwrap();
    let source = foreign.root().await.unwrap().file(&name("f")).await.unwrap();
    let copy = file(t, "copy", b"").await;
    let mut done = 0;
    while done < 9 {
        done += copy.copy_range(&*source, 5 + done, done, 9 - done).await.unwrap();
    }
    assert_eq!(all(&copy).await, b"elsewhere");
    assert!(
        !copy.reflink(&*source).await.unwrap(),
        "there is no storage to share with another layer's memory"
    );
    assert_eq!(all(&copy).await, b"elsewhere", "nothing has changed");
}

/// `reflink` makes the content equal, or says `false` and changes nothing; the two stay two files.
pub async fn reflink_is_all_or_nothing(t: &Upper) {
    let content = noise(70_000);
    let (source, copy) = (file(t, "source", &content).await, file(t, "copy", b"before").await);
    if copy.reflink(&*source).await.unwrap() {
        assert!(all(&copy).await == content);
        source.write_at(0, b"changed").await.unwrap();
        assert!(all(&copy).await == content, "the copy has a life of its own");
    } else {
        assert_eq!(all(&copy).await, b"before");
    }
}

/// A write past the largest offset is refused.
pub async fn offsets_have_an_end(t: &Upper) {
    let file = file(t, "f", b"abc").await;
    let refused = file.write_at(u64::MAX - 1, b"xyz").await.map_err(|error| error.kind());
    assert!(matches!(refused, Err(ErrorKind::TooBig | ErrorKind::Invalid)), "{refused:?}");
    assert!(file.read_at(u64::MAX - 1, 10).await.map_or(true, |read| read.is_empty()));
    assert_eq!(all(&file).await, b"abc");
}
