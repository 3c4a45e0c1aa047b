//! The kernel, and what it lets us do.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use nix::sys::utsname::uname;
use socket2::{Domain, Socket, Type};

use super::Finding;
use crate::os::seccomp::{self, TestRefusal, Unavailable};
use crate::os::{
    self, Instruction, fd_limit, fs_event, mounts, process_tree, reuseport, sock_diag,
};

/// Fewer are few for a large tree (as many as Linux allows on a machine with little memory).
const FEW_WATCHES: u64 = 16_384;
/// hotrun itself takes some 30, and eight for each generation that drains; a relay two for each connection.
const FEW_DESCRIPTORS: u64 = 256;
/// As many as all that is stored, relayed and answered takes at the most.
const ENOUGH_DESCRIPTORS: u64 = 2048;

pub(super) fn examine(workdir: &Path) -> Vec<Finding> {
    let adopts = seccomp::probe(TestRefusal::from_hook());
    let mut all = vec![kernel(&adopts), seccomp(&adopts), pidfd(&adopts)];
    all.extend([steering(), connections(), processes()]);
    all.extend([changes(workdir), descriptors()]);
    all
}

fn kernel(adopts: &Result<(), Unavailable>) -> Finding {
    let name = uname().map_or_else(
        |_| "unknown".to_owned(),
        |name| format!("{} {}", name.sysname().display(), name.release().display()),
    );
    let listen = "let the program take its socket from `--listen ADDRESS`";
    match adopts {
        Err(Unavailable::OldKernel(_)) => {
            Finding::fails("kernel", format!("{name} is older than 5.19"), listen)
        }
        _ if !os::STEERING => Finding::fails(
            "kernel",
            format!("{name}: sockets can't be switched between"),
            "use Linux, or a container with it",
        ),
        Ok(()) | Err(_) => Finding::works("kernel", name),
    }
}

/// Whether programs are seen that open their sockets by themselves.
fn seccomp(adopts: &Result<(), Unavailable>) -> Finding {
    const NAME: &str = "own sockets";
    let listen = "let the program take its socket from `--listen ADDRESS`";
    let Err(why) = adopts else {
        return Finding::works(NAME, "taken over by a seccomp filter");
    };
    match why {
        Unavailable::OldKernel(_) => Finding::follows(NAME, "not seen by this kernel"),
        Unavailable::Seccomp(error) => Finding::fails(
            NAME,
            format!("a seccomp filter is refused: {}", cause(error)),
            listen,
        ),
        Unavailable::Busy => Finding::fails(
            NAME,
            "a sandbox, or another hotrun, answers system calls",
            "start hotrun outside of it, or use `--listen ADDRESS`",
        ),
        Unavailable::Pidfd(_) | Unavailable::Memory(_) => {
            Finding::works(NAME, "seen by a seccomp filter")
        }
        Unavailable::Process(error) => Finding::fails(
            NAME,
            format!("no process to try it with: {}", cause(error)),
            "see how many processes are allowed: `ulimit -u`",
        ),
        Unavailable::Silent => Finding::fails(NAME, "a system call was not answered", listen),
        Unavailable::Unsupported => Finding::fails(NAME, "not seen on this system", listen),
    }
}

/// Whether they are within reach.
fn pidfd(adopts: &Result<(), Unavailable>) -> Finding {
    const NAME: &str = "their reach";
    let Err(why) = adopts else {
        return Finding::works(NAME, "by `pidfd_getfd` and `process_vm_readv`");
    };
    let remedy = "container: `--cap-add SYS_PTRACE`; else `kernel.yama.ptrace_scope=1`";
    match why {
        Unavailable::Pidfd(error) => Finding::fails(
            NAME,
            format!("`pidfd_getfd` is refused: {}", cause(error)),
            remedy,
        ),
        Unavailable::Memory(error) => {
            let text = format!("`process_vm_readv` is refused: {}", cause(error));
            Finding::fails(NAME, text, remedy)
        }
        Unavailable::OldKernel(_)
        | Unavailable::Seccomp(_)
        | Unavailable::Busy
        | Unavailable::Process(_)
        | Unavailable::Silent
        | Unavailable::Unsupported => Finding::follows(NAME, "not tried"),
    }
}

/// The system's text without its number, which helps nobody.
fn cause(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

fn steering() -> Finding {
    const NAME: &str = "switching";
    match steer() {
        Ok(()) => Finding::works(NAME, "in the kernel, by a filter on reuse-port sockets"),
        Err(error) => Finding::fails(
            NAME,
            format!("the kernel refuses to steer: {}", cause(&error)),
            "a newer kernel or another sandbox; until then generations share a socket",
        ),
    }
}

/// Sends all that comes for two sockets of one address to the first.
fn steer() -> io::Result<()> {
    const RETURN: u16 = 0x06;
    let first = listening(0)?;
    let address = first.local_addr()?.as_socket();
    let _second = listening(address.map_or(0, |address| address.port()))?;
    let program = [Instruction {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    reuseport::steer(&first, &program)
}

fn listening(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(1)?;
    Ok(socket)
}

fn connections() -> Finding {
    const NAME: &str = "draining";
    match sock_diag::tcp_listening(1) {
        Ok(_) => Finding::works(NAME, "ends with its connections, seen by sock_diag"),
        Err(error) => Finding::fails(
            NAME,
            format!("connections are not seen: {}", cause(&error)),
            "load the modules `tcp_diag` and `inet_diag`, or use another sandbox",
        ),
    }
}

fn processes() -> Finding {
    const NAME: &str = "processes";
    let own = std::process::id().cast_signed();
    if !os::SUBREAPER {
        return Finding::fails(
            NAME,
            "what leaves its process group is out of reach",
            "keep the program in the foreground: no daemons",
        );
    }
    match process_tree::status(own).is_some() {
        true => Finding::works(NAME, "all that a program starts is accounted for"),
        false => Finding::fails(
            NAME,
            "`/proc` is not there",
            "mount it: `mount -t proc proc /proc`",
        ),
    }
}

fn changes(workdir: &Path) -> Finding {
    const NAME: &str = "changes";
    if let Some(kind) = mounts::without_events(workdir) {
        let text = format!("{kind} does not tell of all, so they are looked for");
        return Finding::could(NAME, text, "keep the sources on a local file system");
    }
    if let Err(error) = fs_event::probe(workdir) {
        return Finding::could(
            NAME,
            format!(
                "no watch is to be had, so they are looked for: {}",
                fs_event::reason(&error)
            ),
            "`sudo sysctl fs.inotify.max_user_instances=512`",
        );
    }
    match limit("max_user_watches") {
        Some(most @ ..FEW_WATCHES) => Finding::could(
            NAME,
            format!("told at once; of {most} directories, the rest is polled"),
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        ),
        Some(most) => Finding::works(NAME, format!("told at once, of up to {most} directories")),
        None => Finding::works(NAME, "told at once"),
    }
}

fn limit(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
    text.trim().parse().ok()
}

fn descriptors() -> Finding {
    const NAME: &str = "open files";
    const REMEDY: &str = "`ulimit -n 4096` allows more";
    match fd_limit::allowed() {
        Ok(most @ ..FEW_DESCRIPTORS) => Finding::fails(NAME, format!("{most} are allowed"), REMEDY),
        Ok(most @ ..ENOUGH_DESCRIPTORS) => {
            let text = format!("{most} are allowed: few where many clients are stored");
            Finding::could(NAME, text, REMEDY)
        }
        Ok(most) => Finding::works(NAME, format!("{most} are allowed")),
        Err(error) => Finding::could(NAME, format!("unknown: {error}"), "see `ulimit -n`"),
    }
}
