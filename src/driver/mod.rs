//! Turns every source into an [`Event`], hands it to the machine, and performs the [`Effect`]s.
//!
//! There is one `select!`, here, and one thread that decides. What takes time runs in a task that answers
//! through the inbox; no task touches the machine, the sockets or the build plan. The user interface and
//! the watch have threads of their own.
//!
//! [`Effect`]: crate::reload::Effect

mod adopting;
mod answering;
mod attendant;
mod build;
mod clock;
mod command;
mod console;
mod exec;
mod feed;
mod generation;
mod inbox;
mod keep;
mod later;
mod looping;
mod notified;
mod own;
mod patience;
mod perform;
mod print;
mod questions;
mod reloading;
mod remedy;
mod scope;
mod screen;
mod setup;
mod shown;
mod sources;
mod telling;
mod words;

pub use questions::leave_nobody;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::build::{Launch, Plan, WatchRoots, runner};
use crate::config::Config;
use crate::os::terminal::{self, Size};
use crate::process::notify::FdStore;
use crate::process::signals::Signals;
use crate::process::{self, Control, guardian};
use crate::reload::{ArtifactId, BuildOutcome, Event, GenEvent, GenId, Machine};
use crate::socket::Sockets;
use crate::ui::{Mode, Report, Ui};
use crate::watch::{self, Watch};

use adopting::Adopting;
use build::ActiveBuild;
use clock::Clock;
use command::Commands;
use console::Console;
use feed::Feed;
use generation::Running;
use inbox::{Inbox, Input};
use keep::Keep;
use later::Later;
use looping::Looping;
use own::Times;
use print::Print;
use screen::{Suspend, sleep_to};

/// How hotrun came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether every program ended as it was asked to.
    pub clean: bool,
    /// The number of the signal that made hotrun end, if one did.
    pub signal: Option<i32>,
}

/// Everything that lives as long as hotrun does.
struct Driver {
    config: Config,
    machine: Machine,
    clock: Clock,
    /// Whether programs are heard out because a limit has passed.
    hears_out: bool,
    inbox: Inbox,
    feed: Feed,
    sockets: Sockets,
    adopting: Adopting,
    plan: Plan,
    /// The newest artifact and how to start it.
    launch: Option<(ArtifactId, Launch)>,
    /// What earlier builds made.
    keep: Keep,
    build: Option<ActiveBuild>,
    /// Of the newest build, also when it is over.
    times: Option<Times>,
    looping: Looping,
    /// For what changed during a build that may have changed it itself.
    later: Later,
    /// Builds that have ended and left something running, which is killed in the end.
    past_builds: Vec<Control>,
    generations: BTreeMap<GenId, Running>,
    /// What they stored for those after them.
    store: FdStore,
    /// What the newest good build made.
    print: Option<Print>,
    /// What the generations that run were started from.
    prints: BTreeMap<GenId, Print>,
    /// Shell lines of rules that run.
    commands: Commands,
    /// How often a new plan was asked for.
    plans_asked: u32,
    watch: Watch,
    /// What may be watched where the user does not say.
    roots: WatchRoots,
    /// What the last good build has read.
    inputs: Vec<std::path::PathBuf>,
    /// The newest build that has taught the watch.
    lessons: Option<GenId>,
    /// Generations of which it was told why they can't run.
    explained: BTreeSet<GenId>,
    /// Whether it was told what helps a program that can't run beside another of its kind.
    told_of_company: bool,
    /// Whether it was told that what is listened on is not stored.
    told_of_listeners: bool,
    /// Whether the watch has begun, and with it everything.
    begun: bool,
    outcome: Option<Outcome>,
    /// Whether the watch has ended, which it never should.
    deaf: bool,
    /// When a signal first asked hotrun to end.
    told_to_end: Option<Instant>,
    /// The number of the last signal that asked hotrun to end.
    signal: Option<i32>,
    /// How large the terminal is.
    size: Size,
    /// When connections are counted next.
    look_at: Instant,
}

/// Where events come from.
struct Sources {
    inputs: UnboundedReceiver<Input>,
    watch: UnboundedReceiver<watch::Message>,
    signals: Signals,
    console: Console,
}

/// The watch, which ends when it is dropped, and what may be watched where the user does not say.
struct Watching {
    watch: Watch,
    roots: WatchRoots,
}

/// Does what the process is for if hotrun started itself in one of its hidden modes: guardian of a process tree,
/// or runner of cargo.
pub fn hidden_mode(args: &[OsString]) -> Option<ExitCode> {
    match args.get(1) {
        Some(mode) if mode == guardian::MODE => Some(guardian::main()),
        Some(mode) if mode == runner::FLAG => Some(runner::main(args.iter().skip(2).cloned())),
        Some(_) | None => None,
    }
}

/// Runs until the user quits. Must be called in a current-thread runtime, from the main thread: the guardians'
/// parent is the thread that starts them.
///
/// # Errors
/// What hotrun can't begin without: the sockets, something to build or to start, the signals, the watch.
pub async fn run(config: Config, ui: Ui) -> Result<Outcome> {
    // The sockets first: from here on connections wait. The signals next: from here on all is put away.
    let sockets = setup::sockets(&config)?;
    let adopting = Adopting::probe(&config, sockets.adopter().as_ref());
    let signals = Signals::new().context("taking over the signals")?;
    process::become_subreaper().context("becoming a subreaper")?;
    let mut plan = setup::plan(&config)?;
    let roots = setup::watch_roots(&mut plan)?;
    let spec = setup::watch_spec(&config, &roots);
    let (inbox, inputs) = inbox::channel();
    let (changes, watch) = mpsc::unbounded_channel();
    let console = Console::new(&config).context("taking over the terminal")?;
    let watching = Watching {
        watch: setup::watch(&spec, changes)?,
        roots,
    };
    let sources = Sources {
        inputs,
        watch,
        signals,
        console,
    };
    let (feed, screen) = feed::start(ui, inbox.clone()).context("starting a thread")?;
    if config.ui.mode == Mode::Live {
        screen.ends_on_panic(inbox.clone());
    }
    adopting.report(&config, &feed);
    let outcome = Driver::new(config, plan, watching, (sockets, adopting), inbox, feed)?
        .drive(sources)
        .await;
    screen.finish().await?;
    Ok(outcome)
}

impl Driver {
    fn new(
        config: Config,
        plan: Plan,
        watching: Watching,
        (sockets, adopting): (Sockets, Adopting),
        inbox: Inbox,
        feed: Feed,
    ) -> Result<Self> {
        let builds = plan.build_command()?.is_some();
        let launch = if builds {
            None
        } else {
            Some((ArtifactId::FIRST, setup::unbuilt(&plan)?))
        };
        Ok(Self {
            machine: Machine::new(config.policy(builds, adopting.works())),
            clock: Clock::start(),
            hears_out: false,
            inbox,
            feed,
            sockets,
            adopting,
            launch,
            plan,
            keep: Keep::default(),
            build: None,
            times: None,
            looping: Looping::default(),
            later: Later::No,
            past_builds: Vec::new(),
            generations: BTreeMap::new(),
            store: FdStore::new().context("opening the descriptor store")?,
            print: None,
            prints: BTreeMap::new(),
            commands: Commands::default(),
            plans_asked: 0,
            watch: watching.watch,
            roots: watching.roots,
            inputs: Vec::new(),
            lessons: None,
            explained: BTreeSet::new(),
            told_of_company: false,
            told_of_listeners: false,
            begun: false,
            told_to_end: None,
            deaf: false,
            outcome: None,
            signal: None,
            size: terminal::size(),
            look_at: Instant::now(),
            config,
        })
    }

    async fn drive(mut self, mut sources: Sources) -> Outcome {
        for listening in self.sockets.listening() {
            let address = listening.address.to_string();
            self.feed.tell(Report::Listening {
                name: listening.name,
                address,
                by: None,
                first: true,
            });
        }
        loop {
            if let Some(outcome) = self.outcome {
                for control in &self.past_builds {
                    control.kill();
                }
                return outcome;
            }
            let deadline = self.machine.deadline();
            tokio::select! {
                biased;
                signal = sources.signals.next() => self.signalled(signal),
                Some(input) = sources.inputs.recv() => self.take(input),
                message = sources.watch.recv(), if !self.deaf => self.hear(message),
                came = sources.console.next() => if let Some(Suspend) = self.came(came) {
                    self.suspend(&mut sources.console).await;
                },
                key = self.store.hung_up() => self.store.close_hung_up(key),
                () = sleep_to(self.later.due()) => self.build_now(),
                () = sleep_to(self.commands.due()) => self.run_due(),
                () = sleep_to(self.next_look()) => self.look(),
                () = self.clock.sleep_until(deadline), if !self.hears_out => self.limit_passed(deadline),
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(Event::Generation(id, GenEvent::BuildEnded(outcome))) => {
                // A build that was made to end did not fail.
                let outcome = match self.build_is_over() {
                    true => BuildOutcome::Cancelled,
                    false => outcome,
                };
                self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
            }
            Input::Event(event) => self.handle(event),
            Input::Built {
                id,
                launch,
                print,
                like,
            } => {
                // It came too late to be made to end. The machine does not want it any more.
                if self.build_is_over() {
                    let outcome = BuildOutcome::Cancelled;
                    return self.handle(Event::Generation(id, GenEvent::BuildEnded(outcome)));
                }
                self.print = print.map(|print| *print);
                self.built(id, launch, like);
            }
            Input::HeardOut => self.heard_out(),
            Input::CommandEnded { line } => self.command_ended(&line),
            Input::Learnt(lesson) => self.learn(lesson),
            Input::Intercepted { id, event } => self.intercepted(id, event),
            Input::Said(said) => self.said(*said),
            Input::Planned { number, planned } => self.planned(number, planned),
        }
    }

    /// Whether the build that was running had been given up.
    fn build_is_over(&mut self) -> bool {
        if let Some(times) = &mut self.times {
            times.span.end();
        }
        self.past_builds
            .retain(|control| !control.pids().is_empty());
        self.build.take().is_some_and(|build| {
            self.past_builds.push(build.control);
            build.cancelled.load(Ordering::Relaxed)
        })
    }

    /// Hands an event to the machine, and to it again whatever its effects answer at once.
    fn handle(&mut self, event: Event) {
        // Whatever woke us first: what is told now is told of a time at which we were away.
        if !self.hears_out {
            self.clock.was_away(self.machine.deadline());
        }
        let mut events = VecDeque::from([event]);
        if let Event::Generation(_, GenEvent::BuildEnded(_)) = event {
            self.later.ended();
        }
        while let Some(event) = events.pop_front() {
            let now = self.clock.tell();
            let response = self.machine.handle(now, event);
            for notice in response.notices {
                self.tell(notice);
            }
            for effect in response.effects {
                events.extend(self.perform(effect));
            }
        }
    }
}
