//! The words by which mount(8) and container engines call a mount helper, in the words of this command. Pure.
//!
//! `overlay SOURCE MOUNTPOINT -o OPTIONS` is how mount(8) calls a helper, for a new mount as well as for a remount,
//! and `overlay -o OPTIONS MOUNTPOINT` is how a container engine calls its `mount_program`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The arguments of a helper's call as `overlay mount …`; others as they are. `commands` are the words that are no
/// helper's source.
pub(crate) fn translate(args: Vec<OsString>, commands: &[&str]) -> Vec<OsString> {
    match args.get(1).and_then(|first| first.to_str()) {
        Some(first) if commands.contains(&first) => args,
        _ => Call::read(args.get(1..).unwrap_or_default()).map_or(args, Call::words),
    }
}

/// A helper's call.
#[derive(Debug, Default)]
struct Call {
    options: Vec<OsString>,
    positionals: Vec<OsString>,
    foreground: bool,
}

impl Call {
    /// `None` if it is none.
    fn read(args: &[OsString]) -> Option<Self> {
        let mut call = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_bytes() {
                b"-o" => call.options.push(args.next()?.clone()),
                // The type is known, nothing is written to mtab, and unknown options are errors in any case.
                b"-t" => drop(args.next()?),
                b"-n" | b"-s" | b"-v" => {}
                b"-f" => call.foreground = true,
                b"-r" => call.options.push("ro".into()),
                b"-w" => call.options.push("rw".into()),
                [b'-', b'o', value @ ..] => call.options.push(std::ffi::OsStr::from_bytes(value).into()),
                [b'-', ..] => return None,
                _ => call.positionals.push(arg.clone()),
            }
        }
        let is_call = !call.options.is_empty() && matches!(call.positionals.len(), 1 | 2);
        is_call.then_some(call)
    }

    fn words(mut self) -> Vec<OsString> {
        let target = self.positionals.pop();
        let source = self.positionals.pop().filter(|source| self.is_name(source));
        let name = source.map(|mut source| {
            let mut option = OsString::from("fsname=");
            option.push(std::mem::take(&mut source));
            option
        });
        let options = self.options.into_iter().chain(name).flat_map(|option| ["-o".into(), option]);
        let foreground = self.foreground.then(|| OsString::from("--foreground"));
        let words = ["overlay".into(), "mount".into()].into_iter().chain(foreground).chain(options);
        words.chain(target).collect()
    }

    /// Whether a source is to be shown as the name of the mount.
    fn is_name(&self, source: &OsString) -> bool {
        let has = |option: &OsString| option.as_bytes().windows(7).any(|part| part == b"fsname=");
        let is_text = |b: &u8| !matches!(b, b',' | b'"' | b'\\');
        !matches!(source.as_bytes(), b"none" | b"overlay" | b"")
            && source.as_bytes().iter().all(is_text)
            && !self.options.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(words: &str) -> String {
        let args = ["overlay"].into_iter().chain(words.split(' ')).map(OsString::from).collect();
        let words = translate(args, &["mount", "umount"]);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_helpers_call_becomes_a_command() {
        for (words, expected) in [
            ("overlay /m -o rw,lowerdir=a,dev,suid", "overlay mount -o rw,lowerdir=a,dev,suid /m"),
            ("name /m -o lowerdir=a", "overlay mount -o lowerdir=a -o fsname=name /m"),
            ("name /m -o lowerdir=a,fsname=b", "overlay mount -o lowerdir=a,fsname=b /m"),
            ("none /m -n -r -o lowerdir=a -t fuse.overlay", "overlay mount -o ro -o lowerdir=a /m"),
            ("-o lowerdir=a,upperdir=u, /m", "overlay mount -o lowerdir=a,upperdir=u, /m"),
            ("-f -olowerdir=a -o ro /m", "overlay mount --foreground -o lowerdir=a -o ro /m"),
            ("overlay /m -o rw,remount,ro", "overlay mount -o rw,remount,ro /m"),
        ] {
            assert_eq!(translated(words), expected);
        }
    }

    #[test]
    fn everything_else_is_left_alone() {
        for words in [
            "mount -o lowerdir=a m",
            "umount m",
            "monut m",
            "--help",
            "-V",
            "a b c -o x",
            "-o",
            "x --foo -o y",
        ] {
            assert_eq!(translated(words), format!("overlay {words}"));
        }
    }
}
