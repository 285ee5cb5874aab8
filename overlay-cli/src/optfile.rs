//! Options from a file: `-o @FILE`, for stacks too long for a command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::failure::{Failure, Result};

/// The `-o` strings, each `@FILE` replaced by the lines of the file.
pub(crate) fn expand(strings: &[OsString]) -> Result<Vec<OsString>> {
    let mut out = Vec::new();
    for string in strings {
        match string.as_bytes().strip_prefix(b"@") {
            None => out.push(string.clone()),
            Some(path) => {
                let path = Path::new(OsStr::from_bytes(path));
                let text = std::fs::read(path).map_err(|error| {
                    Failure::cannot(format_args!("read the options in {}", path.display()), error)
                })?;
                out.extend(lines(&text));
            }
        }
    }
    Ok(out)
}

/// Each line is an option string of its own; empty lines, and those that begin with `#`, say nothing.
fn lines(text: &[u8]) -> impl Iterator<Item = OsString> {
    let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let said = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    said.map(|line| OsString::from_vec(line.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_for_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("options");
        std::fs::write(&path, "# layers\nlowerdir+=/a:b\n\n  lowerdir+=/c,ro  \n").unwrap();
        let mut file = OsString::from("@");
        file.push(&path);
        let strings = expand(&["rw".into(), file, "nodev".into()]).unwrap();
        assert_eq!(strings, ["rw", "lowerdir+=/a:b", "lowerdir+=/c,ro", "nodev"]);
        let sentence = expand(&["@/nowhere/at/all".into()]).unwrap_err().to_string();
        assert!(sentence.starts_with("cannot read the options in /nowhere/at/all: "), "{sentence}");
    }
}
