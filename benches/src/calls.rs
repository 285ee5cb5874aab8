//! Loops of system calls, run in a child process that times itself, so that no tool's start drowns them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::args::Calls;
use crate::failure::{Failure, Say};
use crate::scale::{BIG, SMALL_BYTES, Scale};

/// What a loop did: calls that went well, or bytes. The parent compares it with what it should be.
type Count = u64;

struct Call {
    name: &'static str,
    /// What must be there before; not timed.
    before: fn(&Path, Scale) -> io::Result<Count>,
    run: fn(&Path, Scale) -> io::Result<Count>,
}

const CALLS: &[Call] = &[
    Call { name: "stat", before: nothing, run: stat },
    Call { name: "stat-missing", before: nothing, run: stat_missing },
    Call { name: "read-small", before: nothing, run: read_small },
    Call { name: "read-big", before: nothing, run: read_big },
    Call { name: "create", before: make_new, run: create },
    Call { name: "unlink", before: make_and_create, run: unlink },
    Call { name: "write", before: make_written, run: write },
];

/// The directory of the files that are created.
pub(crate) const NEW: &str = "new";
/// The file that is written to.
pub(crate) const WRITTEN: &str = "written";

/// Runs one loop and prints a line for each pass: nanoseconds and count.
pub(crate) fn run(args: &Calls) -> Result<(), Failure> {
    let call = CALLS.iter().find(|call| call.name == args.name).ok_or("no such loop").say(&args.name)?;
    let scale = Scale::new(args.quick);
    (call.before)(&args.root, scale).say(format!("before {}", call.name))?;
    for _ in 0..args.passes {
        let begin = Instant::now();
        let count = (call.run)(&args.root, scale).say(call.name)?;
        println!("{} {count}", begin.elapsed().as_nanos());
    }
    Ok(())
}

/// Runs a loop in a process of its own; the time of each pass and what it counted.
pub(crate) fn spawn(
    name: &str,
    root: &Path,
    passes: u32,
    quick: bool,
) -> Result<Vec<(Duration, Count)>, Failure> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["calls", name]).arg(root).arg(passes.to_string());
    if quick {
        command.arg("--quick");
    }
    let output = command.output().say("start a loop of calls")?;
    if !output.status.success() {
        return Err(Failure(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| parse(line).ok_or("is no answer of a loop").say(line)).collect()
}

fn parse(line: &str) -> Option<(Duration, Count)> {
    let (nanos, count) = line.split_once(' ')?;
    Some((Duration::from_nanos(nanos.parse().ok()?), count.parse().ok()?))
}

fn nothing(_: &Path, _: Scale) -> io::Result<Count> {
    Ok(0)
}

fn stat(root: &Path, scale: Scale) -> io::Result<Count> {
    scale.small().map(|name| fs::symlink_metadata(root.join(name)).map(|meta| meta.len())).sum()
}

fn stat_missing(root: &Path, scale: Scale) -> io::Result<Count> {
    let missing = |name: String| match fs::symlink_metadata(root.join(name + "-missing")) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
        Ok(_) => Ok(0),
    };
    scale.small().map(missing).sum()
}

fn read_small(root: &Path, scale: Scale) -> io::Result<Count> {
    let mut buffer = vec![0; 2 * SMALL_BYTES];
    scale.small().map(|name| read_all(&root.join(name), &mut buffer)).sum()
}

fn read_big(root: &Path, _: Scale) -> io::Result<Count> {
    // The size of cat's buffer.
    read_all(&root.join(BIG), &mut vec![0; 128 << 10])
}

fn read_all(path: &Path, buffer: &mut [u8]) -> io::Result<Count> {
    let mut file = File::open(path)?;
    let mut total = 0;
    loop {
        match file.read(buffer)? {
            0 => return Ok(total),
            read => total += read as u64,
        }
    }
}

fn make_new(root: &Path, _: Scale) -> io::Result<Count> {
    fs::create_dir(root.join(NEW)).map(|()| 0)
}

fn new_names(scale: Scale) -> impl Iterator<Item = String> {
    (0..scale.files).map(|i| format!("{NEW}/n{i}"))
}

fn create(root: &Path, scale: Scale) -> io::Result<Count> {
    new_names(scale).map(|name| File::create_new(root.join(name)).map(|_| 1)).sum()
}

fn make_and_create(root: &Path, scale: Scale) -> io::Result<Count> {
    make_new(root, scale)?;
    create(root, scale)
}

fn unlink(root: &Path, scale: Scale) -> io::Result<Count> {
    new_names(scale).map(|name| fs::remove_file(root.join(name)).map(|()| 1)).sum()
}

fn make_written(root: &Path, _: Scale) -> io::Result<Count> {
    File::create_new(root.join(WRITTEN)).map(|_| 0)
}

fn write(root: &Path, scale: Scale) -> io::Result<Count> {
    let file = OpenOptions::new().write(true).open(root.join(WRITTEN))?;
    let block = [b'w'; 4096];
    for offset in (0..scale.written_bytes).step_by(block.len()) {
        file.write_all_at(&block, offset)?;
    }
    Ok(scale.written_bytes)
}
