//! `--doctor`: checks what works on this system, and suggests fixes for the rest.
//!
//! Where possible, a check performs the real operation once. No check changes anything. The report fits on a screen of
//! 80 columns and 24 rows even if every check fails.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use console::{Style, truncate_str};
use nix::sys::utsname::uname;
use socket2::{Domain, Socket, Type};

use crate::os::seccomp::{self, Unavailable};
use crate::os::{self, Instruction, fd_limit, fs_event, mounts, process_tree, terminal};

/// The width of the report, in columns.
const WIDTH: usize = 80;
/// If the limit on inotify watches is lower than this, the report contains a note. Linux may set such a limit on a
/// machine with little memory.
const FEW_WATCHES: u64 = 16_384;
/// If the limit on open descriptors is lower than this, the check fails. hotrun uses about 30 descriptors, eight for
/// each draining generation, and two for each forwarded connection.
const FEW_DESCRIPTORS: fd_limit::Limit = 256;
/// Enough descriptors for all connections that hotrun can handle at once.
const ENOUGH_DESCRIPTORS: fd_limit::Limit = 2048;

/// How serious the result of a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The checked feature works.
    Works,
    /// Everything that the README promises works, but something could be better.
    Note,
    /// Something that the README promises does not work.
    Fails,
}

/// The result of a check and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How serious the result is.
    pub severity: Severity,
    /// What was checked, in at most 13 characters.
    pub name: &'static str,
    /// The details, in a few words.
    pub text: String,
    /// What to do. Empty if the check succeeds, or if an earlier check's hint applies.
    pub hint: &'static str,
}

/// Runs all checks for a working directory.
pub fn check(workdir: &Path) -> Vec<Finding> {
    let adopts = seccomp::probe();
    vec![
        kernel(&adopts),
        own_sockets(&adopts),
        socket_access(&adopts),
        switching(),
        draining(),
        processes(),
        changes(workdir),
        open_files(),
        terminal(),
        cargo(workdir),
    ]
}

/// The number of checks that failed.
pub fn failures(findings: &[Finding]) -> usize {
    let fails = |finding: &&Finding| finding.severity == Severity::Fails;
    findings.iter().filter(fails).count()
}

/// Renders the findings, on at most two lines each.
pub fn report(findings: &[Finding], color: bool) -> String {
    let mut text = format!("hotrun {}\n", env!("CARGO_PKG_VERSION"));
    // Writing to a String cannot fail.
    for finding in findings {
        let (label, style) = match finding.severity {
            Severity::Works => ("works", Style::new().green()),
            Severity::Note => ("note ", Style::new().yellow()),
            Severity::Fails => ("fails", Style::new().red().bold()),
        };
        let label = style.force_styling(color).apply_to(label);
        let details = truncate_str(&finding.text, WIDTH - 23, "…");
        let _ = writeln!(text, "  {label}  {:<13} {details}", finding.name);
        if !finding.hint.is_empty() {
            let _ = writeln!(
                text,
                "       -> {}",
                truncate_str(finding.hint, WIDTH - 10, "…")
            );
        }
    }
    text.push_str(match failures(findings) {
        0 => "everything that hotrun needs works\n",
        1.. => "with these failures, reloads may lose connections or not work at all\n",
    });
    text
}

impl Finding {
    fn works(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Works, name, text, "")
    }

    fn note(name: &'static str, text: impl Into<String>, hint: &'static str) -> Self {
        Self::new(Severity::Note, name, text, hint)
    }

    fn fails(name: &'static str, text: impl Into<String>, hint: &'static str) -> Self {
        Self::new(Severity::Fails, name, text, hint)
    }

    fn new(
        severity: Severity,
        name: &'static str,
        text: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        let text = text.into();
        Self {
            severity,
            name,
            text,
            hint,
        }
    }
}

const LISTEN: &str = "let the program use the socket of `--listen ADDRESS`";

fn kernel(adopts: &Result<(), Unavailable>) -> Finding {
    let name = uname().map_or_else(
        |_| "unknown".to_owned(),
        |name| format!("{} {}", name.sysname().display(), name.release().display()),
    );
    match adopts {
        Err(Unavailable::OldKernel(_)) => {
            Finding::fails("kernel", format!("{name} is older than 5.19"), LISTEN)
        }
        _ if !os::STEERING => {
            let text = format!("{name} can't switch between sockets");
            Finding::fails("kernel", text, "use Linux, or a Linux container")
        }
        Ok(()) | Err(_) => Finding::works("kernel", name),
    }
}

/// Whether hotrun can intercept the system calls with which programs open their own sockets.
fn own_sockets(adopts: &Result<(), Unavailable>) -> Finding {
    let (text, hint) = match adopts {
        Ok(()) | Err(Unavailable::Pidfd(_) | Unavailable::Memory(_)) => {
            return Finding::works("own sockets", "managed with a seccomp filter");
        }
        Err(Unavailable::OldKernel(_)) => {
            return Finding::note("own sockets", "hotrun can't manage them on this kernel", "");
        }
        Err(Unavailable::Seccomp(error)) => (
            format!("a seccomp filter is refused: {}", cause(error)),
            LISTEN,
        ),
        Err(Unavailable::Busy) => (
            "a sandbox or another hotrun already intercepts system calls".to_owned(),
            "start hotrun outside it, or use `--listen ADDRESS`",
        ),
        Err(Unavailable::Process(error)) => (
            format!("cannot start a process for this check: {}", cause(error)),
            "check the process limit: `ulimit -u`",
        ),
        Err(Unavailable::Silent) => ("the filter did not report a test call".to_owned(), LISTEN),
        Err(Unavailable::Unsupported) => {
            ("hotrun can't manage them on this system".to_owned(), LISTEN)
        }
    };
    Finding::fails("own sockets", text, hint)
}

/// Whether hotrun can access the sockets that programs open themselves.
fn socket_access(adopts: &Result<(), Unavailable>) -> Finding {
    const NAME: &str = "socket access";
    let (call, error) = match adopts {
        Ok(()) => return Finding::works(NAME, "with `pidfd_getfd` and `process_vm_readv`"),
        Err(Unavailable::Pidfd(error)) => ("pidfd_getfd", error),
        Err(Unavailable::Memory(error)) => ("process_vm_readv", error),
        Err(
            Unavailable::OldKernel(_)
            | Unavailable::Seccomp(_)
            | Unavailable::Busy
            | Unavailable::Process(_)
            | Unavailable::Silent
            | Unavailable::Unsupported,
        ) => return Finding::note(NAME, "not checked", ""),
    };
    let hint = "`--cap-add SYS_PTRACE` in a container; or `kernel.yama.ptrace_scope=1`";
    Finding::fails(NAME, format!("`{call}` is refused: {}", cause(error)), hint)
}

/// An error's text, without its code (`(os error 2)`).
fn cause(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

fn switching() -> Finding {
    match steer() {
        Ok(()) => Finding::works(
            "switching",
            "in the kernel, with a filter on SO_REUSEPORT sockets",
        ),
        Err(error) => Finding::fails(
            "switching",
            format!("the kernel refuses the filter: {}", cause(&error)),
            "use a newer kernel or sandbox; until then, generations share a socket",
        ),
    }
}

/// Opens two sockets on one address, and steers all connections to the first.
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

fn draining() -> Finding {
    match os::tcp_listening(1) {
        Ok(_) => Finding::works(
            "draining",
            "until the last connection closes (seen with sock_diag)",
        ),
        Err(error) => Finding::fails(
            "draining",
            format!("connections are not visible: {}", cause(&error)),
            "load the modules `tcp_diag` and `inet_diag`, or use another sandbox",
        ),
    }
}

fn processes() -> Finding {
    const NAME: &str = "processes";
    let own = std::process::id().cast_signed();
    if !os::SUBREAPER {
        let hint = "run the program in the foreground, not as a daemon";
        return Finding::fails(
            NAME,
            "processes that leave their process group are not tracked",
            hint,
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
        let why = fs_event::reason(&error);
        let text = format!("polled, because inotify is not available: {why}");
        return Finding::note(
            NAME,
            text,
            "`sudo sysctl fs.inotify.max_user_instances=1024`",
        );
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    match limit.ok().and_then(|text| text.trim().parse().ok()) {
        Some(most @ ..FEW_WATCHES) => Finding::note(
            NAME,
            format!("instant (inotify) for {most} directories; the others are polled"),
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        ),
        Some(most) => Finding::works(NAME, format!("instant (inotify), up to {most} directories")),
        None => Finding::works(NAME, "instant"),
    }
}

fn open_files() -> Finding {
    const NAME: &str = "open files";
    const HINT: &str = "raise the limit: `ulimit -n 4096`";
    match fd_limit::allowed() {
        Ok(most @ ..FEW_DESCRIPTORS) => Finding::fails(NAME, format!("{most} allowed"), HINT),
        Ok(most @ ..ENOUGH_DESCRIPTORS) => {
            let text = format!("{most} allowed, too few to handle many connections");
            Finding::note(NAME, text, HINT)
        }
        Ok(most) => Finding::works(NAME, format!("{most} allowed")),
        Err(error) => Finding::note(NAME, format!("unknown limit: {error}"), "check `ulimit -n`"),
    }
}

fn terminal() -> Finding {
    const NAME: &str = "terminal";
    let size = terminal::size();
    let term = std::env::var("TERM").unwrap_or_default();
    if !(io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()) {
        let hint = "for the live screen, start hotrun in a terminal, without a pipe";
        return Finding::note(
            NAME,
            "plain lines, because input or output is not a terminal",
            hint,
        );
    }
    if matches!(term.as_str(), "" | "dumb") || std::env::var("CI").is_ok_and(|ci| !ci.is_empty()) {
        let text = "plain lines, because `CI` is set, or `TERM` is empty or `dumb`";
        return Finding::note(NAME, text, "`--ui live` forces the live screen");
    }
    Finding::works(
        NAME,
        format!(
            "the live screen, {} columns by {} rows",
            size.columns, size.rows
        ),
    )
}

/// Runs `cargo --version`. Keeps rustup from installing the toolchain that the directory requires.
fn cargo(workdir: &Path) -> Finding {
    let mut command = Command::new("cargo");
    command
        .arg("--version")
        .current_dir(workdir)
        .stdin(Stdio::null());
    match command.env("RUSTUP_AUTO_INSTALL", "0").output() {
        Ok(output) if output.status.success() => {
            let version = String::from_utf8_lossy(&output.stdout);
            Finding::works("cargo", version.trim().trim_start_matches("cargo "))
        }
        Ok(_) => Finding::note(
            "cargo",
            "does not work",
            "make sure that `cargo --version` works",
        ),
        Err(_) => {
            let hint = "install it from https://rustup.rs if your program is written in Rust";
            Finding::note("cargo", "not found", hint)
        }
    }
}

#[cfg(test)]
mod tests;
