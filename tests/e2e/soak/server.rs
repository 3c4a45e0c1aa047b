use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::language::Language;
use super::load::{Lost, TimedLoad};
use super::random::Random;
use super::terminal::{LOG, Terminal, Usage, short_pause};
use crate::harness::sockets::free_address;
use crate::harness::{Project, TIMEOUT, http, until};

/// The build script. It writes a separate program for each version, so that hotrun can roll back.
const BUILD: &str = "set -e
what=$(cat src/main)
case $what in broken*) echo 'error: broken build' >&2; exit 1;; esac
mkdir -p out
printf '#!/bin/sh\\nexec %s %s\\n' \"$1\" \"$what\" >out/new
chmod +x out/new
mv out/new out/server
";

/// Commands beside the program. A line in the file `changes` restarts it, and while the file `sick` exists, it fails its
/// check.
const COMMANDS: &str = "--source 'cfg=exec tail -n 0 -F ../changes' --hook 'live=echo x >>../lives' --hook drain=true \
                        --alive 'exec:test ! -e ../sick,every=500ms,timeout=5s,failures=2'";

/// How long the load is paused before a measurement.
const PAUSE: Duration = Duration::from_millis(150);
/// Like [`PAUSE`], but long enough for forwarded connections to be closed, too.
const IDLE: Duration = Duration::from_secs(3);

/// Longer than a change of a source may be the program's own.
const OWN: Duration = Duration::from_millis(1200);

/// The results of the soak test of one server.
pub(super) struct SoakResults {
    pub(super) actions: usize,
    pub(super) succeeded: usize,
    pub(super) lost_in_crash: usize,
    pub(super) slowest: Duration,
}

/// hotrun's log. If the test fails, the end of the log is printed.
struct Log {
    language: Language,
    path: PathBuf,
}

/// A server behind hotrun, under load.
pub(super) struct SoakServer {
    language: Language,
    /// Declared before `project`, so that hotrun exits before the directory is removed.
    terminal: Terminal,
    log: Log,
    project: Project,
    /// When hotrun started. The times in its log are relative to this.
    began: Instant,
    load: TimedLoad,
    address: SocketAddr,
    /// The number of saved versions.
    versions: usize,
    values: usize,
    /// The number of crashes since the last save.
    crashes: usize,
    actions: usize,
}

impl SoakServer {
    pub(super) fn start(language: Language) -> Self {
        let project = Project::new();
        let address = free_address();
        let (command, options) = language.install(&project, address);
        fs::create_dir(project.work().join("src")).expect("can create `src`");
        fs::create_dir(project.work().join("config")).expect("can create `config`");
        fs::write(project.beside("build"), BUILD).expect("can write the build script");
        project.save("src/main", "v0\n");
        project.save("config/value", "0\n");
        for file in ["changes", "lives"] {
            fs::write(project.beside(file), "").expect("can create the file");
        }
        let arguments = format!(
            "--watch src --build \"sh ../build '{command}'\" --on 'config/*=signal:HUP' --ready-timeout 8s \
             --stop-timeout 2s --no-error-page {options} {COMMANDS} -- ./out/server"
        );
        let began = Instant::now();
        let terminal = Terminal::start(&project, &arguments);
        until("the first version responds", TIMEOUT, || {
            http::get(address, "/").ok()
        });
        Self {
            language,
            log: Log {
                language,
                path: project.beside(LOG),
            },
            project,
            terminal,
            began,
            load: TimedLoad::start(address),
            address,
            versions: 0,
            values: 0,
            crashes: 0,
            actions: 0,
        }
    }

    /// Saves the next version with these faults, and returns its name.
    fn save(&mut self, what: &str) -> String {
        self.actions += 1;
        self.crashes = 0;
        self.versions += 1;
        let version = format!("v{}", self.versions);
        self.project.save("src/main", &format!("{what}{version}\n"));
        version
    }

    /// Waits for a response that contains this text.
    #[track_caller]
    fn wait_for_response(&self, wanted: &str) {
        until(
            &format!("the {:?} server responds with `{wanted}`", self.language),
            TIMEOUT,
            || {
                let body = http::get(self.address, "/").ok()?;
                body.split_terminator(['\n'])
                    .any(|line| format!("{line} ").contains(wanted))
                    .then_some(())
            },
        );
    }

    pub(super) fn save_and_wait(&mut self) {
        let version = self.save("");
        self.wait_for_response(&format!("version {version} "));
    }

    pub(super) fn save_in_a_burst(&mut self, random: &mut Random) {
        for _ in 0..random.below(8) {
            self.save("");
            std::thread::sleep(Duration::from_millis(10 * random.below(20) as u64));
        }
        self.save_and_wait();
    }

    pub(super) fn break_the_build(&mut self) {
        self.save("broken ");
        short_pause();
        self.wait_for_response("version ");
    }

    /// Crashes the program, which is restarted automatically or after a save.
    pub(super) fn crash(&mut self) {
        // The program may respond before hotrun has noticed that it is ready, and a program that exits before it is
        // ready is not restarted.
        short_pause();
        self.actions += 1;
        self.crashes += 1;
        let _ = http::get(self.address, "/crash");
        self.load.record_crash();
        if self.crashes > 2 || !self.responds_soon() {
            self.save_and_wait();
        }
    }

    /// Whether the program responds within 10 s. On a busy machine it may have crashed before hotrun noticed that it
    /// was ready.
    fn responds_soon(&self) -> bool {
        let soon = Instant::now() + Duration::from_secs(10);
        while Instant::now() < soon {
            if http::get_within(self.address, "/", Duration::from_secs(1)).is_ok() {
                return true;
            }
        }
        false
    }

    pub(super) fn save_a_version_that_crashes(&mut self) {
        self.save_and_wait();
        self.crash();
    }

    /// Saves a version that, depending on its number, hangs or exits before it is ready.
    pub(super) fn save_a_version_that_never_becomes_ready(&mut self) {
        let what = ["hang ", "exit=3 "][usize::from(!self.versions.is_multiple_of(2))];
        short_pause(); // As in `crash`: the last version may not be live yet.
        self.save(what);
        short_pause();
        self.wait_for_response("version ");
    }

    pub(super) fn change_the_configuration(&mut self, random: &mut Random) {
        self.actions += 1;
        self.values += 1 + random.below(3);
        let value = self.values;
        self.project.save("config/value", &format!("{value}\n"));
        match self.language {
            // This server does not handle the rule's signal, so hotrun restarts it.
            Language::Rust => self.wait_for_response("version "),
            Language::Python | Language::Node => self.wait_for_response(&format!("value {value} ")),
        }
    }

    pub(super) fn roll_back(&mut self) {
        self.actions += 1;
        self.terminal.press("u");
        short_pause();
        self.wait_for_response("version ");
    }

    pub(super) fn save_while_paused(&mut self) {
        self.wait_until_idle();
        self.terminal.press("p");
        short_pause();
        // A build that began before the pause may still read the file. During a pause, a share grows only by a key.
        self.terminal.press("s");
        self.wait_until_idle();
        let version = self.save("");
        short_pause();
        let body = http::get(self.address, "/").expect("a response");
        assert!(
            !body.contains(&version),
            "a save took effect during a pause: {body}"
        );
        self.terminal.press("p");
        self.wait_for_response(&format!("version {version} "));
    }

    pub(super) fn reload(&mut self) {
        self.actions += 1;
        self.terminal.press("r");
        short_pause();
        self.wait_for_response("version ");
    }

    /// Saves a version, and changes the share that it may have, or undoes it.
    pub(super) fn change_a_share(&mut self, random: &mut Random) {
        self.save("");
        for _ in 0..3 {
            short_pause();
            self.terminal.press(random.pick(&["+", "-", "s", "u"]));
        }
        self.wait_for_response("version ");
    }

    /// Goes back to the version that may be kept, or frees it.
    pub(super) fn end_a_keep(&mut self, random: &mut Random) {
        self.save_and_wait();
        // Without `--keep`, this key kills the old version while it is handling requests.
        let keys: &[_] = match self.language {
            Language::Python => &["u", "k"],
            Language::Rust | Language::Node => &["u"],
        };
        self.terminal.press(random.pick(keys));
        short_pause();
        self.wait_for_response("version ");
    }

    pub(super) fn change_the_source(&mut self) {
        self.save_and_wait();
        self.wait_until_idle();
        // A change that follows each switch sooner looks as if the program had made it.
        std::thread::sleep(OWN);
        let goes_live = self.next_live();
        let changes = self.project.beside("changes");
        let changes = OpenOptions::new().append(true).open(changes);
        let mut changes = changes.expect("the file exists");
        changes.write_all(b"x\n").expect("can write the file");
        goes_live();
    }

    /// Makes the program fail its liveness check until it is replaced.
    pub(super) fn become_sick(&mut self) {
        self.save_and_wait();
        self.wait_until_idle();
        let goes_live = self.next_live();
        let sick = self.project.beside("sick");
        fs::write(&sick, "").expect("can write the file");
        goes_live();
        fs::remove_file(sick).expect("can remove the file");
        // It may have been replaced twice, and counts as crashed as often.
        self.crashes = 2;
        self.wait_for_response("version ");
    }

    /// A function that waits until the hook of another live generation has run.
    fn next_live(&self) -> impl Fn() + use<> {
        let lives = self.project.beside("lives");
        let count = move || fs::read(&lives).expect("the file exists").len();
        let before = count();
        move || {
            until("a generation is live", TIMEOUT, || {
                (count() > before).then_some(())
            });
        }
    }

    /// Waits until only one generation is running, beside the source.
    fn wait_until_idle(&self) {
        self.terminal.wait_until_idle(2);
    }

    /// Measures hotrun's resource usage while one generation is running and no requests are sent.
    pub(super) fn measure(&mut self) -> Usage {
        let mut least: Option<Usage> = None;
        for rest in [PAUSE, PAUSE, PAUSE, IDLE] {
            self.save_and_wait();
            self.load.set_paused(true);
            self.wait_until_idle();
            std::thread::sleep(rest);
            let usage = self.terminal.usage();
            self.load.set_paused(false);
            least = Some(least.map_or(usage, |least| least.least(usage)));
        }
        least.expect("there were four measurements")
    }

    #[track_caller]
    pub(super) fn end(self) -> SoakResults {
        let (counts, lost_in_crash, lost) = self.load.end();
        self.terminal.quit();
        let log = self.log.read();
        let lost: Vec<_> = lost
            .iter()
            .map(|lost| describe(lost, self.began, &log))
            .collect();
        assert!(
            lost.is_empty(),
            "{} requests succeeded, lost: {}",
            counts.succeeded,
            lost.join("\n")
        );
        crate::harness::leftovers::empty(&self.project.tmp());
        SoakResults {
            actions: self.actions,
            succeeded: counts.succeeded,
            lost_in_crash,
            slowest: counts.slowest,
        }
    }
}

impl Log {
    fn read(&self) -> String {
        fs::read_to_string(&self.path).expect("hotrun has written its log")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.read();
            let lines: Vec<_> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(100)..];
            let _ = writeln!(
                std::io::stderr(),
                "{:?}: hotrun's log ends with\n{}",
                self.language,
                end.join("\n")
            );
        }
    }
}

/// Describes a lost request, and what hotrun logged at the time.
fn describe(lost: &Lost, start: Instant, log: &str) -> String {
    let (began, ended) = (
        lost.began.duration_since(start),
        lost.ended.duration_since(start),
    );
    let around = |line: &&str| {
        let millis = line.trim_start_matches(['#', ' ']).split(' ').next();
        let millis = millis
            .and_then(|millis| millis.parse::<f64>().ok())
            .unwrap_or(-1.0);
        millis > began.as_secs_f64().mul_add(1e3, -1e3)
            && millis < ended.as_secs_f64().mul_add(1e3, 1e3)
    };
    let lines: Vec<_> = log.lines().filter(around).collect();
    format!(
        "{} between {began:.1?} and {ended:.1?}:\n{}",
        lost.error,
        lines.join("\n")
    )
}
