use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::Signal;

use super::State;
use crate::harness::asking::Asking;
use crate::harness::{Event, PATIENCE, Project, Run, Running, http, leftovers, until};

/// A machine in some state, its clients, and everything that must be in order when the fault is over.
pub(crate) struct Stage {
    pub(crate) project: Project,
    options: Vec<String>,
    /// Whether hotrun runs as somebody whom limits concern.
    pub(super) as_user: bool,
    run: Option<Running>,
    load: Option<Asking>,
    /// How many requests may fail, because of what the design says.
    allowed: usize,
    /// A client that came before anything was live.
    waiting: Option<JoinHandle<Result<String, http::Failure>>>,
    /// A connection on which nothing has been said.
    pub(crate) silent: Option<TcpStream>,
    /// Whether nothing is live.
    held: bool,
    was_held: bool,
    mended: usize,
    pub(super) figures: Figures,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Figures {
    pub(super) answered: usize,
    pub(super) lost: usize,
}

/// hotrun starts something by itself after a crash.
pub(super) const RETURNS: [&str; 2] = ["--rollback-within", "10s"];

/// The scripts wait for this file beside the watched folder, and then do what another one says, if it is there.
const GATE: &str = "echo at the gate; until [ -e ../gate ]; do sleep 0.02; done; if [ -e ../then ]; then . ../then; fi; ";

impl Stage {
    pub(crate) fn new(options: &[&str]) -> Self {
        let project = Project::new();
        project.save("build", "exit 0");
        project.server("one");
        let mut options: Vec<_> = options.iter().map(ToString::to_string).collect();
        // What follows from a crash by itself has rows of its own: everything else is easier to tell without.
        if !options.contains(&RETURNS[0].to_owned()) {
            options.extend(["--rollback-within", "0s"].map(str::to_owned));
        }
        Self {
            project,
            options,
            as_user: false,
            run: None,
            load: None,
            allowed: 0,
            waiting: None,
            silent: None,
            held: false,
            was_held: false,
            mended: 0,
            figures: Figures::default(),
        }
    }

    /// One that is in this state.
    #[track_caller]
    pub(crate) fn at(state: State) -> Self {
        let mut stage = Self::new(&[]);
        state.reach(&mut stage);
        stage
    }

    /// hotrun is killed, and nothing is left.
    #[track_caller]
    pub(crate) fn kill_hotrun(mut self) {
        self.ends_killed();
        self.close();
    }

    #[track_caller]
    pub(super) fn ends_killed(&mut self) {
        self.stop_load();
        self.run().signal(Signal::SIGKILL);
        self.ended_with(None);
    }

    pub(super) fn gated_build(&self, line: &str) {
        self.project.save("build", &format!("{GATE}{line}"));
    }

    pub(super) fn gated_start(&self, arguments: &str) {
        let faulty = crate::harness::apps::std().faulty.display();
        self.project
            .script(&format!("{GATE}exec '{faulty}' {arguments}"));
    }

    /// Lets what waits do this, instead of what it would.
    pub(super) fn go_on(&self, line: &str) {
        fs::write(self.project.beside("then"), line).expect("the folder is ours");
        self.open_gates();
    }

    /// The same with the faulty server.
    pub(super) fn go_on_faulty(&self, arguments: &str) {
        let faulty = crate::harness::apps::std().faulty.display();
        self.go_on(&format!("exec '{faulty}' {arguments}"));
    }

    pub(super) fn open_gates(&self) {
        fs::write(self.project.beside("gate"), "").expect("the folder is ours");
    }

    pub(super) fn spawn(&mut self) {
        // In a session of its own: so `HUP` finds no terminal, as when one was closed. Whoever runs the tests may ignore
        // that (`nohup`).
        let run = match self.as_user && nix::unistd::geteuid().is_root() {
            true => Run::as_nobody(&self.project),
            false => Run::through(
                &self.project,
                "exec setsid env --default-signal=HUP \"$0\" \"$@\"",
            ),
        };
        let run = run.listen().args(["--build", "exec sh build"]);
        let run = run.args(&self.options).program(["sh", "start"]);
        self.run = Some(run.spawn());
    }

    pub(super) fn is_held(&mut self) {
        (self.held, self.was_held) = (true, true);
    }

    /// A first generation that is live, and clients.
    pub(super) fn serve(&mut self, arguments: &str) {
        self.project.faulty(arguments);
        self.spawn();
        assert_eq!(self.run().live(), 1);
        // Many stages at once: the machine must not be what is tested.
        let load = Asking::paced(self.run().address(), Duration::from_millis(10));
        load.more(5);
        self.load = Some(load);
    }

    pub(crate) fn run(&mut self) -> &mut Running {
        self.run.as_mut().expect("hotrun runs")
    }

    /// The program of this generation.
    pub(super) fn program(&mut self, generation: u64) -> i32 {
        let pid = self.run().pid_of(generation);
        i32::try_from(pid).expect("a pid is an i32")
    }

    /// Its parent.
    pub(super) fn guardian(&mut self, generation: u64) -> i32 {
        let program = self.program(generation);
        let status = process_tree::status(program);
        status.expect("it runs").parent
    }

    /// The guardian of the build that runs.
    pub(super) fn builds_guardian(&mut self) -> i32 {
        let others: Vec<_> = match self.run().count("spawned") {
            0 => Vec::new(),
            _ => vec![self.guardian(1)],
        };
        let hotrun = self.run().pid().as_raw();
        let children = process_tree::children(hotrun);
        let mut builds = children.into_iter().filter(|pid| !others.contains(pid));
        builds.next().expect("a build runs")
    }

    pub(super) fn take_run(&mut self) -> Running {
        self.run.take().expect("hotrun runs")
    }

    /// The generation that is built or started waits for the gate.
    #[track_caller]
    pub(super) fn at_the_gate(&mut self, generation: u64) {
        self.run().expect_that("at the gate", PATIENCE, |event| {
            event.text("text") == "at the gate" && event.generation() == generation
        });
    }

    /// So many more requests may fail.
    pub(super) fn allow(&mut self, count: usize) {
        self.allowed += count;
    }

    /// Somebody asks whom nobody can answer yet.
    pub(super) fn client_waits(&mut self) {
        let address = self.run().address();
        self.waiting = Some(thread::spawn(move || ask_patiently(address)));
    }

    #[track_caller]
    pub(super) fn told_of(&mut self, name: &str, generation: u64) -> Event {
        let what = format!("{name} of gen {generation}");
        self.run().expect_that(&what, PATIENCE, |event| {
            event.is(name) && event.generation() == generation
        })
    }

    /// It fails for this reason while this one serves; 0 is none.
    #[track_caller]
    pub(super) fn fails(&mut self, reason: &str, live: u64) -> Event {
        let failed = self.run().expect("failed");
        self.was_held |= live == 0;
        let told = (failed.text("reason"), failed.number("live"));
        assert_eq!(told, (reason, live), "{failed}");
        failed
    }

    /// hotrun says this, or has said it.
    #[track_caller]
    pub(super) fn says(&mut self, words: &str) {
        let says = |event: &Event| event.mentions(words);
        if !self.run().so_far().iter().any(says) {
            self.run().expect_that(words, PATIENCE, says);
        }
    }

    /// The one with this version answers.
    #[track_caller]
    pub(super) fn answers(&mut self, version: &str) {
        let address = self.run().address();
        let wanted = format!("version {version}\n");
        until(&wanted, PATIENCE, || {
            let body = http::get(address, "/").ok()?;
            body.ends_with(&wanted).then_some(())
        });
    }

    /// A good save goes live, and who waited is answered.
    #[track_caller]
    pub(super) fn mends(&mut self) {
        self.mended += 1;
        let version = format!("mended-{}", self.mended);
        self.open_gates();
        self.project
            .save("build", &format!("exit 0 # {}", self.mended));
        self.project.server(&version);
        self.answers(&version);
        self.held = false;
        if let Some(waiting) = self.waiting.take() {
            let answer = waiting.join().expect("no panic");
            answer.expect("who waits is answered");
        }
    }

    /// Ends the load; no request was lost but those that may. While nothing is live it waits, and ends with hotrun.
    #[track_caller]
    pub(super) fn stop_load(&mut self) {
        if !self.held
            && let Some(load) = self.load.take()
        {
            load.more(5);
            self.count(load);
        }
    }

    #[track_caller]
    fn count(&mut self, load: Asking) {
        let outcome = load.stop();
        self.figures.answered = outcome.answered;
        let mut lost = outcome.failures;
        // An honest answer while nothing is live.
        lost.retain(|failure| !self.was_held || !is_unavailable(failure));
        self.figures.lost = lost.len();
        assert!(lost.len() <= self.allowed, "lost: {lost:?}");
    }

    /// hotrun ends by this signal with this code.
    #[track_caller]
    pub(super) fn ends_by(&mut self, signal: Signal, code: i32) {
        self.stop_load();
        self.run().signal(signal);
        self.ended_with(Some(code));
    }

    /// hotrun ends, and nothing is left. No code: by a signal that nothing survives.
    #[track_caller]
    pub(super) fn ended_with(&mut self, code: Option<i32>) {
        let mut run = self.take_run();
        let status = run.ended();
        if let Some(load) = self.load.take() {
            // Who waited is sent away now, and so is who comes.
            let lost = load.stop().failures.len();
            self.figures.lost = lost;
        }
        run.gone();
        assert_eq!(status.code(), code, "{:?}", run.so_far().last());
    }

    /// One is live, everything else is gone, and hotrun has no more open than it had. A slot that the order of its group
    /// keeps from being closed is closed when the next one joins it, and nothing else is on its way then.
    #[track_caller]
    fn is_calm(&mut self) {
        let most = usual_descriptors();
        for _ in 0..3 {
            if self.comes_to_rest(most) {
                return;
            }
            self.run().signal(Signal::SIGUSR1);
            self.run().expect("live");
        }
        self.comes_to_rest(most);
        let open = descriptors(self.run().pid().as_raw());
        panic!("{} are open, usual are {most}: {open:#?}", open.len());
    }

    /// Waits until nothing runs but hotrun, one guardian, and its program, and for the descriptors a little longer.
    #[track_caller]
    fn comes_to_rest(&mut self, most: usize) -> bool {
        let (pid, mark) = (self.run().pid().as_raw(), self.run().mark.clone());
        let began = Instant::now();
        let mut alone_since = None;
        loop {
            let (children, all) = (process_tree::children(pid), leftovers::marked(&mark));
            let alone = children.len() == 1 && all.len() <= 3;
            let since: Instant = *alone_since.get_or_insert_with(Instant::now);
            if !alone {
                alone_since = None;
            } else if descriptors(pid).len() <= most {
                return true;
            } else if since.elapsed() > Duration::from_secs(4) {
                return false;
            }
            assert!(began.elapsed() < PATIENCE, "children {children:?}, {all:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The fault is over: what is left of it?
    #[track_caller]
    pub(super) fn close(&mut self) {
        self.silent = None;
        if self.run.is_some() {
            self.is_calm();
            self.stop_load();
            self.take_run().quit();
        }
        self.project.untouched(&["build", "start"]);
    }
}

/// Asks until somebody serves: who is told to come back does.
pub(super) fn ask_patiently(to: SocketAddr) -> Result<String, http::Failure> {
    loop {
        match http::get(to, "/") {
            Err(failure) if is_unavailable(&failure.to_string()) => {
                thread::sleep(Duration::from_millis(50));
            }
            answer => return answer,
        }
    }
}

fn is_unavailable(failure: &str) -> bool {
    failure.contains(" 503 ")
}

/// What a process has open.
fn descriptors(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// How many descriptors hotrun has when one generation is live, another was before it, and nothing happens.
fn usual_descriptors() -> usize {
    static USUAL: OnceLock<usize> = OnceLock::new();
    *USUAL.get_or_init(|| {
        let mut stage = Stage::new(&[]);
        stage.project.server("one");
        stage.spawn();
        stage.run().live();
        stage.project.server("two");
        stage.run().live();
        stage.run().gone_is(1);
        let pid = stage.run().pid().as_raw();
        let look = |_| {
            thread::sleep(Duration::from_millis(10));
            descriptors(pid).len()
        };
        let least = (0..50).map(look).min();
        stage.take_run().quit();
        least.expect("there were some")
    })
}
