//! Rename.

use std::sync::Arc;

use super::Overlay;
use super::dir::Emptiness;
use super::inode::{Ino, Inode, Upper};
use super::lookup::Held;
use super::remove::Pin;
use super::stage::Staged;
use crate::copy_up::{Data, Source, stage};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::layer::{Rename, Target, UpperDir};
use crate::merge::plan::{End, RenameMode, RenamePlan, ShownAs, Upper as UpperFact, rename};
use crate::name::Name;

/// A name in a directory that is in the upper layer.
struct Spot<'a> {
    parent: &'a Arc<Inode>,
    dir: Arc<dyn UpperDir>,
    name: &'a Name,
    /// What the union shows there.
    held: Option<Held<'a>>,
}

impl Spot<'_> {
    fn inode(&self) -> Option<&Arc<Inode>> {
        self.held.as_deref()
    }
}

impl Overlay {
    /// Renames `name` in `parent` to `to_name` in `to_parent`.
    ///
    /// # Errors
    /// `CrossDevice` for a directory that has content in a lower layer, if it cannot be redirected.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &Name,
        to_parent: Ino,
        to_name: &Name,
        mode: RenameMode,
    ) -> Result<()> {
        let from = self.live_dir(parent, "rename")?;
        let to = self.live_dir(to_parent, "rename")?;
        self.refuse_early((&from, name), (&to, to_name), mode).await?;
        self.copy_up(&from, Data::Full).await?;
        self.copy_up(&to, Data::Full).await?;
        loop {
            self.prepare_source(&from, name).await?;
            if mode == RenameMode::Exchange {
                self.prepare_source(&to, to_name).await?;
            }
            self.index_first(&to, to_name).await?;
            let _shape = self.renaming.lock().await;
            let _names = lock_both(&from, &to).await;
            if let Some(result) = self.rename_locked(&from, name, &to, to_name, mode).await.transpose() {
                return result;
            }
            // Somebody put another object, not copied up, under the name in between.
        }
    }

    /// A rename that must fail copies nothing up: half a gigabyte, or a hard link that breaks, for nothing. What is
    /// found here may change until the locks are taken, so everything is looked at again then.
    async fn refuse_early(
        &self,
        (from, name): (&Arc<Inode>, &Name),
        (to, to_name): (&Arc<Inode>, &Name),
        mode: RenameMode,
    ) -> Result<()> {
        self.work("rename")?;
        let source = self.glance(from, name).await?;
        let target = self.glance(to, to_name).await?;
        if let Some(moved) = &source {
            refuse_loops(moved, to, target.as_deref(), from)?;
        }
        let moved = [source.as_deref(), target.as_deref().filter(|_| mode == RenameMode::Exchange)];
        if [from, to].into_iter().chain(moved.into_iter().flatten()).all(|inode| inode.has_upper()) {
            return Ok(());
        }
        if let (Some(moved), Some(there)) = (&source, &target)
            && Arc::ptr_eq(moved, there)
        {
            return Ok(());
        }
        let end = async |inode: Option<&Arc<Inode>>| {
            let shown = match inode {
                None => None,
                Some(inode) => {
                    let _inside = inode.lock.read().await;
                    Some(self.shown_as(inode).await?)
                }
            };
            Ok::<_, Error>(End { shown, upper: UpperFact::Absent, below: false })
        };
        let (source, target) = (end(source.as_deref()).await?, end(target.as_deref()).await?);
        let plan = rename(mode, source, target, self.can_redirect());
        plan.map(|_| ()).map_err(|kind| Error::new(kind, "rename").at(name))
    }

    /// The inode under a name, if the union shows one.
    async fn glance(&self, parent: &Arc<Inode>, name: &Name) -> Result<Option<Held<'_>>> {
        let _names = parent.lock.read().await;
        self.hold_child(parent, name).await
    }

    /// What the union shows. The caller holds the lock of a directory.
    async fn shown_as(&self, inode: &Inode) -> Result<ShownAs> {
        if !inode.is_dir() {
            return Ok(ShownAs::Other);
        }
        Ok(shown_dir(inode, self.emptiness(inode).await?))
    }

    /// Copies up what is to be moved, before any lock is taken. A directory that cannot be redirected stays: if it
    /// cannot move as it is, it does not move at all.
    async fn prepare_source(&self, parent: &Arc<Inode>, name: &Name) -> Result<()> {
        let child = {
            let _names = parent.lock.read().await;
            self.child_to_change(parent, name, "rename").await?
        };
        if self.moves_by_copy(&child) {
            self.copy_up(&child, Data::Below).await?;
        }
        Ok(())
    }

    /// Whether what is moved must be in the upper for that.
    fn moves_by_copy(&self, inode: &Inode) -> bool {
        !inode.is_dir() || self.can_redirect()
    }

    /// `None` if the source must be copied up once more.
    async fn rename_locked(
        &self,
        from: &Arc<Inode>,
        name: &Name,
        to: &Arc<Inode>,
        to_name: &Name,
        mode: RenameMode,
    ) -> Result<Option<()>> {
        let source = self.spot(from, name).await?;
        let target = self.spot(to, to_name).await?;
        let moved =
            source.inode().cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "rename").at(name))?;
        refuse_loops(&moved, to, target.inode(), from)?;
        if target.inode().is_some_and(|there| Arc::ptr_eq(there, &moved)) {
            return same_object(mode).map(Some);
        }
        if let Some(replaced) = target.inode() {
            self.refuse_protected(replaced, "rename").await.map_err(|error| error.at(to_name))?;
        }
        let children = [Some(&moved), target.inode()];
        let _places = lock_children(children).await;
        let uncopied = |inode: &Arc<Inode>| self.moves_by_copy(inode) && !inode.has_upper();
        let swapped = target.inode().filter(|_| mode == RenameMode::Exchange);
        let unindexed = target.inode().is_some_and(|there| self.is_to_be_indexed(there));
        if uncopied(&moved) || swapped.is_some_and(uncopied) || unindexed {
            return Ok(None);
        }
        let (source_end, target_end) = (self.end(&source).await?, self.end(&target).await?);
        let plan = rename(mode, source_end, target_end, self.can_redirect())
            .map_err(|kind| Error::new(kind, "rename").at(name))?;
        let pin = self.carry_out(plan, &source, &target, mode).await?;
        self.record(&source, &target, &moved, mode, pin.as_ref());
        if let Some(replaced) = target.inode() {
            self.settle_index(replaced, pin.as_ref()).await;
        }
        if plan.sweep_source
            && let Err(error) = source.dir.unlink(name).await
        {
            tracing::warn!(%error, %name, "a whiteout that hides nothing stays");
        }
        Ok(Some(()))
    }

    async fn spot<'a>(&'a self, parent: &'a Arc<Inode>, name: &'a Name) -> Result<Spot<'a>> {
        let dir = self.upper_of(parent, "rename")?;
        if parent.is_removed() {
            return Err(Error::new(ErrorKind::NotFound, "rename").at(name));
        }
        let held = self.hold_child(parent, name).await?;
        Ok(Spot { parent, dir, name, held })
    }

    /// The facts of one end.
    async fn end(&self, spot: &Spot<'_>) -> Result<End> {
        let below = self.is_below(spot.parent, spot.name).await?;
        let Some(inode) = spot.inode() else {
            let facts = self.facts(spot.parent, spot.name).await?;
            return Ok(End { shown: None, upper: facts.upper_mark(), below });
        };
        if !inode.is_dir() {
            let upper = self.upper_fact(spot.parent, spot.name, inode).await?;
            return Ok(End { shown: Some(ShownAs::Other), upper, below });
        }
        let found = self.emptiness(inode).await?;
        let shown = shown_dir(inode, found);
        let upper = if inode.has_upper() { UpperFact::Dir { bare: found.bare } } else { UpperFact::Absent };
        Ok(End { shown: Some(shown), upper, below })
    }

    /// The steps; the rename is the commit. Returns the handle of an object that was replaced.
    async fn carry_out(
        &self,
        plan: RenamePlan,
        source: &Spot<'_>,
        target: &Spot<'_>,
        mode: RenameMode,
    ) -> Result<Option<Pin>> {
        if plan.opaque_source {
            source.dir.set_opaque(Target::Child(source.name)).await?;
        }
        if plan.opaque_target {
            target.dir.set_opaque(Target::Child(target.name)).await?;
        }
        let moves = !Arc::ptr_eq(source.parent, target.parent);
        for spot in
            [Some(source), Some(target).filter(|_| mode == RenameMode::Exchange)].into_iter().flatten()
        {
            if let Some(inode) = spot.inode() {
                self.bring_name(inode, spot.parent, spot.dir.as_ref(), spot.name).await?;
            }
        }
        self.redirect_spot(source, plan.redirect_source, moves).await?;
        if mode == RenameMode::Exchange {
            self.redirect_spot(target, plan.redirect_target, moves).await?;
        }
        self.arrive_impure(source.inode(), target.parent, target.dir.as_ref()).await?;
        if mode == RenameMode::Exchange {
            self.arrive_impure(target.inode(), source.parent, source.dir.as_ref()).await?;
        }
        if plan.clear_target {
            self.put_bare_dir(target).await?;
        }
        let pin = match target.inode() {
            Some(replaced) if mode != RenameMode::Exchange => {
                self.pin(target.dir.as_ref(), target.name, replaced).await?
            }
            _ => None,
        };
        match source.dir.rename(source.name, target.dir.as_ref(), target.name, plan.how).await {
            Err(error) if plan.how == Rename::Whiteout && error.kind() == ErrorKind::Invalid => {
                self.rename_then_whiteout(source, target).await?;
            }
            other => other?,
        }
        Ok(pin)
    }

    /// Marks what is about to move, if it takes anything from the layers below.
    async fn redirect_spot(&self, spot: &Spot<'_>, plan: bool, moves: bool) -> Result<()> {
        let Some(inode) = spot.inode() else { return Ok(()) };
        let lacks_data = inode.state().metacopy;
        if !plan && !lacks_data {
            return Ok(());
        }
        let by_path = moves || lacks_data && self.is_linked_below(inode).await?;
        self.redirect(inode, (spot.parent, spot.name), (spot.dir.as_ref(), spot.name), by_path).await
    }

    /// For file systems that cannot leave a whiteout in the same step. A file gets its new name first and loses the
    /// old one after that: a crash in between leaves both, and nothing is lost. A directory can only be moved.
    async fn rename_then_whiteout(&self, source: &Spot<'_>, target: &Spot<'_>) -> Result<()> {
        let whiteout = self.staged("rename")?;
        let made = whiteout.work.whiteout(&whiteout.name).await;
        whiteout.check(made).await?;
        let is_dir = source.inode().is_some_and(|inode| inode.is_dir());
        if is_dir {
            let moved =
                source.dir.rename(source.name, target.dir.as_ref(), target.name, Rename::Replace).await;
            whiteout.check(moved).await?;
            return whiteout.publish(source.dir.as_ref(), source.name, Rename::NoReplace).await;
        }
        let second = self.staged("rename")?;
        let linked = source.dir.link(source.name, second.work.as_ref(), &second.name).await;
        whiteout.check(linked).await?;
        let moved = second.publish(target.dir.as_ref(), target.name, Rename::Replace).await;
        whiteout.check(moved).await?;
        whiteout.publish(source.dir.as_ref(), source.name, Rename::Replace).await
    }

    /// Puts an empty opaque directory in the place of one that holds whiteouts only: the union shows no difference.
    async fn put_bare_dir(&self, spot: &Spot<'_>) -> Result<()> {
        let Some(inode) = spot.inode() else { return Ok(()) };
        let old = self.upper_of(inode, "rename")?;
        let source = Source {
            attr: old.attr().await?,
            dir: old.as_ref(),
            target: Target::Itself,
            data: None,
            origin: None,
        };
        let staged = self.staged("rename")?;
        let bare = self.bare_copy(&source, &staged).await;
        let bare = staged.check(bare).await?;
        staged.publish(spot.dir.as_ref(), spot.name, Rename::Exchange).await?;
        {
            let mut state = inode.state_mut();
            state.upper = Upper::Dir(bare);
            // Even if the rename fails now: the whiteouts that hid what lies below are gone, and the mark does it.
            state.lowers = [].into();
            state.redirect = None;
            (state.origin, state.impure) = (false, Some(false));
        }
        Ok(())
    }

    /// An opaque directory in work with the attributes of `source`, and its handle.
    async fn bare_copy(&self, source: &Source<'_>, staged: &Staged<'_>) -> Result<Arc<dyn UpperDir>> {
        stage(source, staged.work.as_ref(), &staged.name, Data::None, false).await?;
        staged.work.set_opaque(Target::Child(&staged.name)).await?;
        staged.work.upper_dir(&staged.name).await
    }

    /// The new state of the table.
    fn record(
        &self,
        source: &Spot<'_>,
        target: &Spot<'_>,
        moved: &Arc<Inode>,
        mode: RenameMode,
        pin: Option<&Pin>,
    ) {
        let other = target.inode();
        match (mode, other) {
            (RenameMode::Exchange, Some(other)) => {
                self.leave(target, other);
                self.leave(source, moved);
                self.arrive(source, other);
            }
            (_, Some(replaced)) => {
                self.lost_name(target.parent, target.name, replaced, pin);
                self.leave(source, moved);
            }
            (_, None) => self.leave(source, moved),
        }
        self.arrive(target, moved);
    }

    fn leave(&self, spot: &Spot<'_>, inode: &Arc<Inode>) {
        self.table.remove_name(spot.parent.ino, spot.name);
        inode.drop_name(spot.parent.ino, spot.name);
    }

    fn arrive(&self, spot: &Spot<'_>, inode: &Arc<Inode>) {
        self.table.add_name(spot.parent, spot.name, inode);
    }
}

fn shown_dir(inode: &Inode, Emptiness { empty, .. }: Emptiness) -> ShownAs {
    let merged = !inode.state().lowers.is_empty();
    if merged { ShownAs::MergedDir { empty } } else { ShownAs::PureDir { empty } }
}

/// A directory cannot move into itself, and a directory that holds the source is not empty.
fn refuse_loops(
    moved: &Arc<Inode>,
    to: &Arc<Inode>,
    target: Option<&Arc<Inode>>,
    from: &Arc<Inode>,
) -> Result<()> {
    if is_within(to, moved) {
        return Err(Error::new(ErrorKind::Invalid, "rename"));
    }
    if target.is_some_and(|target| is_within(from, target)) {
        return Err(Error::new(ErrorKind::NotEmpty, "rename"));
    }
    Ok(())
}

/// Whether `inode` is `ancestor` or below it.
fn is_within(inode: &Arc<Inode>, ancestor: &Arc<Inode>) -> bool {
    let mut at = Some(inode.clone());
    while let Some(current) = at {
        if Arc::ptr_eq(&current, ancestor) {
            return true;
        }
        at = current.first_name().map(|(parent, _)| parent);
    }
    false
}

/// POSIX: a rename of one name of an object to another of the same does nothing.
fn same_object(mode: RenameMode) -> Result<()> {
    match mode {
        RenameMode::NoReplace => Err(Error::new(ErrorKind::Exists, "rename")),
        RenameMode::Replace | RenameMode::Exchange => Ok(()),
    }
}

type Guard<'a> = tokio::sync::RwLockWriteGuard<'a, ()>;

/// Locks two directories, an ancestor first, else by number. The rename lock is held, so the order stays.
async fn lock_both<'a>(a: &'a Arc<Inode>, b: &'a Arc<Inode>) -> (Guard<'a>, Option<Guard<'a>>) {
    if Arc::ptr_eq(a, b) {
        return (a.lock.write().await, None);
    }
    let a_first = is_within(b, a) || (!is_within(a, b) && a.ino < b.ino);
    let (first, second) = if a_first { (a, b) } else { (b, a) };
    let first = first.lock.write().await;
    (first, Some(second.lock.write().await))
}

/// Locks the objects at both ends by number; neither is an ancestor of a directory that is locked already.
async fn lock_children(children: [Option<&Arc<Inode>>; 2]) -> Vec<Guard<'_>> {
    let mut children: Vec<_> = children.into_iter().flatten().collect();
    children.sort_by_key(|inode| inode.ino);
    let mut guards = Vec::new();
    for child in children {
        guards.push(child.lock.write().await);
    }
    guards
}
