//! Checks of the kernel and its limits.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use nix::sys::utsname::uname;
use socket2::{Domain, Socket, Type};

use super::Finding;
use crate::os::seccomp::{self, Unavailable};
use crate::os::{self, Instruction, fd_limit, fs_event, mounts, process_tree};

/// A lower limit of inotify watches gets a note. Linux may set it on a machine with little memory.
const FEW_WATCHES: u64 = 16_384;
/// hotrun uses about 30 descriptors, eight for each draining generation, and two for each forwarded connection.
const FEW_DESCRIPTORS: u64 = 256;
/// Enough for all connections that hotrun can store, forward and respond to at once.
const ENOUGH_DESCRIPTORS: u64 = 2048;

pub(super) fn check(workdir: &Path) -> Vec<Finding> {
    let adopts = seccomp::probe();
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
    let listen = "let the program use the socket of `--listen ADDRESS`";
    match adopts {
        Err(Unavailable::OldKernel(_)) => {
            Finding::fails("kernel", format!("{name} is older than 5.19"), listen)
        }
        _ if !os::STEERING => Finding::fails(
            "kernel",
            format!("{name} can't switch between sockets"),
            "use Linux, or a Linux container",
        ),
        Ok(()) | Err(_) => Finding::works("kernel", name),
    }
}

/// Whether hotrun can manage the sockets that programs open themselves.
fn seccomp(adopts: &Result<(), Unavailable>) -> Finding {
    const NAME: &str = "own sockets";
    let listen = "let the program use the socket of `--listen ADDRESS`";
    let Err(why) = adopts else {
        return Finding::works(NAME, "managed with a seccomp filter");
    };
    match why {
        Unavailable::OldKernel(_) => Finding::dependent(NAME, "this kernel can't manage them"),
        Unavailable::Seccomp(error) => Finding::fails(
            NAME,
            format!("a seccomp filter is refused: {}", cause(error)),
            listen,
        ),
        Unavailable::Busy => Finding::fails(
            NAME,
            "a sandbox or another hotrun already handles system calls",
            "start hotrun outside of it, or use `--listen ADDRESS`",
        ),
        Unavailable::Pidfd(_) | Unavailable::Memory(_) => {
            Finding::works(NAME, "seen with a seccomp filter")
        }
        Unavailable::Process(error) => Finding::fails(
            NAME,
            format!("cannot start a process to try it: {}", cause(error)),
            "check the limit of processes: `ulimit -u`",
        ),
        Unavailable::Silent => {
            Finding::fails(NAME, "the filter did not report a system call", listen)
        }
        Unavailable::Unsupported => Finding::fails(NAME, "this system can't manage them", listen),
    }
}

/// Whether hotrun can access those sockets.
fn pidfd(adopts: &Result<(), Unavailable>) -> Finding {
    const NAME: &str = "their access";
    let Err(why) = adopts else {
        return Finding::works(NAME, "with `pidfd_getfd` and `process_vm_readv`");
    };
    let hint = "`--cap-add SYS_PTRACE` in a container; or `kernel.yama.ptrace_scope=1`";
    match why {
        Unavailable::Pidfd(error) => Finding::fails(
            NAME,
            format!("`pidfd_getfd` is refused: {}", cause(error)),
            hint,
        ),
        Unavailable::Memory(error) => {
            let text = format!("`process_vm_readv` is refused: {}", cause(error));
            Finding::fails(NAME, text, hint)
        }
        Unavailable::OldKernel(_)
        | Unavailable::Seccomp(_)
        | Unavailable::Busy
        | Unavailable::Process(_)
        | Unavailable::Silent
        | Unavailable::Unsupported => Finding::dependent(NAME, "not checked"),
    }
}

/// The text of an error without its code, as in `(os error 2)`.
fn cause(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

fn steering() -> Finding {
    const NAME: &str = "switching";
    match steer() {
        Ok(()) => Finding::works(NAME, "in the kernel, with a filter on SO_REUSEPORT sockets"),
        Err(error) => Finding::fails(
            NAME,
            format!("the kernel refuses the filter: {}", cause(&error)),
            "use a newer kernel or another sandbox; generations share a socket",
        ),
    }
}

/// Sends all connections for two sockets of one address to the first.
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
    os::steer(&first, &program)
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
    match os::tcp_listening(1) {
        Ok(_) => Finding::works(NAME, "ends with its connections, seen with sock_diag"),
        Err(error) => Finding::fails(
            NAME,
            format!("connections are not visible: {}", cause(&error)),
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
            "processes that leave their group are not tracked",
            "run the program in the foreground, not as a daemon",
        );
    }
    match process_tree::status(own).is_some() {
        true => Finding::works(NAME, "all child processes of the program are tracked"),
        false => Finding::fails(
            NAME,
            "`/proc` is not mounted",
            "mount it: `mount -t proc proc /proc`",
        ),
    }
}

fn changes(workdir: &Path) -> Finding {
    const NAME: &str = "changes";
    if let Some(kind) = mounts::without_events(workdir) {
        let text = format!("polled, because {kind} does not report all changes");
        return Finding::note(NAME, text, "keep the sources on a local file system");
    }
    if let Err(error) = fs_event::probe(workdir) {
        return Finding::note(
            NAME,
            format!(
                "polled, because inotify is not available: {}",
                fs_event::reason(&error)
            ),
            "`sudo sysctl fs.inotify.max_user_instances=512`",
        );
    }
    match limit("max_user_watches") {
        Some(most @ ..FEW_WATCHES) => Finding::note(
            NAME,
            format!("instant (inotify) for {most} directories, the rest is polled"),
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        ),
        Some(most) => Finding::works(NAME, format!("instant (inotify), up to {most} directories")),
        None => Finding::works(NAME, "instant"),
    }
}

fn limit(name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
    text.trim().parse().ok()
}

fn descriptors() -> Finding {
    const NAME: &str = "open files";
    const HINT: &str = "raise the limit: `ulimit -n 4096`";
    match fd_limit::allowed() {
        Ok(most @ ..FEW_DESCRIPTORS) => Finding::fails(NAME, format!("{most} allowed"), HINT),
        Ok(most @ ..ENOUGH_DESCRIPTORS) => {
            let text = format!("{most} allowed, too few to store many connections");
            Finding::note(NAME, text, HINT)
        }
        Ok(most) => Finding::works(NAME, format!("{most} allowed")),
        Err(error) => Finding::note(NAME, format!("unknown limit: {error}"), "check `ulimit -n`"),
    }
}
