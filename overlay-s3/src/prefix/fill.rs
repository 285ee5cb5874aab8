//! Completing a directory: which pages to ask for, and one listing for everyone who waits.

use std::sync::{Arc, Weak};

use futures::FutureExt;
use overlay_core::error::Kind;

use super::Context;
use super::draft::Draft;
use super::tree::{self, DirNode, Flight, Listing, State};
use crate::error::{Asked, Failure};
use crate::page::{self, From, Page, Scope};
use crate::store::Lister;

/// The root directory, with its first page: the one request that shows that the bucket is there.
pub(crate) async fn open(context: &Arc<Context>, key: String) -> Result<Arc<DirNode>, Failure> {
    let scope = first_scope(context);
    let page = page::list(context, Asked::Open, &key, scope, From::Start).await;
    let page = page.map_err(|failure| failure.hinted(context.store.words.hint))?;
    let ino = tree::ino(context, &key);
    let state = if page.next.is_some() {
        State::Begun(page)
    } else {
        State::Complete(Arc::new(tree::install(context, &key, whole(&key, &page, scope))))
    };
    Ok(DirNode::new(key, ino, state))
}

/// The content of a directory. Without a request once it is complete; a listing that is under way is shared, and
/// one that fails is forgotten when all who waited have been told.
pub(crate) async fn listing(context: &Arc<Context>, dir: &Arc<DirNode>) -> Result<Arc<Listing>, Failure> {
    let flight = {
        let mut state = dir.state();
        match &*state {
            State::Complete(listing) => return Ok(listing.clone()),
            State::Filling(flight) => flight.clone(),
            State::Cold | State::Begun(_) => {
                let first = match std::mem::replace(&mut *state, State::Cold) {
                    State::Begun(page) => Some(page),
                    _ => None,
                };
                let flight = launch(context.clone(), dir, first);
                *state = State::Filling(flight.clone());
                flight
            }
        }
    };
    let result = flight.await;
    if result.is_err() {
        forget(dir);
    }
    result
}

/// Drops a listing whose task died (a panic), so that the next caller starts another.
fn forget(dir: &DirNode) {
    let mut state = dir.state();
    if matches!(&*state, State::Filling(flight) if flight.peek().is_some()) {
        *state = State::Cold;
    }
}

/// Starts the listing as a task of its own: it goes on when those who wait give up, and its deadline is not
/// spent while nobody polls.
fn launch(context: Arc<Context>, dir: &Arc<DirNode>, first: Option<Page>) -> Flight {
    let (key, dir) = (dir.key.clone(), Arc::downgrade(dir));
    let task = tokio::spawn(async move {
        let result = gather(&context, &key, first).await;
        settle(&context, &key, &dir, result)
    });
    task.map(|joined| joined.unwrap_or_else(|_| Err(Failure::new(Kind::Io, "the listing was cut short"))))
        .boxed()
        .shared()
}

fn settle(
    context: &Context,
    key: &str,
    dir: &Weak<DirNode>,
    result: Result<Draft, Failure>,
) -> Result<Arc<Listing>, Failure> {
    let outcome = result.map(|draft| Arc::new(tree::install(context, key, draft)));
    if let Some(dir) = dir.upgrade() {
        *dir.state() = match &outcome {
            Ok(listing) => State::Complete(listing.clone()),
            Err(_) => State::Cold,
        };
    }
    outcome
}

/// All of a directory, and of what lies below what the first page happens to tell.
async fn gather(context: &Context, key: &str, first: Option<Page>) -> Result<Draft, Failure> {
    let scope = first_scope(context);
    let page = match first {
        Some(page) => page,
        None => page::list(context, Asked::List, key, scope, From::Start).await?,
    };
    if page.next.is_none() {
        return Ok(whole(key, &page, scope));
    }
    let (mut draft, mut from) = begin(key, &page);
    loop {
        let page = page::list(context, Asked::List, key, Scope::Children, from.clone()).await?;
        take(&mut draft, key, &page);
        from = match page.next {
            None => break,
            Some(token) if from == From::Token(token.clone()) => {
                return Err(Failure::new(Kind::Io, "the server repeats a page of its listing"));
            }
            Some(token) => From::Token(token),
        };
    }
    draft.complete = true;
    Ok(draft)
}

/// A store without pages answers one level at a time.
fn first_scope(context: &Context) -> Scope {
    match context.store.lister {
        Lister::Pages(_) => Scope::Subtree,
        Lister::Directories { .. } => Scope::Children,
    }
}

/// The draft of a page that is all there is.
fn whole(key: &str, page: &Page, scope: Scope) -> Draft {
    let mut draft = Draft::default();
    take(&mut draft, key, page);
    match scope {
        Scope::Subtree => draft.complete(),
        Scope::Children => draft.complete = true,
    }
    draft
}

/// What a truncated page of a subtree is worth, and where to go on. Some servers do not list in order
/// (S3's directory buckets): then a truncated page says nothing, and the directory is listed from the start.
fn begin(key: &str, page: &Page) -> (Draft, From) {
    let mut draft = Draft::default();
    let in_order = page.objects.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let last = page.objects.last().and_then(|(key, _)| String::from_utf8(key.clone()).ok());
    match last.filter(|_| in_order) {
        None => (draft, From::Start),
        Some(last) => {
            take(&mut draft, key, page);
            draft.complete_before(below(key, last.as_bytes()));
            (draft, From::Key(last))
        }
    }
}

fn take(draft: &mut Draft, key: &str, page: &Page) {
    page.objects.iter().for_each(|(object, facts)| draft.add(below(key, object), facts));
    page.prefixes.iter().for_each(|prefix| draft.add_dir(below(key, prefix)));
}

/// The part of a key below the directory's own. A server that answers with foreign keys gets them hidden.
fn below<'a>(key: &str, object: &'a [u8]) -> &'a [u8] {
    object.strip_prefix(key.as_bytes()).unwrap_or(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::Facts;
    use overlay_core::attr::Time;

    fn page(keys: &[&str]) -> Page {
        let facts = Facts { size: 0, mtime: Time::default(), etag: None };
        let objects = keys.iter().map(|key| (key.as_bytes().to_vec(), facts.clone())).collect();
        Page { objects, prefixes: Vec::new(), next: Some("more".into()) }
    }

    #[test]
    fn a_truncated_page_in_order_is_continued_after_its_last_key() {
        let (draft, from) = begin("p/", &page(&["p/a", "p/b/1", "p/c/1"]));
        assert_eq!(from, From::Key("p/c/1".into()));
        assert!(draft.dirs["b"].complete && !draft.dirs["c"].complete && !draft.complete);
    }

    #[test]
    fn a_truncated_page_out_of_order_says_nothing() {
        let (draft, from) = begin("p/", &page(&["p/b/1", "p/a"]));
        assert_eq!((draft, from), (Draft::default(), From::Start));
        assert_eq!(begin("", &page(&[])).1, From::Start);
    }

    #[tokio::test]
    async fn a_failed_listing_is_forgotten_even_if_nobody_waited() {
        let store = crate::store::Store::whole(Arc::new(object_store::memory::InMemory::new()));
        let context = Context::new(store, "test".into(), Default::default(), 0);
        let pending: Flight = std::future::pending().boxed().shared();
        let dir = DirNode::new(String::new(), 2, State::Filling(pending));
        let failed = settle(&context, "", &Arc::downgrade(&dir), Err(Failure::stale("x")));
        assert!(failed.is_err() && matches!(&*dir.state(), State::Cold));
        let settled = settle(&context, "", &Arc::downgrade(&dir), Ok(Draft::default()));
        assert!(settled.is_ok() && matches!(&*dir.state(), State::Complete(_)));
    }

    #[test]
    fn foreign_keys_are_hidden() {
        let draft = whole("p/", &page(&["q/a"]), Scope::Subtree);
        assert!(draft.files.is_empty() && draft.dirs.is_empty() && draft.hidden.len() == 1);
    }
}
