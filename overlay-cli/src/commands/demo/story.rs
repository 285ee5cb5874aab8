//! The demonstration itself: what is done, what is seen, and whether it is so.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::Parser;

use super::scene::{Content, Scene};
use super::tree;
use crate::args::{Args, Command};
use crate::compat;
use crate::failure::{Failure, Result};
use crate::plan::Intent;
use crate::process::Invocation;
use crate::serve::{Server, Watched};

/// What is added to a file of the bucket.
const ADDED: &str = "plum,4\n";

/// What is written to a new file.
const NOTES: &str = "Written through the union.\n";

/// Plays the demonstration and clears it away, whatever happens.
pub(crate) fn run() -> Result<()> {
    let scene = Scene::new()?;
    let played = play(&scene);
    let path = scene.path().to_owned();
    scene.clear()?;
    played?;
    say(&format!("Unmounted; {} is removed.", path.display()))?;
    say("Next: overlay mount --lower DIR --lower s3://BUCKET/PREFIX --upper DIR --work DIR MOUNTPOINT")
}

fn play(scene: &Scene) -> Result<()> {
    let before = scene.lowers()?;
    let words = words(scene);
    introduce(scene, &words)?;
    let invocation = Invocation { args: Vec::new(), variables: scene.variables() };
    let mut server = Server::union(&intent(&words)?, &invocation, Watched::Foreground)?;
    server.heed_signals();
    let shown = show(&server, &before);
    let unmounted = server.unmounter().unmount();
    let ended = server.wait();
    shown?;
    unmounted?;
    ended?;
    compare(&before, &scene.lowers()?)
}

/// The command that is shown, and that is carried out.
fn words(scene: &Scene) -> Vec<String> {
    let url = scene.url();
    ["overlay", "mount", "--engine", "fuse", "--lower", "local", "--lower", &url]
        .into_iter()
        .chain(["--upper", "upper", "--work", "work", "merged"])
        .map(str::to_owned)
        .collect()
}

fn intent(words: &[String]) -> Result<Intent> {
    match Args::try_parse_from(words).map(|args| args.command) {
        Ok(Command::Mount(mount)) => Intent::read(&mount, compat::parse(&mount.options)?),
        other => Err(Failure::new(format!("the demonstration cannot be started by {words:?}: {other:?}"))),
    }
}

fn introduce(scene: &Scene, words: &[String]) -> Result<()> {
    say("A directory over an S3 bucket, seen as one tree. The bucket is served by this program, for now.\n")?;
    say(&format!("$ cd {}", scene.path().display()))?;
    for (key, value) in scene.variables() {
        say(&format!("$ export {key}={value}"))?;
    }
    let quoted =
        words.iter().map(|word| if word.contains("://") { format!("'{word}'") } else { word.clone() });
    let line = quoted.collect::<Vec<_>>().join(" ").replace(" --lower", " \\\n    --lower");
    say(&line.replace(" --upper", " \\\n    --upper").replacen("overlay", "$ overlay", 1))
}

fn show(server: &Server, before: &(Content, Content)) -> Result<()> {
    say("\nThe union, and where each file comes from:")?;
    show_union(server, before)?;
    say("\nThe bucket can only be read; what is changed lands in the upper:")?;
    change()?;
    say("\n$ find upper")?;
    let held = tree::upper(Path::new("upper"))?;
    for (path, remark) in &held {
        say(&format!("  {path:<18} {remark}"))?;
    }
    verify(&held.iter().map(|(path, remark)| (path.as_str(), remark.as_str())).collect::<Vec<_>>())
}

fn show_union(server: &Server, (local, bucket): &(Content, Content)) -> Result<()> {
    let overlay = server.overlay().ok_or_else(|| Failure::new("the demonstration is not merged here"))?;
    let labels = overlay.layer_labels();
    for (path, layer) in server.block_on(tree::union(overlay))? {
        let hides = local.contains_key(&path) && bucket.contains_key(&format!("site/{path}"));
        let hint = if hides { "  (hides the one in the bucket)" } else { "" };
        say(&format!("  merged/{path:<18} {}{hint}", labels[layer]))?;
    }
    Ok(())
}

/// Changes, deletes and adds a file, by ordinary means.
fn change() -> Result<()> {
    say("$ echo plum,4 >> merged/data/prices.csv")?;
    let prices = fs::OpenOptions::new().append(true).open("merged/data/prices.csv");
    let appended = prices.and_then(|mut file| file.write_all(ADDED.as_bytes()));
    appended.map_err(|error| Failure::cannot("append to merged/data/prices.csv", error))?;
    say("$ rm merged/data/old.csv")?;
    fs::remove_file("merged/data/old.csv")
        .map_err(|error| Failure::cannot("remove merged/data/old.csv", error))?;
    say("$ echo Written through the union. > merged/notes.txt")?;
    fs::write("merged/notes.txt", NOTES).map_err(|error| Failure::cannot("write merged/notes.txt", error))
}

/// A demonstration that shows what is not so would be worse than none.
fn verify(held: &[(&str, &str)]) -> Result<()> {
    let prices = fs::read_to_string("merged/data/prices.csv").unwrap_or_default();
    let expected = [
        ("data/old.csv", "whiteout: hides the file of that name below".to_owned()),
        ("data/prices.csv", format!("{} bytes", prices.len())),
        ("notes.txt", format!("{} bytes", NOTES.len())),
    ];
    let expected: Vec<_> = expected.iter().map(|(path, remark)| (*path, remark.as_str())).collect();
    ensure(held == expected, "the upper does not hold just what was changed")?;
    ensure(prices.starts_with("fruit,") && prices.ends_with(ADDED), "the changed file lost its content")?;
    ensure(!Path::new("merged/data/old.csv").exists(), "the removed file is still there")
}

fn compare(before: &(Content, Content), after: &(Content, Content)) -> Result<()> {
    ensure(before == after, "the layers below the upper have changed")?;
    let (local, bucket) = after;
    say(&format!(
        "\nBelow nothing has changed: {} files of ./local and {} objects of the bucket are, byte for byte, what they were.",
        local.len(),
        bucket.len()
    ))
}

fn ensure(is_so: bool, otherwise: &str) -> Result<()> {
    if is_so { Ok(()) } else { Err(Failure::new(format!("the demonstration failed: {otherwise}"))) }
}

/// A line to the reader, who may have gone.
fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Failure::cannot("write to standard output", error))
}
