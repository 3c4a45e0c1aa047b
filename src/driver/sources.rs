//! Signals and changed files, as events.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::build::{BuildError, Plan};
use crate::process::Signal;
use crate::process::signals::{Descendant, HotrunSignal};
use crate::reload::{Action, Event, Request};
use crate::ui::{Level, Report};
use crate::watch::{self, Message, RuleAction};

use super::inbox::Input;
use super::later::Later;
use super::looping::Verdict;
use super::{Driver, setup};

/// What a change asks for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Run(String),
    Signal(i32),
    Make(Action),
}

impl Driver {
    pub(super) fn signalled(&mut self, signal: HotrunSignal) {
        let is_hangup = signal == HotrunSignal::Hangup;
        match signal {
            // Ctrl-C is the user's own way to quit, not something that befell hotrun.
            HotrunSignal::Interrupt => self.signal = None,
            HotrunSignal::Terminate => self.signal = Some(Signal::SIGTERM as i32),
            HotrunSignal::Hangup if has_terminal() => return self.reload(),
            HotrunSignal::Hangup => self.signal = Some(Signal::SIGHUP as i32),
            HotrunSignal::Quit => {
                // Whoever wants a core dump of it does not want to wait.
                self.signal = Some(nix::sys::signal::Signal::SIGQUIT as i32);
                return self.handle(Event::Requested(Request::QuitNow));
            }
            HotrunSignal::User => return self.reload(),
            HotrunSignal::FromDescendant(sender) => return self.ignore_signal(&sender),
        }
        // A closed terminal is told more than once; only a second Ctrl-C or `TERM` means "at once".
        let insists = !is_hangup && self.insists();
        self.handle(Event::Requested(if insists {
            Request::QuitNow
        } else {
            Request::Quit
        }));
    }

    /// A program's signal to whom it takes for its parent does not end hotrun.
    fn ignore_signal(&self, sender: &Descendant) {
        let Descendant { signal, pid, name } = sender;
        let name = name.as_deref().unwrap_or("a process");
        let text = format!("ignored a {signal} from `{name}` (pid {pid}), which runs under hotrun");
        let hint = "to end hotrun, press Ctrl-C, or send the signal from outside of what it runs";
        self.feed.message(Level::Warning, text, Some(hint.into()));
    }

    /// Whether the user wants the end at once: who asks a second time. A wrapper that signals hotrun and then the whole
    /// process group (`timeout` does) asks once, as does a shell that passes on what the terminal sent to both.
    fn insists(&mut self) -> bool {
        const ONE_WISH: Duration = Duration::from_millis(50);
        let before = *self.told_to_end.get_or_insert_with(Instant::now);
        before.elapsed() >= ONE_WISH
    }

    fn reload(&mut self) {
        self.request(Request::Reload);
    }

    pub(super) fn request(&mut self, request: Request) {
        match request {
            // Nothing waits any more then. What is run comes first, as it does without a pause: it may make what is built.
            Request::Reload | Request::Resume => self.run_waiting(),
            Request::Pause
            | Request::Undo
            | Request::KillDraining
            | Request::Quit
            | Request::QuitNow => {}
        }
        self.handle(Event::Requested(request));
    }

    pub(super) fn watched(&mut self, message: Message) {
        match message {
            Message::Watching { dirs, .. } => {
                self.feed.tell(Report::Watching { directories: dirs });
                // Not before: a change that nobody sees must not come after what the first build reads.
                if !std::mem::replace(&mut self.begun, true) {
                    self.handle(Event::Begin);
                }
            }
            Message::Changed { paths, seen } => self.changed(paths, seen),
            Message::Trouble(trouble) => {
                let hint = trouble.hint().map(str::to_owned);
                self.feed.message(Level::Warning, trouble.to_string(), hint);
            }
        }
    }

    fn changed(&mut self, paths: Vec<PathBuf>, heard: (Instant, Instant)) {
        let paths = match &self.times {
            Some(times) => times.without_own_lock(paths),
            None => paths,
        };
        let mut answers = self.answers(&paths);
        answers.retain(|answer, paths| self.is_to_be_done(answer, paths, heard));
        // The more thorough one is enough.
        if answers.contains_key(&Answer::Make(Action::Build)) {
            answers.remove(&Answer::Make(Action::Restart));
        }
        if answers.is_empty() {
            return;
        }
        if let Plan::Cargo(plan) = &self.plan
            && plan.is_outdated_by(&paths)
        {
            self.plan_anew();
        }
        self.feed.tell(Report::Changed { paths });
        for answer in answers.into_keys() {
            match answer {
                Answer::Signal(signal) => self.handle(Event::ConfigChanged { signal }),
                Answer::Run(line) => self.run_command(&line),
                Answer::Make(action) => self.handle(Event::Changed(action)),
            }
        }
    }

    fn answers(&self, paths: &[PathBuf]) -> BTreeMap<Answer, Vec<PathBuf>> {
        let mut answers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in paths {
            if let Some(answer) = self.answer(path) {
                answers.entry(answer).or_default().push(path.clone());
            }
        }
        answers
    }

    /// Not if what is asked for writes them itself, over and over.
    fn is_to_be_done(
        &mut self,
        answer: &Answer,
        paths: &[PathBuf],
        heard: (Instant, Instant),
    ) -> bool {
        let (verdict, who, how) = match answer {
            Answer::Signal(_) | Answer::Make(Action::Restart) => return true,
            Answer::Make(Action::Build) => {
                let verdict = self.judge_build(paths, heard);
                (verdict, "the build".to_owned(), "`--ignore`")
            }
            Answer::Run(line) => {
                let verdict = self.commands.judge(line, paths, heard);
                (verdict, format!("`{line}`"), "`--on 'FILE=ignore'`")
            }
        };
        match verdict {
            Verdict::Now => return true,
            Verdict::Later(_) | Verdict::Nothing => {}
            Verdict::Own(paths) => self.tell_of_own(&paths, &who, how),
        }
        false
    }

    fn judge_build(&mut self, paths: &[PathBuf], heard: (Instant, Instant)) -> Verdict {
        let during = self.times.as_ref().and_then(|times| {
            let after = times.span.saw(paths, heard);
            after.map(|after| (times.id.get(), after))
        });
        let verdict = self.looping.judge(paths, during);
        if let Verdict::Later(pause) = verdict {
            self.later = Later::after(pause, self.build.is_some());
        }
        verdict
    }

    fn tell_of_own(&self, paths: &[PathBuf], who: &str, how: &str) {
        let named = paths
            .iter()
            .take(3)
            .map(|path| format!("`{}`", path.display()));
        let named = named.collect::<Vec<_>>().join(", ");
        let text = format!(
            "{who} itself changes {named}, each time that it runs; that does not make it run again any more"
        );
        let hint = format!("let it write only what is new, or leave the file out with {how}");
        self.feed.message(Level::Warning, text, Some(hint));
    }

    /// The build that was put off: nothing else has caused one meanwhile.
    pub(super) fn build_now(&mut self) {
        self.later = Later::No;
        self.handle(Event::Changed(Action::Build));
    }

    fn answer(&self, path: &Path) -> Option<Answer> {
        match watch::action_for(&self.config.rules, path) {
            None | Some(RuleAction::Build) => Some(Answer::Make(Action::Build)),
            Some(RuleAction::Restart) => Some(Answer::Make(Action::Restart)),
            Some(RuleAction::Signal(signal)) => Some(Answer::Signal(*signal)),
            Some(RuleAction::Run(line)) => Some(Answer::Run(line.clone())),
            Some(RuleAction::Ignore) => None,
        }
    }

    /// Cargo's configuration or the toolchain changed: what is known of them is asked again. In a thread: it
    /// runs cargo, and rustup may take minutes to bring another toolchain.
    fn plan_anew(&mut self) {
        let (config, inbox) = (self.config.clone(), self.inbox.clone());
        self.plans_asked += 1;
        let number = self.plans_asked;
        tokio::task::spawn_blocking(move || {
            let planned = Plan::new(&setup::plan_options(&config))
                .and_then(|mut plan| plan.check().map(|()| plan));
            inbox.input(Input::Planned { number, planned });
        });
    }

    /// Of two that are asked for at once the older one may come last.
    pub(super) fn planned(&mut self, number: u32, planned: Result<Plan, BuildError>) {
        if number < self.plans_asked {
            return;
        }
        match planned {
            Ok(plan) => self.plan = plan,
            // The build says it too, in cargo's own words.
            Err(error) => self
                .feed
                .message(Level::Warning, error.to_string(), error.hint()),
        }
    }

    pub(super) fn hear(&mut self, message: Option<Message>) {
        match message {
            Some(message) => self.watched(message),
            None => {
                self.deaf = true;
                let hint = "`kill -USR1` reloads; restart hotrun to have changes seen";
                self.feed.error(
                    "the watch has ended, changes are not seen any more",
                    Some(hint.into()),
                );
            }
        }
    }
}

/// Whether there is a terminal that controls hotrun (`tty(4)`: opening it fails without one, and once it is closed).
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}
