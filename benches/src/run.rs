//! The order of it all: in every round each workload meets every subject, and each time another subject begins, so that
//! what disturbs the machine for a while disturbs all of them.

use std::fs::{self, File};
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::args::E2e;
use crate::calls;
use crate::failure::{Failure, Say};
use crate::host::Host;
use crate::mount::{self, Mounted};
use crate::scale::Scale;
use crate::site::{Ground, Site};
use crate::subject::{self, Program, Subject};
use crate::workload::{self, Act, Needs, Workload};

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) workload: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) round: u32,
    pub(crate) seconds: f64,
}

/// All measurements, and what they are of.
pub(crate) struct Samples {
    pub(crate) host: Host,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) all: Vec<Sample>,
}

/// Measures everything that was asked for.
pub(crate) fn run(args: &E2e) -> Result<Samples, Failure> {
    let (subjects, workloads) = (subject::chosen(args)?, workload::chosen(args)?);
    let ground = Ground::new(args, &subjects)?;
    let tar = workload::archive(ground.lower(), ground.path())?;
    let host = Host::look(args, ground.path());
    let mut bench =
        Bench { args, ground, tar, scale: Scale::new(args.quick), spent: Vec::new(), all: Vec::new() };
    for round in 0..args.rounds {
        eprintln!("Round {} of {}", round + 1, args.rounds);
        bench.round(round, &subjects, &workloads)?;
    }
    let all = bench.all;
    Ok(Samples { host, subjects, workloads, all })
}

struct Bench<'a> {
    args: &'a E2e,
    ground: Ground,
    tar: NamedTempFile,
    scale: Scale,
    /// Layers that were used are kept to the end: ext4 steps around inodes that were deleted in the last minutes, one by
    /// one, and who creates files would pay for the removal of another's.
    spent: Vec<Site>,
    all: Vec<Sample>,
}

impl Bench<'_> {
    fn round(
        &mut self,
        round: u32,
        subjects: &[Subject],
        workloads: &[&'static Workload],
    ) -> Result<(), Failure> {
        let (reading, others): (Vec<&Workload>, Vec<&Workload>) =
            workloads.iter().partition(|w| matches!(w.needs, Needs::Warm | Needs::Cold));
        if !reading.is_empty() {
            self.read(round, subjects, &reading)?;
        }
        for (i, workload) in others.iter().enumerate() {
            for (turn, subject) in rotated(subjects, round as usize + i) {
                let site =
                    self.ground.site(subject, turn + round as usize, workload.needs == Needs::Fresh)?;
                self.settle()?;
                let time = match workload.needs {
                    Needs::Nothing => self.mounting(workload, subject, &site)?,
                    Needs::Fresh | Needs::Warm | Needs::Cold => Some(self.change(workload, subject, &site)?),
                };
                self.note(workload, subject, round, time);
                self.spent.push(site);
            }
        }
        Ok(())
    }

    /// All workloads that only read, on mounts that live for the round.
    fn read(
        &mut self,
        round: u32,
        subjects: &[Subject],
        workloads: &[&'static Workload],
    ) -> Result<(), Failure> {
        let mut sites = Vec::new();
        for (turn, subject) in subjects.iter().enumerate() {
            let site = self.ground.site(subject, turn + round as usize, false)?;
            // The mount is dropped before its directories are.
            sites.push((self.mount(subject, &site)?.0, site));
        }
        for (i, workload) in workloads.iter().enumerate() {
            for (turn, subject) in rotated(subjects, round as usize + i) {
                let time = self.work(workload, &sites[turn].0).say(subject.name).say(workload.name)?;
                self.note(workload, subject, round, Some(time));
            }
        }
        for (mounted, site) in sites {
            mounted.umount()?;
            self.spent.push(site);
        }
        Ok(())
    }

    fn mount(&self, subject: &Subject, site: &Site) -> Result<(Mounted, Duration), Failure> {
        Mounted::new(self.args, &self.ground, subject, site)
    }

    /// A workload that changes the tree, on a mount of its own.
    fn change(&self, workload: &Workload, subject: &Subject, site: &Site) -> Result<Duration, Failure> {
        let (mounted, _) = self.mount(subject, site)?;
        let time = self.work(workload, &mounted).say(subject.name).say(workload.name)?;
        mounted.umount().say(subject.name).say(workload.name)?;
        Ok(time)
    }

    /// The commands that mount and unmount; nothing for a plain directory.
    fn mounting(
        &self,
        workload: &Workload,
        subject: &Subject,
        site: &Site,
    ) -> Result<Option<Duration>, Failure> {
        if subject.program == Program::Bare {
            return Ok(None);
        }
        let pass = |_| {
            let (mounted, mount) = self.mount(subject, site)?;
            if matches!(workload.act, Act::Mount) {
                (workload.check)(mounted.root(), self.scale, 0).say(subject.name)?;
            }
            let umount = mounted.umount().say(subject.name)?;
            if matches!(workload.act, Act::Umount) {
                (workload.check)(&site.merged(), self.scale, 0).say(subject.name)?;
                return Ok(umount);
            }
            Ok(mount)
        };
        (0..self.passes(workload, subject)).map(pass).collect::<Result<_, Failure>>().map(quickest)
    }

    /// A volatile upper can be mounted once.
    fn passes(&self, workload: &Workload, subject: &Subject) -> u32 {
        if subject.program == Program::Mount8(",volatile") { 1 } else { workload.passes }
    }

    /// Runs a workload as often as it wants to, and checks every pass.
    fn work(&self, workload: &Workload, mounted: &Mounted) -> Result<Duration, Failure> {
        let warming = u32::from(workload.needs == Needs::Warm);
        let passes = self.act(workload, mounted, workload.passes + warming)?;
        for (_, count) in &passes {
            (workload.check)(mounted.root(), self.scale, *count)?;
        }
        let times = passes.into_iter().skip(warming as usize).map(|(time, _)| time).collect();
        quickest(times).ok_or_else(|| Failure("nothing was timed".into()))
    }

    /// The time of each pass, and the number that it printed.
    fn act(
        &self,
        workload: &Workload,
        mounted: &Mounted,
        passes: u32,
    ) -> Result<Vec<(Duration, u64)>, Failure> {
        match workload.act {
            Act::Calls(name) => calls::spawn(name, mounted.root(), passes, self.args.quick),
            Act::Tool(make) => (0..passes)
                .map(|_| {
                    if workload.needs == Needs::Cold {
                        fs::write("/proc/sys/vm/drop_caches", "2").say("drop the caches")?;
                    }
                    let mut tool = make(mounted.root(), self.scale, self.tar.path());
                    mount::timed(&mut tool).map(|(time, printed)| (time, sum(&printed)))
                })
                .collect(),
            Act::Mount | Act::Umount => Err(Failure(format!("{} is no work on a mount", workload.name))),
        }
    }

    /// Lets the disk finish what came before, so that nobody pays for another.
    fn settle(&self) -> Result<(), Failure> {
        let dir = File::open(self.ground.path()).say("open the layers' directory")?;
        rustix::fs::syncfs(dir).say("sync the layers' file system")
    }

    fn note(&mut self, workload: &Workload, subject: &Subject, round: u32, time: Option<Duration>) {
        self.all.extend(time.map(|time| Sample {
            workload: workload.name,
            subject: subject.name,
            round,
            seconds: time.as_secs_f64(),
        }));
    }
}

/// The subjects with their numbers, beginning with another one each time.
fn rotated(subjects: &[Subject], by: usize) -> impl Iterator<Item = (usize, &Subject)> {
    let subjects = subjects.iter().enumerate();
    let first = by % subjects.len().max(1);
    subjects.clone().skip(first).chain(subjects.take(first))
}

/// The sum of the numbers that a tool printed, one a line.
fn sum(printed: &[u8]) -> u64 {
    String::from_utf8_lossy(printed).lines().filter_map(|line| line.parse::<u64>().ok()).sum()
}

/// The time of a round. What else runs on the machine only ever adds to a pass, so the quickest says most of the subject.
fn quickest(times: Vec<Duration>) -> Option<Duration> {
    times.into_iter().min()
}
