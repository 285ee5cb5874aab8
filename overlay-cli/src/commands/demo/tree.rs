//! Trees, walked for people: a union with the layers that its files come from, a directory, an upper.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use overlay_core::error::Result as CoreResult;
use overlay_core::overlay::{Overlay, ROOT};

use super::scene::Content;
use crate::failure::{Failure, Result};

/// A file of the union: its path and the index of its layer.
pub(super) type Row = (String, usize);

/// The files of the union, sorted.
pub(super) async fn union(overlay: &Overlay) -> CoreResult<Vec<Row>> {
    let mut rows = Vec::new();
    let mut looked_up = Vec::new();
    let mut todo = vec![(ROOT, String::new())];
    while let Some((dir, path)) = todo.pop() {
        let handle = overlay.opendir(dir).await?;
        let listed = overlay.readdir(handle, true).await?;
        overlay.releasedir(handle);
        for name in listed.iter().filter_map(|row| row.name.as_ref()) {
            let Some(attr) = overlay.lookup(dir, name).await? else { continue };
            looked_up.push(attr.ino);
            let path = format!("{path}{}", name.as_os_str().to_string_lossy());
            if attr.is_dir() {
                todo.push((attr.ino, path + "/"));
            } else {
                rows.push((path, overlay.layer_of(attr.ino)?));
            }
        }
    }
    looked_up.into_iter().for_each(|ino| overlay.forget(ino, 1));
    rows.sort();
    Ok(rows)
}

/// Whatever is no directory below `root`: path and metadata, sorted.
fn files(root: &Path) -> io::Result<Vec<(String, fs::Metadata)>> {
    let mut files = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let data = entry.metadata()?;
            if data.is_dir() {
                todo.push(entry.path());
            } else {
                let path = entry.path();
                let below = path.strip_prefix(root).unwrap_or(&path);
                files.push((below.to_string_lossy().into_owned(), data));
            }
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

/// The files of a directory and their content.
pub(super) fn content(root: &Path) -> Result<Content> {
    let fail = |error: io::Error| Failure::cannot(format_args!("read {}", root.display()), error);
    let read = |(path, _): (String, _)| fs::read(root.join(&path)).map(|data| (path, data));
    files(root).map_err(fail)?.into_iter().map(read).collect::<io::Result<_>>().map_err(fail)
}

/// What an upper holds, a path and a remark for each: the size, or that it is a whiteout.
pub(super) fn upper(root: &Path) -> Result<Vec<(String, String)>> {
    let files =
        files(root).map_err(|error| Failure::cannot(format_args!("read {}", root.display()), error))?;
    Ok(files.into_iter().map(|(path, data)| (path, remark(&data))).collect())
}

fn remark(data: &fs::Metadata) -> String {
    if data.file_type().is_char_device() && data.rdev() == 0 {
        "whiteout: hides the file of that name below".into()
    } else {
        format!("{} bytes", data.size())
    }
}
