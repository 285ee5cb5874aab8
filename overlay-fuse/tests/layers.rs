//! Layers of other kinds under the union: a third party's, one that fails, one that panics, one that waits.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod common;
#[path = "../../overlay-core/examples/custom_layer.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is an example of its own")]
mod custom_layer;

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use common::{Union, names};
use overlay_core::conformance::Faults;
use overlay_core::error::Kind;
use overlay_core::memory::MemoryLayer;
use overlay_core::{Attr, Dir, File, Found, Layer, ListEntry, Name, Node, Result};
use rustix::io::Errno;

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Option<Errno> {
    Errno::from_io_error(&result.unwrap_err())
}

#[test]
fn a_custom_layer_is_mounted_and_written_over() {
    needs_fuse!();
    let files = [(b"etc/motd".to_vec(), Bytes::from_static(b"hello\n")), (b"top".to_vec(), Bytes::new())];
    let layer = custom_layer::Program::new("program", files).unwrap();
    let mut u = Union::new(0);
    u.mount_layers(vec![Arc::new(layer)]);
    assert_eq!(names(&u.mnt("")), ["etc", "top"]);
    assert_eq!(fs::read_to_string(u.mnt("etc/motd")).unwrap(), "hello\n");
    fs::write(u.mnt("etc/motd"), "goodbye\n").unwrap();
    fs::remove_file(u.mnt("top")).unwrap();
    assert_eq!(names(&u.mnt("")), ["etc"]);
    assert_eq!(fs::read_to_string(u.upper("etc/motd")).unwrap(), "goodbye\n");
}

#[test]
fn an_error_of_a_layer_is_never_taken_for_absence() {
    needs_fuse!();
    let hidden = MemoryLayer::builder("hidden").file("secret", "must stay hidden").build().unwrap();
    let hiding = MemoryLayer::builder("hiding").whiteout("secret").file("x", "x").build().unwrap();
    let faults = Faults::new();
    let mut u = Union::new(0);
    u.mount_layers(vec![faults.layer(Arc::new(hiding)), Arc::new(hidden)]);
    for kind in [Kind::Access, Kind::Io] {
        faults.fail_if(kind, |call| call.name.is_some_and(|name| name.as_bytes() == b"secret"));
        let failed = Errno::from_raw_os_error(kind.errno());
        assert_eq!(errno(fs::read_to_string(u.mnt("secret"))), Some(failed));
        assert_eq!(
            errno(fs::File::options().write(true).create_new(true).open(u.mnt("secret"))),
            Some(failed)
        );
    }
    faults.fail_if(Kind::Io, |call| call.op == "list");
    assert!(fs::read_dir(u.mnt("")).unwrap().any(|entry| entry.is_err()), "half a listing is no listing");
    faults.clear();
    assert_eq!(errno(fs::read_to_string(u.mnt("secret"))), Some(Errno::NOENT));
}

/// A layer with one file; reading it panics, or takes its time, or waits at a gate.
struct Odd(Arc<str>, Reading);

#[derive(Clone)]
enum Reading {
    Panics,
    TakesItsTime,
    WaitsAt(Arc<Gate>),
}

/// Opens for nobody until it has permits; says when somebody stands before it.
struct Gate {
    permits: tokio::sync::Semaphore,
    arrived: std::sync::mpsc::Sender<()>,
}

#[async_trait::async_trait]
impl Layer for Odd {
    fn label(&self) -> &Arc<str> {
        &self.0
    }
    async fn root(&self) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(OddItem { reading: self.1.clone(), dir: true }))
    }
}

#[derive(Clone)]
struct OddItem {
    reading: Reading,
    dir: bool,
}

impl OddItem {
    fn file(&self) -> Self {
        Self { dir: false, ..self.clone() }
    }
}

#[async_trait::async_trait]
impl Node for OddItem {
    async fn attr(&self) -> Result<Attr> {
        let kind = if self.dir { overlay_core::attr::Kind::Dir } else { overlay_core::attr::Kind::File };
        Ok(Attr::new(kind, 1 + u64::from(self.dir), 0o755, 4, overlay_core::Time::default()))
    }
}

#[async_trait::async_trait]
impl Dir for OddItem {
    async fn attr(&self) -> Result<Attr> {
        Node::attr(self).await
    }
    async fn lookup(&self, name: &Name) -> Result<Option<Found>> {
        match name.as_bytes() {
            b"odd" => Ok(Some(Found::plain(Node::attr(&self.file()).await?))),
            b"panic" => panic!("on purpose, in a look-up"),
            _ => Ok(None),
        }
    }
    async fn list(&self) -> Result<Vec<ListEntry>> {
        Ok(Vec::new())
    }
    async fn dir(&self, name: &Name) -> Result<Arc<dyn Dir>> {
        Err(overlay_core::Error::new(Kind::NotDir, "open").at(name))
    }
    async fn file(&self, _name: &Name) -> Result<Arc<dyn File>> {
        Ok(Arc::new(Self::file(self)))
    }
}

#[async_trait::async_trait]
impl File for OddItem {
    async fn read_at(&self, offset: u64, _len: usize) -> Result<Bytes> {
        match &self.reading {
            Reading::WaitsAt(gate) => {
                gate.arrived.send(()).unwrap();
                gate.permits.acquire().await.unwrap().forget();
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
        assert!(!matches!(self.reading, Reading::Panics), "on purpose, in a read that waited");
        Ok(if offset == 0 { Bytes::from_static(b"odd\n") } else { Bytes::new() })
    }
}

#[test]
fn a_panic_costs_one_eio_and_the_mount_lives() {
    needs_fuse!();
    let mut u = Union::new(0);
    u.mount_layers(vec![Arc::new(Odd("odd".into(), Reading::Panics))]);
    for _ in 0..8 {
        assert_eq!(errno(fs::metadata(u.mnt("panic"))), Some(Errno::IO), "at the first poll");
        assert_eq!(errno(fs::read(u.mnt("odd"))), Some(Errno::IO), "after a wait");
    }
    fs::write(u.mnt("fine"), "fine").unwrap();
    assert_eq!(fs::read(u.mnt("fine")).unwrap(), b"fine");
}

#[test]
fn layers_that_wait_hold_up_nobody() {
    needs_fuse!();
    let mut u = Union::new(0);
    u.mount_layers(vec![Arc::new(Odd("odd".into(), Reading::TakesItsTime))]);
    let path = u.mnt("odd");
    let readers: Vec<_> = (0..8)
        .map(|_| path.clone())
        .map(|path| std::thread::spawn(move || fs::read(path).unwrap()))
        .collect();
    fs::write(u.mnt("fine"), "fine").unwrap();
    assert_eq!(fs::read(u.mnt("fine")).unwrap(), b"fine");
    for reader in readers {
        assert_eq!(reader.join().unwrap(), b"odd\n");
    }
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .map(|mut f| std::io::Write::write_all(&mut f, b"more"))
        .unwrap()
        .unwrap();
    assert_eq!(fs::read(u.upper("odd")).unwrap(), b"odd\nmore");
}

#[test]
fn nobody_waits_for_the_copy_up_of_another_file() {
    needs_fuse!();
    let (arrived, at_the_gate) = std::sync::mpsc::channel();
    let gate = Arc::new(Gate { permits: tokio::sync::Semaphore::new(0), arrived });
    let slow = Odd("slow".into(), Reading::WaitsAt(gate.clone()));
    let quick = MemoryLayer::builder("quick").file("other", "other").file("d/deep", "deep").build().unwrap();
    let mut u = Union::new(0);
    u.mount_layers(vec![Arc::new(slow), Arc::new(quick)]);
    let path = u.mnt("odd");
    let copying = std::thread::spawn(move || drop(fs::OpenOptions::new().write(true).open(path).unwrap()));
    at_the_gate.recv().unwrap();
    // The copy is in the middle: whatever waited for it now would wait for ever.
    assert_eq!(fs::read(u.mnt("other")).unwrap(), b"other");
    fs::write(u.mnt("d/deep"), "changed").unwrap();
    fs::rename(u.mnt("other"), u.mnt("d/moved")).unwrap();
    assert_eq!(fs::metadata(u.mnt("odd")).unwrap().len(), 4, "not even for its attributes");
    assert_eq!(names(&u.at("mnt")), ["d"], "the slow layer lists nothing");
    assert!(!copying.is_finished() && !u.upper("odd").exists());
    gate.permits.add_permits(tokio::sync::Semaphore::MAX_PERMITS);
    copying.join().unwrap();
    assert_eq!(fs::read(u.upper("odd")).unwrap(), b"odd\n");
}
