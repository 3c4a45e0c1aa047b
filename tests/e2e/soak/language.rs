use std::fs;
use std::net::SocketAddr;

use crate::harness::{Project, apps, succeeds};

#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    /// Gets its listener from hotrun, and handles no signals. A new version first gets a share of the connections.
    Rust,
    /// Opens its own socket, and starts a thread for each connection. The old version is kept for a while.
    Python,
    /// Opens its own socket, and runs an event loop.
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

impl Language {
    pub(super) const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Node];

    pub(super) fn is_installed(self) -> bool {
        match self {
            Self::Rust => true,
            Self::Python => succeeds("python3", &["--version"]),
            Self::Node => succeeds("node", &["--version"]),
        }
    }

    /// Writes the program, unless it is a prebuilt one, and returns its command line and the options that hotrun needs.
    pub(super) fn install(self, project: &Project, to: SocketAddr) -> (String, String) {
        let port = to.port().to_string();
        let interpreted = |name: &str, text: &str, command: &str| {
            let file = project.beside(name);
            fs::write(&file, text.replace("PORT", &port)).expect("can write the program");
            (format!("{command} {}", file.display()), String::new())
        };
        match self {
            Self::Rust => {
                let faulty = apps::std().faulty.display().to_string();
                (
                    faulty,
                    format!("--listen {to} --share 50%,100% --share-every 400ms"),
                )
            }
            Self::Python => {
                let (command, _) = interpreted("server.py", PYTHON, "python3");
                (command, "--keep 2s".to_owned())
            }
            Self::Node => interpreted("server.js", NODE, "node"),
        }
    }
}
