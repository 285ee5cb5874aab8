//! The proof that the kernel can copy a file up from a layer that is served by FUSE: some kernels fail there, and
//! would fail at somebody's first write.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use overlay_core::Layer;
use overlay_core::local::{LocalLayer, LocalOptions};
use overlay_core::marker::kernel::Namespace;
use overlay_core::memory::MemoryLayer;
use overlay_fuse::Image;
use overlay_kernel::{Lower, Means, Plan, Request, Upper};
use rustix::fs::{Mode, OFlags};
use tokio::runtime::Runtime;

use super::images::options;
use crate::failure::{Failure, Result};
use crate::kernel;

/// What the file of the proof holds, before and after it is written to.
const BEFORE: &[u8] = b"proof";
const AFTER: &[u8] = b"proof!";

/// Fails if a file of an image cannot be copied up by this kernel; `backed`: one that is passed through to a local file.
pub(super) fn copy_up_works(
    runtime: &Runtime,
    namespace: Namespace,
    shelter: &Path,
    backed: bool,
) -> Result<()> {
    let means = kernel::means()?;
    if means == Means::Legacy {
        tracing::warn!("whether this kernel copies files up from a layer that is served was not tried");
        return Ok(());
    }
    let proven = runtime.block_on(prove(runtime, namespace, means, shelter, backed));
    let fail =
        |why| Failure::new(format!("this kernel cannot copy a file up from a layer that is served: {why}"));
    proven.map_err(fail)
}

async fn prove(
    runtime: &Runtime,
    namespace: Namespace,
    means: Means,
    shelter: &Path,
    backed: bool,
) -> Result<()> {
    let scratch = overlay_kernel::scratch()?;
    let directory = |name: &str| {
        rustix::fs::mkdirat(&scratch, name, Mode::RWXU)
            .map_err(|errno| Failure::cannot("make a directory on a tmpfs", errno))?;
        Ok::<_, Failure>(format!("/proc/self/fd/{}/{name}", scratch.as_raw_fd()).into())
    };
    let layer: Arc<dyn Layer> = if backed {
        let lower: PathBuf = directory("lower")?;
        std::fs::write(lower.join("file"), BEFORE)
            .map_err(|error| Failure::cannot("write to a tmpfs", error))?;
        Arc::new(LocalLayer::open(&lower, &LocalOptions::new(namespace))?)
    } else {
        Arc::new(MemoryLayer::builder("proof").file("file", BEFORE).build()?)
    };
    let image = Image::serve(layer, &options(namespace), runtime.handle().clone()).await;
    let image = image.map_err(|error| Failure::new(error.to_string()))?;
    let upper = Upper { upper: directory("upper")?, work: directory("work")? };
    let userxattr = (namespace == Namespace::User).then(|| ("userxattr".to_owned(), None));
    let request = Request {
        lowers: vec![Lower::Mount { index: 0, name: "proof".into() }],
        upper: Some(upper),
        options: userxattr.into_iter().collect(),
        ..Request::default()
    };
    let union = overlay_kernel::detached(&Plan::new(&request)?, &[image.as_fd()], means, shelter)?;
    let written = write_and_read(union.as_fd());
    let written = written.map_err(|errno| Failure::new(errno.to_string()))?;
    if written == AFTER { Ok(()) } else { Err(Failure::new("its content was lost")) }
}

fn write_and_read(union: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(union, "file", flags, Mode::empty())?;
    rustix::io::pwrite(&file, &AFTER[BEFORE.len()..], BEFORE.len() as u64)?;
    let mut content = vec![0; AFTER.len() + 1];
    let len = rustix::io::pread(&file, &mut content, 0)?;
    content.truncate(len);
    Ok(content)
}
