//! A program that stores a sealed memfd, so that the next generation maps the same memory.

use std::fs;

use super::{python_or_skip, run, script};
use crate::harness::{Project, say};

/// Loads 64 MB, unless an earlier generation has stored them, and responds with their checksum and whether they were
/// loaded. Every page is read.
const MODEL: &str = r#"
import fcntl, hashlib, mmap
SIZE = 64 << 20
names = os.environ.get("LISTEN_FDNAMES", "").split(":")
loaded = "weights" not in names
if loaded:
    fd = os.memfd_create("weights", os.MFD_ALLOW_SEALING)
    block = os.urandom(1 << 20)
    for _ in range(SIZE >> 20):
        os.write(fd, block)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    socket.send_fds(manager, [b"FDSTORE=1\nFDNAME=weights"], [fd])
else:
    fd = 3 + names.index("weights")
weights = mmap.mmap(fd, SIZE, prot=mmap.PROT_READ)
digest = hashlib.sha256(weights).hexdigest()
class Model(Answer):
    def do_GET(self):
        body = f"{loaded} {digest}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
notify("READY=1")
server = server()
server.RequestHandlerClass = Model
server.serve_forever()"#;

/// The program's share of the memory of its memfds, in MB (`Pss_Shmem`, `proc_pid_smaps(5)`).
fn share(pid: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let text = text.expect("the program is running");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss_Shmem:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("`Pss_Shmem` is a size in KiB")
        >> 10
}

#[test]
#[ignore = "needs python3"]
fn generations_run_side_by_side_and_share_the_memory_of_a_sealed_memfd() {
    if !python_or_skip() {
        return;
    }
    let project = Project::new();
    let options = ["--keep", "60s", "--ready", "notify"];
    let mut run = run(&project, MODEL).args(options).spawn();
    assert_eq!(run.live(), 1);
    let first = run.get("/");
    let pid = run.pid_of(1);
    let alone = share(pid);
    project.save("app.py", &script(&format!("{MODEL} # two")));
    assert_eq!(run.live(), 2);
    assert_eq!(first.replace("True", "False"), run.get("/"));
    let both = [pid, run.pid_of(2)].map(share);
    say(&format!(
        "sealed memfd of 64 MB: {alone} MB in one generation, {both:?} MB in two at the same time"
    ));
    assert!(alone >= 63, "{alone}");
    assert!(both.iter().all(|share| *share <= 33), "{both:?}");
    run.assert_count("kept", 1);
    run.assert_count("stored_descriptors", 0);
    run.quit();
}
