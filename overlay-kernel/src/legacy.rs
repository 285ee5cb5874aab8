//! `mount(2)`: one call and one string of options, for kernels that have nothing better.
//!
//! The kernel takes a page of options and cuts the rest off without a word. A longer string names the layers by the
//! numbers of their descriptors, relative to `/proc/self/fd`.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::error::{KernelError, Log};
use crate::escape;
use crate::identity::Mounted;
use crate::layers::{Layers, Opened};
use crate::options::is_label;
use crate::plan::{Plan, Role, Setting};

/// What the kernel takes of a page of 4096 bytes, the smallest there is: past it the options are cut off unseen.
pub(crate) const OPTIONS_MAX: usize = 4095;

/// Mounts the union on `target`, an absolute path.
pub(crate) fn mount(plan: &Plan, layers: &Layers<'_>, target: &Path) -> Result<Mounted, KernelError> {
    let paths = options(plan, layers, path);
    let done = if paths.len() <= OPTIONS_MAX {
        call(plan, &paths, target)
    } else {
        let numbers = options(plan, layers, number);
        if numbers.len() > OPTIONS_MAX {
            return Err(KernelError::TooLong(numbers.len()));
        }
        among_descriptors(|| call(plan, &numbers, target))
    };
    done.map_err(|errno| KernelError::refused("this stack", errno, Log::default()))?;
    Mounted::at(target)
}

fn call(plan: &Plan, options: &[u8], target: &Path) -> rustix::io::Result<()> {
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(plan.source.as_str(), target, "overlay", plan.flags.bits(), options.as_c_str())
}

/// Calls in `/proc/self/fd`, without moving the process: a thread can have a working directory of its own.
fn among_descriptors(call: impl FnOnce() -> rustix::io::Result<()> + Send) -> rustix::io::Result<()> {
    let there = || {
        // SAFETY: FS parts with the working directory, root and umask, and with no descriptor.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }?;
        rustix::process::chdir("/proc/self/fd")?;
        call()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, there);
        let thread = thread.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How a layer is spelled.
type Spelling = fn(&Opened<'_>) -> Vec<u8>;

fn path(layer: &Opened<'_>) -> Vec<u8> {
    let Some(path) = &layer.path else { return layer.path_of_descriptor().into() };
    match layer.role {
        Role::Lower | Role::Data => escape::lower(path.as_os_str().as_bytes()),
        Role::Upper | Role::Work => escape::single(path.as_os_str().as_bytes()),
    }
}

fn number(layer: &Opened<'_>) -> Vec<u8> {
    layer.as_fd().as_raw_fd().to_string().into()
}

/// The whole string: `lowerdir=top:bottom::data,upperdir=…,workdir=…,option,…`.
fn options(plan: &Plan, layers: &Layers<'_>, spelling: Spelling) -> Vec<u8> {
    let mut text = Vec::new();
    for layer in layers.iter() {
        let before: &[u8] = match layer.role {
            Role::Lower if text.is_empty() => b"lowerdir=",
            Role::Lower => b":",
            Role::Data => b"::",
            Role::Upper => b",upperdir=",
            Role::Work => b",workdir=",
        };
        text.extend_from_slice(before);
        text.extend(spelling(layer));
    }
    for setting in &plan.settings {
        text.push(b',');
        text.extend(spelled(setting).into_bytes());
    }
    text
}

fn spelled(setting: &Setting) -> String {
    match setting {
        Setting::Text(key, value) if is_label(key) => format!("{key}={}", escape::label(value)),
        setting => setting.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Lower, Request, Upper};

    #[test]
    fn the_string_names_every_layer_and_option() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let request = Request {
            lowers: vec![Lower::Directory(make("a:b")), Lower::Directory(make("c"))],
            data: vec![Lower::Directory(make("d")), Lower::Mount { index: 0, name: "m".into() }],
            upper: Some(Upper { upper: make("u,:"), work: make("w") }),
            options: vec![("volatile".into(), None), ("context".into(), Some("s0:c1,c2".into()))],
            ..Request::default()
        };
        let plan = Plan::new(&request).unwrap();
        let mount = std::fs::File::open("/").unwrap();
        let layers = Layers::open(&plan, &[mount.as_fd()]).unwrap();
        let (r, n) = (root.path().display(), mount.as_raw_fd());
        let rest = "volatile,context=\"s0:c1,c2\",redirect_dir=on,metacopy=off";
        let text = |spelling| String::from_utf8(options(&plan, &layers, spelling)).unwrap();
        let pair = format!("upperdir={r}/u\\,:,workdir={r}/w");
        let expected = format!("lowerdir={r}/a\\:b:{r}/c::{r}/d::/proc/self/fd/{n},{pair},{rest}");
        assert_eq!(text(path), expected);
        let [a, c, d, m, u, w] =
            <[_; 6]>::try_from(layers.iter().map(|layer| layer.as_fd().as_raw_fd()).collect::<Vec<_>>())
                .unwrap();
        assert_eq!(text(number), format!("lowerdir={a}:{c}::{d}::{m},upperdir={u},workdir={w},{rest}"));
    }

    #[test]
    fn the_process_stays_where_it_is() {
        let before = std::env::current_dir().unwrap();
        let mut there = None;
        among_descriptors(|| {
            there = std::env::current_dir().ok();
            Ok(())
        })
        .unwrap();
        assert!(there.unwrap().starts_with("/proc"));
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
