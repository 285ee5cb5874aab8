//! Every example of docs/SEMANTICS.md is run as it stands, each in an empty directory.
#![allow(clippy::unwrap_used, reason = "in a test a failure is a panic")]

mod shell;

use std::fmt::Write as _;

use shell::Shell;

/// One example: the line it begins at, and its commands with what they print.
struct Example {
    line: usize,
    steps: Vec<(String, String)>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut current: Option<Example> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut current, line) {
            (None, "```console") => current = Some(Example { line: index + 1, steps: Vec::new() }),
            (Some(_), "```") => examples.extend(current.take()),
            (Some(example), line) => match line.strip_prefix("$ ") {
                Some(command) => example.steps.push((command.into(), String::new())),
                None => writeln!(example.steps.last_mut().unwrap().1, "{line}").unwrap(),
            },
            (None, _) => {}
        }
    }
    examples
}

#[test]
fn every_example_prints_what_the_page_says() {
    needs_fuse!();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SEMANTICS.md")).unwrap();
    let examples = examples(&page);
    assert!(examples.len() >= 10, "the page has examples");
    for example in examples {
        let words: String = example.steps.iter().map(|(command, _)| command.as_str()).collect();
        let tools = ["getfattr", "setfattr", "setpriv"].into_iter().filter(|tool| words.contains(tool));
        let test = format!("the example at line {} of docs/SEMANTICS.md", example.line);
        if !shell::has(&test, &tools.collect::<Vec<_>>()) {
            continue;
        }
        let shell = Shell::new();
        for (command, expected) in example.steps {
            let output = shell.output(&command);
            let printed = String::from_utf8_lossy(&output.stdout);
            let complaint = String::from_utf8_lossy(&output.stderr);
            let context =
                format!("docs/SEMANTICS.md, example at line {}: {command}\n{complaint}", example.line);
            assert_eq!(printed, expected, "{context}");
            assert!(complaint.is_empty(), "{context}");
        }
    }
}
