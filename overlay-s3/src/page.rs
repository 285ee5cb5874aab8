//! One page of a listing, from whatever store.

use std::borrow::Cow;

use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta};
use overlay_core::attr::Time;
use overlay_core::error::Kind;

use crate::deadline::within;
use crate::error::{Asked, Failure, LOCAL, failure};
use crate::prefix::{Context, Facts};
use crate::sanitize::unescape;
use crate::store::Lister;
use crate::wire::Answer;

/// Keys of one page; the store's own maximum, which most servers do not exceed.
pub(crate) const PAGE_KEYS: usize = 1000;

/// Which keys below a prefix are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All, however deep.
    Subtree,
    /// One level; what lies deeper is rolled up into prefixes.
    Children,
}

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum From {
    #[default]
    Start,
    /// After this key.
    Key(String),
    /// Where an earlier page of the same question ended.
    Token(String),
}

/// A page: full keys, as the store has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) objects: Vec<(Vec<u8>, Facts)>,
    /// With the slash at the end.
    pub(crate) prefixes: Vec<Vec<u8>>,
    /// What continues a truncated page.
    pub(crate) next: Option<String>,
}

/// Asks for one page of the keys that begin with `prefix` (empty, or ending in `/`), within the deadline.
pub(crate) async fn list(
    context: &Context,
    asked: Asked,
    prefix: &str,
    scope: Scope,
    from: From,
) -> Result<Page, Failure> {
    context.counters.list();
    let answer = Answer::default();
    let fail = |error| failure(asked, &error, answer.status().as_ref(), &context.store.words);
    within(context.settings.timeout, async {
        match &context.store.lister {
            Lister::Pages(store) => {
                let options = options(scope, from, &answer);
                page(store.as_ref(), prefix, options).await.map_err(&fail)?
            }
            Lister::Directories { root } => directory(context, root.as_deref(), prefix).await.map_err(&fail),
        }
    })
    .await
}

fn options(scope: Scope, from: From, answer: &Answer) -> PaginatedListOptions {
    let mut options = PaginatedListOptions { max_keys: Some(PAGE_KEYS), ..Default::default() };
    options.extensions.insert(answer.clone());
    options.delimiter = (scope == Scope::Children).then_some(Cow::Borrowed("/"));
    match from {
        From::Start => {}
        From::Key(key) => options.offset = Some(key),
        From::Token(token) => options.page_token = Some(token),
    }
    options
}

async fn page(
    store: &dyn PaginatedListStore,
    prefix: &str,
    options: PaginatedListOptions,
) -> object_store::Result<Result<Page, Failure>> {
    let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
    let answer = store.list_paginated(prefix, options).await?;
    Ok(exact(answer.result, answer.page_token))
}

/// A sanitized page with its keys read back.
fn exact(result: ListResult, next: Option<String>) -> Result<Page, Failure> {
    let key = |path: &Path| {
        unescape(path.as_ref()).ok_or_else(|| Failure::new(Kind::Io, "a listing was not understood"))
    };
    let objects = result.objects.iter().map(|meta| Ok((key(&meta.location)?, facts(meta))));
    let prefixes = result.common_prefixes.iter().map(key);
    Ok(Page {
        objects: objects.collect::<Result<_, _>>()?,
        prefixes: prefixes.collect::<Result<_, _>>()?,
        next,
    })
}

async fn directory(
    context: &Context,
    root: Option<&std::path::Path>,
    prefix: &str,
) -> object_store::Result<Page> {
    let path = Path::parse(prefix)?;
    let parent = Some(&path).filter(|path| !path.is_root());
    let result = context.store.objects.list_with_delimiter(parent).await?;
    if let Some(root) = root.filter(|_| result.objects.is_empty() && result.common_prefixes.is_empty()) {
        check_directory(root.join(prefix)).await?;
    }
    // The directory's own marker comes without its slash.
    let key = |at: &Path| if *at == path { prefix.into() } else { at.as_ref().into() };
    let objects = result.objects.iter().map(|meta| (key(&meta.location), facts(meta)));
    let prefixes = result.common_prefixes.iter().map(|path| format!("{path}/").into_bytes());
    Ok(Page { objects: objects.collect(), prefixes: prefixes.collect(), next: None })
}

/// A directory that is missing is listed as an empty one by object_store's file system.
async fn check_directory(path: std::path::PathBuf) -> object_store::Result<()> {
    match tokio::task::spawn_blocking(move || std::fs::metadata(path)).await? {
        Ok(_) => Ok(()),
        Err(error) => Err(object_store::Error::Generic { store: LOCAL, source: Box::new(error) }),
    }
}

fn facts(meta: &ObjectMeta) -> Facts {
    let modified = meta.last_modified;
    let mtime = Time { sec: modified.timestamp(), nsec: modified.timestamp_subsec_nanos().min(999_999_999) };
    Facts { size: meta.size, mtime, etag: meta.e_tag.as_deref().map(Into::into) }
}
