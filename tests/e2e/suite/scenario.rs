use std::fs;
use std::net::TcpStream;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hotrun::os::process_tree;
use nix::sys::signal::Signal;

use super::State;
use crate::harness::request_loop::RequestLoop;
use crate::harness::{Event, Project, Run, Running, TIMEOUT, http, leftovers};

/// An instance of hotrun in some state with its clients, and the checks that follow a fault.
pub(crate) struct Scenario {
    pub(crate) project: Project,
    options: Vec<String>,
    /// Whether hotrun must run as an unprivileged user: root is exempt from resource limits.
    pub(super) unprivileged: bool,
    run: Option<Running>,
    load: Option<RequestLoop>,
    /// The number of requests that this fault may lose.
    allowed: usize,
    /// A client that sent its request while no generation was live.
    waiting: Option<JoinHandle<Result<String, http::Failure>>>,
    /// A connection on which no request has been sent.
    pub(crate) silent: Option<TcpStream>,
    /// Whether no generation is live now.
    held: bool,
    /// Whether there was a time when no generation was live.
    was_held: bool,
    recoveries: usize,
    pub(super) figures: RequestCounts,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RequestCounts {
    pub(super) succeeded: usize,
    pub(super) lost: usize,
}

/// The options that make hotrun restart or roll back after a crash.
pub(super) const RECOVERY: [&str; 2] = ["--rollback-within", "10s"];

/// A script line that waits for the file `gate` next to the watched directory, then runs the file `then` if it exists.
const GATE: &str = "echo at the gate; until [ -e ../gate ]; do sleep 0.02; done; if [ -e ../then ]; then . ../then; fi; ";

impl Scenario {
    pub(crate) fn new(options: &[&str]) -> Self {
        let project = Project::new();
        project.save("build", "exit 0");
        project.server("one");
        let mut options: Vec<_> = options.iter().map(ToString::to_string).collect();
        // Recovery after a crash has its own rows. The other outcomes are easier to check without it.
        if !options.contains(&RECOVERY[0].to_owned()) {
            options.extend(["--rollback-within", "0s"].map(str::to_owned));
        }
        Self {
            project,
            options,
            unprivileged: false,
            run: None,
            load: None,
            allowed: 0,
            waiting: None,
            silent: None,
            held: false,
            was_held: false,
            recoveries: 0,
            figures: RequestCounts::default(),
        }
    }

    /// Creates a scenario, and brings it into this state.
    #[track_caller]
    pub(crate) fn at(state: State) -> Self {
        let mut scenario = Self::new(&[]);
        state.reach(&mut scenario);
        scenario
    }

    /// Kills hotrun, and checks that nothing is left behind.
    #[track_caller]
    pub(crate) fn kill_hotrun(mut self) {
        self.kill_and_expect_exit();
        self.close();
    }

    #[track_caller]
    pub(super) fn kill_and_expect_exit(&mut self) {
        self.stop_load();
        self.run().signal(Signal::SIGKILL);
        self.expect_exit(None);
    }

    /// Saves a build script that waits at the gate before it runs this line.
    pub(super) fn gated_build(&self, line: &str) {
        self.project.save("build", &format!("{GATE}{line}"));
    }

    /// Saves a program that waits at the gate before it runs the faulty server with these arguments.
    pub(super) fn gated_start(&self, arguments: &str) {
        let faulty = crate::harness::apps::std().faulty.display();
        self.project
            .script(&format!("{GATE}exec '{faulty}' {arguments}"));
    }

    /// Opens the gate, and makes the waiting script run this line instead of its own command.
    pub(super) fn proceed_with(&self, line: &str) {
        fs::write(self.project.beside("then"), line).expect("can write `then`");
        self.open_gates();
    }

    /// Opens the gate, and makes the waiting script run the faulty server with these arguments.
    pub(super) fn proceed_with_faulty(&self, arguments: &str) {
        let faulty = crate::harness::apps::std().faulty.display();
        self.proceed_with(&format!("exec '{faulty}' {arguments}"));
    }

    pub(super) fn open_gates(&self) {
        self.save_beside("gate");
    }

    /// Creates an empty file next to the watched directory.
    pub(super) fn save_beside(&self, name: &str) {
        fs::write(self.project.beside(name), "").expect("can create the file");
    }

    pub(super) fn add_options(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(ToString::to_string));
    }

    pub(super) fn spawn(&mut self) {
        // hotrun runs in a session without a terminal, as if its terminal had been closed. The default action of HUP is
        // restored, because the tests may run under `nohup`.
        let run = match self.unprivileged && nix::unistd::geteuid().is_root() {
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

    /// Records that no generation is live.
    pub(super) fn mark_held(&mut self) {
        (self.held, self.was_held) = (true, true);
    }

    /// Starts the faulty server with these arguments as the first generation, and the clients.
    pub(super) fn serve(&mut self, arguments: &str) {
        self.project.faulty(arguments);
        self.spawn();
        assert_eq!(self.run().live(), 1);
        // Several scenarios run at once, so the clients pause to keep the machine from becoming the bottleneck.
        let load = RequestLoop::paced(self.run().address(), Duration::from_millis(10));
        load.more(5);
        self.load = Some(load);
    }

    pub(crate) fn run(&mut self) -> &mut Running {
        self.run.as_mut().expect("hotrun is running")
    }

    /// The pid of this generation's program.
    pub(super) fn program(&mut self, generation: u64) -> i32 {
        let pid = self.run().pid_of(generation);
        i32::try_from(pid).expect("a pid fits into an i32")
    }

    /// The pid of this generation's guardian, which is the parent of its program.
    pub(super) fn guardian(&mut self, generation: u64) -> i32 {
        let program = self.program(generation);
        let status = process_tree::status(program);
        status.expect("the program is running").parent
    }

    /// The pid of the running build's guardian.
    pub(super) fn build_guardian(&mut self) -> i32 {
        let others: Vec<_> = match self.run().count("spawned") {
            0 => Vec::new(),
            _ => vec![self.guardian(1)],
        };
        let hotrun = self.run().pid().as_raw();
        let children = process_tree::children(hotrun);
        let mut builds = children.into_iter().filter(|pid| !others.contains(pid));
        builds.next().expect("a build is running")
    }

    pub(super) fn take_run(&mut self) -> Running {
        self.run.take().expect("hotrun is running")
    }

    /// Waits until the build or start of this generation reaches the gate.
    #[track_caller]
    pub(super) fn wait_for_gate(&mut self, generation: u64) {
        self.run()
            .expect_that("the script to reach the gate", TIMEOUT, |event| {
                event.text("text") == "at the gate" && event.generation() == generation
            });
    }

    /// Allows this many more requests to fail.
    pub(super) fn allow(&mut self, count: usize) {
        self.allowed += count;
    }

    /// Adds a client that waits until a generation can answer its request.
    pub(super) fn add_waiting_client(&mut self) {
        let address = self.run().address();
        self.waiting = Some(thread::spawn(move || http::get_with_retry(address)));
    }

    #[track_caller]
    pub(super) fn expect_event(&mut self, name: &str, generation: u64) -> Event {
        let what = format!("the `{name}` event of generation {generation}");
        self.run().expect_that(&what, TIMEOUT, |event| {
            event.is(name) && event.generation() == generation
        })
    }

    /// Expects a failure for this reason while this generation is live. 0 means that no generation is live.
    #[track_caller]
    pub(super) fn expect_failure(&mut self, reason: &str, live: u64) -> Event {
        let failed = self.run().expect("failed");
        self.was_held |= live == 0;
        let found = (failed.text("reason"), failed.number("live"));
        assert_eq!(found, (reason, live), "{failed}");
        failed
    }

    /// Waits until an event mentions this text, unless one already did.
    #[track_caller]
    pub(super) fn expect_text(&mut self, text: &str) {
        self.run()
            .wait_for_event(text, |event| event.mentions(text));
    }

    /// Saves a good version, waits until it responds, and checks that the waiting client, if any, gets a response.
    #[track_caller]
    pub(super) fn recover(&mut self) {
        self.recoveries += 1;
        let version = format!("fixed-{}", self.recoveries);
        self.open_gates();
        self.project
            .save("build", &format!("exit 0 # {}", self.recoveries));
        self.project.server(&version);
        self.run().wait_for_version(&version);
        self.held = false;
        if let Some(waiting) = self.waiting.take() {
            let answer = waiting.join().expect("the client has not panicked");
            if let Err(failure) = answer {
                let why = format!("the waiting client got no response: {failure}");
                self.run().fail(&why);
            }
        }
    }

    /// Stops the load, and checks that it lost no more requests than allowed. While no generation is live, this does
    /// nothing: the load's requests wait then, so the load is stopped only when hotrun exits.
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
    fn count(&mut self, load: RequestLoop) {
        let outcome = load.stop();
        self.figures.succeeded = outcome.succeeded;
        let mut lost = outcome.failures;
        // A 503 is a correct response while no generation is live.
        lost.retain(|failure| !self.was_held || !http::is_unavailable(failure));
        self.figures.lost = lost.len();
        assert!(lost.len() <= self.allowed, "lost requests: {lost:?}");
    }

    /// Sends this signal to hotrun, and checks the exit code.
    #[track_caller]
    pub(super) fn signal_and_expect_exit(&mut self, signal: Signal, code: i32) {
        self.stop_load();
        self.run().signal(signal);
        self.expect_exit(Some(code));
    }

    /// Waits for hotrun to exit, and checks the exit code and that nothing is left behind. `None` means that a signal
    /// killed hotrun.
    #[track_caller]
    pub(super) fn expect_exit(&mut self, code: Option<i32>) {
        let mut run = self.take_run();
        let status = run.wait_for_exit();
        if let Some(load) = self.load.take() {
            // When hotrun exits, the waiting requests fail, and so do new ones.
            let lost = load.stop().failures.len();
            self.figures.lost = lost;
        }
        run.assert_nothing_left();
        assert_eq!(status.code(), code, "{:?}", run.so_far().last());
    }

    /// Checks that one generation is live, that all other processes are gone, and that hotrun has no more descriptors
    /// open than usual. A listener may have to stay open to preserve the order of its reuseport group until another
    /// listener joins the group, so this reloads up to three times, until no such listener is left.
    #[track_caller]
    fn expect_settled(&mut self) {
        let most = usual_descriptors();
        for _ in 0..3 {
            if self.settles(most) {
                return;
            }
            self.run().signal(Signal::SIGUSR1);
            self.run().expect("live");
        }
        self.settles(most);
        let open = descriptors(self.run().pid().as_raw());
        panic!(
            "{} descriptors are open, expected at most {most}: {open:#?}",
            open.len()
        );
    }

    /// Waits until only hotrun, one guardian and its program are running, then up to 4 s until at most `most`
    /// descriptors are open. Returns `false` if more are still open then.
    #[track_caller]
    fn settles(&mut self, most: usize) -> bool {
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
            assert!(
                began.elapsed() < TIMEOUT,
                "processes are left: children {children:?}, all {all:?}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Checks that the fault left nothing behind.
    #[track_caller]
    pub(super) fn close(&mut self) {
        self.silent = None;
        if self.run.is_some() {
            self.expect_settled();
            self.stop_load();
            self.take_run().quit();
        }
        self.project.assert_untouched(&["build", "start"]);
    }
}

/// A process's open descriptors.
fn descriptors(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"));
    let entries = entries.into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// The number of descriptors that an idle hotrun has open with one live generation, after one reload.
fn usual_descriptors() -> usize {
    static USUAL: OnceLock<usize> = OnceLock::new();
    *USUAL.get_or_init(|| {
        let mut scenario = Scenario::new(&[]);
        scenario.project.server("one");
        scenario.spawn();
        scenario.run().live();
        scenario.project.server("two");
        scenario.run().live();
        scenario.run().wait_until_gone(1);
        let pid = scenario.run().pid().as_raw();
        let measure = |_| {
            thread::sleep(Duration::from_millis(10));
            descriptors(pid).len()
        };
        let least = (0..50).map(measure).min();
        scenario.take_run().quit();
        least.expect("there were fifty measurements")
    })
}
