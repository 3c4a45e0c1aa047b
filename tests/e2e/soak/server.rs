use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::dice::Dice;
use super::load::Load;
use super::terminal::{Terminal, Weight, moment};
use crate::harness::{PATIENCE, Project, apps, can, http, until};

#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    /// Its socket is passed to it, and it handles no signal.
    Rust,
    /// Opens its own socket, with a thread for each connection.
    Python,
    /// The same with an event loop.
    Node,
}

const PYTHON: &str = "
import os, signal, socket, sys, threading, time
words = sys.argv[1:]
if 'hang' in words: time.sleep(1000)
if 'exit=3' in words: sys.exit(3)
value = ''
def read(*_):
    global value
    value = open('config/value').read().strip()
read()
stop = threading.Event()
signal.signal(signal.SIGHUP, read)
signal.signal(signal.SIGTERM, lambda *_: stop.set())
def answer(c):
    with c:
        text = c.recv(4096)
        if text.startswith(b'GET /crash'): os._exit(3)
        body = f'version {words[-1]} value {value}\\n'.encode()
        c.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\nconnection: close\\r\\n\\r\\n%s' % (len(body), body))
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('127.0.0.1', PORT))
s.listen(128)
s.settimeout(0.1)
while not stop.is_set():
    try:
        c, _ = s.accept()
    except TimeoutError:
        continue
    threading.Thread(target=answer, args=(c,)).start()
";

const NODE: &str = "
const http = require('http'), fs = require('fs'), words = process.argv.slice(2);
if (words.includes('exit=3')) process.exit(3);
if (words.includes('hang')) setInterval(() => {}, 1e6);
else {
  let value = '';
  const read = () => { value = fs.readFileSync('config/value', 'utf8').trim(); };
  read();
  process.on('SIGHUP', read);
  const server = http.createServer((request, response) => {
    if (request.url === '/crash') process.exit(3);
    response.setHeader('connection', 'close');
    response.end(`version ${words.at(-1)} value ${value}\\n`);
  });
  server.listen(PORT, '127.0.0.1');
  process.on('SIGTERM', () => server.close(() => process.exit(0)));
}
";

/// Makes a program of its own of each version, so that there is something to go back to.
const BUILD: &str = "set -e
what=$(cat src/main)
case $what in broken*) echo 'error: it does not build' >&2; exit 1;; esac
mkdir -p out
printf '#!/bin/sh\\nexec %s %s\\n' \"$1\" \"$what\" >out/new
chmod +x out/new
mv out/new out/server
";

impl Language {
    pub(super) const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Node];

    pub(super) fn is_there(self) -> bool {
        match self {
            Self::Rust => true,
            Self::Python => can("python3", &["--version"]),
            Self::Node => can("node", &["--version"]),
        }
    }

    /// Writes the program, and says how it is called and what hotrun is told of it.
    fn install(self, project: &Project, to: SocketAddr) -> (String, String) {
        let port = to.port().to_string();
        let interpreted = |name: &str, text: &str, command: &str| {
            let file = project.beside(name);
            fs::write(&file, text.replace("PORT", &port)).expect("the folder is ours");
            (format!("{command} {}", file.display()), String::new())
        };
        match self {
            Self::Rust => {
                let faulty = apps::std().faulty.display().to_string();
                (faulty, format!("--listen {to}"))
            }
            Self::Python => interpreted("server.py", PYTHON, "python3"),
            Self::Node => interpreted("server.js", NODE, "node"),
        }
    }
}

/// After a save, for what it has stirred up.
const PAUSE: Duration = Duration::from_millis(150);
/// For relays that are at their end.
const IDLE: Duration = Duration::from_secs(3);

/// What was seen, in the end.
pub(super) struct Figures {
    pub(super) deeds: usize,
    pub(super) answered: usize,
    pub(super) excused: usize,
    pub(super) slowest: Duration,
}

/// A server behind hotrun, under load.
pub(super) struct Served {
    language: Language,
    /// Its end comes before that of the folder.
    terminal: Terminal,
    project: Project,
    load: Load,
    address: SocketAddr,
    /// How many versions there were.
    versions: usize,
    values: usize,
    /// How often it has crashed since the last save.
    crashes: usize,
    deeds: usize,
}

impl Served {
    pub(super) fn start(language: Language) -> Self {
        let project = Project::new();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a port is free");
        let (command, options) = language.install(&project, address);
        fs::create_dir(project.work().join("src")).expect("the folder is ours");
        fs::create_dir(project.work().join("config")).expect("the folder is ours");
        fs::write(project.beside("build"), BUILD).expect("the folder is ours");
        project.save("src/main", "v0\n");
        project.save("config/value", "0\n");
        let arguments = format!(
            "--watch src --build \"sh ../build '{command}'\" --on 'config/*=signal:HUP' --ready-timeout 8s \
             --stop-timeout 2s --no-error-page {options} -- ./out/server"
        );
        let terminal = Terminal::start(&project, &arguments);
        until("the first version", PATIENCE, || {
            http::get(address, "/").ok()
        });
        Self {
            language,
            project,
            terminal,
            load: Load::start(address),
            address,
            versions: 0,
            values: 0,
            crashes: 0,
            deeds: 0,
        }
    }

    fn save(&mut self, what: &str) -> String {
        self.deeds += 1;
        self.crashes = 0;
        self.versions += 1;
        let version = format!("v{}", self.versions);
        self.project.save("src/main", &format!("{what}{version}\n"));
        version
    }

    /// Somebody answers, and what he says contains this.
    #[track_caller]
    fn answers(&self, wanted: &str) {
        until(&format!("{:?}: {wanted}", self.language), PATIENCE, || {
            let body = http::get(self.address, "/").ok()?;
            body.split_terminator(['\n'])
                .any(|line| format!("{line} ").contains(wanted))
                .then_some(())
        });
    }

    pub(super) fn saves(&mut self) {
        let version = self.save("");
        self.answers(&format!("version {version} "));
    }

    pub(super) fn saves_in_a_burst(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(8) {
            self.save("");
            std::thread::sleep(Duration::from_millis(10 * dice.below(20) as u64));
        }
        self.saves();
    }

    pub(super) fn breaks_the_build(&mut self) {
        self.save("broken ");
        moment();
        self.answers("version ");
    }

    /// Nobody is there, for a while; it comes back by itself, or on a save.
    pub(super) fn crashes(&mut self) {
        // Where nobody else serves it answers before hotrun has seen that it is ready, and what ends before that is
        // not started again.
        moment();
        self.deeds += 1;
        self.crashes += 1;
        let _ = http::get(self.address, "/crash");
        self.load.crashed();
        if self.crashes > 2 || !self.comes_back() {
            self.saves();
        }
    }

    /// Whether somebody answers soon. On a machine that is busy it may have crashed before it was seen to be ready.
    fn comes_back(&self) -> bool {
        let soon = Instant::now() + Duration::from_secs(10);
        while Instant::now() < soon {
            if http::get_within(self.address, "/", Duration::from_secs(1)).is_ok() {
                return true;
            }
        }
        false
    }

    pub(super) fn saves_what_crashes_at_once(&mut self) {
        self.saves();
        self.crashes();
    }

    /// Or what ends before it is ready, which comes to the same.
    pub(super) fn saves_what_hangs(&mut self) {
        let what = if self.versions.is_multiple_of(2) {
            "hang "
        } else {
            "exit=3 "
        };
        self.save(what);
        moment();
        self.answers("version ");
    }

    pub(super) fn configures(&mut self, dice: &mut Dice) {
        self.deeds += 1;
        self.values += 1 + dice.below(3);
        let value = self.values;
        self.project.save("config/value", &format!("{value}\n"));
        match self.language {
            // It is restarted.
            Language::Rust => self.answers("version "),
            Language::Python | Language::Node => self.answers(&format!("value {value} ")),
        }
    }

    pub(super) fn goes_back(&mut self) {
        self.deeds += 1;
        self.terminal.press("u");
        moment();
        self.answers("version ");
    }

    pub(super) fn pauses(&mut self) {
        self.terminal.press("p");
        moment();
        let version = self.save("");
        moment();
        let body = http::get(self.address, "/").expect("an answer");
        assert!(!body.contains(&version), "it is paused: {body}");
        self.terminal.press("p");
        self.answers(&format!("version {version} "));
    }

    pub(super) fn reloads(&mut self) {
        self.deeds += 1;
        self.terminal.press("r");
        moment();
        self.answers("version ");
    }

    /// What hotrun is like with one generation that nobody asks.
    pub(super) fn weighs(&mut self) -> Weight {
        let mut least: Option<Weight> = None;
        for rest in [PAUSE, PAUSE, PAUSE, IDLE] {
            self.saves();
            self.load.rests(true);
            self.terminal.is_calm();
            std::thread::sleep(rest);
            let weight = self.terminal.weight();
            self.load.rests(false);
            least = Some(least.map_or(weight, |least| least.least(weight)));
        }
        least.expect("there were four")
    }

    pub(super) fn end(self) -> Figures {
        let (asked, excused) = self.load.end();
        self.terminal.quit();
        crate::harness::leftovers::empty(&self.project.tmp());
        Figures {
            deeds: self.deeds,
            answered: asked.answered,
            excused,
            slowest: asked.slowest,
        }
    }
}
