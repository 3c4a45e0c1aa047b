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
    /// The details, in a few words.
    pub text: String,
    /// What to do. Empty if the check succeeds, or if an earlier check's hint applies.
    pub hint: &'static str,
}

/// What was checked, in at most 13 characters, and what was found.
pub type Check = (&'static str, Finding);

/// Runs all checks for a working directory.
pub fn check(workdir: &Path) -> Vec<Check> {
    let adopts = seccomp::probe();
    let switching = attempted(
        steer(),
        "in the kernel, with a filter on SO_REUSEPORT sockets",
        "the kernel refuses the filter",
        "use a newer kernel or sandbox; until then, generations share a socket",
    );
    let draining = attempted(
        os::tcp_listening(1).map(drop),
        "until the last connection closes (seen with sock_diag)",
        "connections are not visible",
        "load the modules `tcp_diag` and `inet_diag`, or use another sandbox",
    );
    vec![
        ("kernel", kernel(&adopts)),
        ("own sockets", own_sockets(&adopts)),
        ("switching", switching),
        ("draining", draining),
        ("processes", processes()),
        ("changes", changes(workdir)),
        ("open files", open_files()),
        ("terminal", terminal()),
        ("cargo", cargo(workdir)),
    ]
}

/// The number of checks that failed.
pub fn failures(checks: &[Check]) -> usize {
    let fails = |(_, finding): &&Check| finding.severity == Severity::Fails;
    checks.iter().filter(fails).count()
}

/// Renders the findings, on at most two lines each.
pub fn report(checks: &[Check], color: bool) -> String {
    let mut text = format!("hotrun {}\n", env!("CARGO_PKG_VERSION"));
    // Writing to a String cannot fail.
    for (name, finding) in checks {
        let (label, style) = match finding.severity {
            Severity::Works => ("works", Style::new().green()),
            Severity::Note => ("note ", Style::new().yellow()),
            Severity::Fails => ("fails", Style::new().red().bold()),
        };
        let label = style.force_styling(color).apply_to(label);
        let details = truncate_str(&finding.text, WIDTH - 23, "…");
        let _ = writeln!(text, "  {label}  {name:<13} {details}");
        if !finding.hint.is_empty() {
            let hint = truncate_str(finding.hint, WIDTH - 10, "…");
            let _ = writeln!(text, "       -> {hint}");
        }
    }
    text.push_str(match failures(checks) {
        0 => "everything that hotrun needs works\n",
        1.. => "with these failures, reloads may lose connections or not work at all\n",
    });
    text
}

fn works(text: impl Into<String>) -> Finding {
    found(Severity::Works, text, "")
}

fn note(text: impl Into<String>, hint: &'static str) -> Finding {
    found(Severity::Note, text, hint)
}

fn fails(text: impl Into<String>, hint: &'static str) -> Finding {
    found(Severity::Fails, text, hint)
}

fn found(severity: Severity, text: impl Into<String>, hint: &'static str) -> Finding {
    Finding {
        severity,
        text: text.into(),
        hint,
    }
}

/// The finding for an operation with this result.
fn attempted(result: io::Result<()>, success: &str, failure: &str, hint: &'static str) -> Finding {
    match result {
        Ok(()) => works(success),
        Err(error) => fails(without_code(&format!("{failure}: {error}")), hint),
    }
}

/// The text without the error's code (`(os error 2)`).
fn without_code(text: &str) -> &str {
    text.split(" (os error ").next().unwrap_or(text)
}

const LISTEN: &str = "let the program use the socket of `--listen ADDRESS`";

fn kernel(adopts: &Result<(), Unavailable>) -> Finding {
    let name = uname().map_or_else(
        |_| "unknown".to_owned(),
        |name| format!("{} {}", name.sysname().display(), name.release().display()),
    );
    match adopts {
        Err(Unavailable::OldKernel(_)) => fails(format!("{name} is older than 5.19"), LISTEN),
        _ if !os::STEERING => {
            let text = format!("{name} can't switch between sockets");
            fails(text, "use Linux, or a Linux container")
        }
        Ok(()) | Err(_) => works(name),
    }
}

/// Whether hotrun can adopt the sockets that programs open themselves.
fn own_sockets(adopts: &Result<(), Unavailable>) -> Finding {
    let Err(unavailable) = adopts else {
        return works("managed with seccomp, pidfd_getfd and /proc/PID/mem");
    };
    let hint = match unavailable {
        Unavailable::OldKernel(_) => {
            return note("hotrun can't manage them on this kernel", "");
        }
        Unavailable::Pidfd(_) | Unavailable::Memory(_) => {
            "`--cap-add SYS_PTRACE` in a container; or `kernel.yama.ptrace_scope=1`"
        }
        Unavailable::Busy => "start hotrun outside it, or use `--listen ADDRESS`",
        Unavailable::Process(_) => "check the process limit: `ulimit -u`",
        Unavailable::Seccomp(_) | Unavailable::Silent | Unavailable::Unsupported => LISTEN,
    };
    fails(without_code(&unavailable.to_string()), hint)
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

fn processes() -> Finding {
    let own = std::process::id().cast_signed();
    if !os::SUBREAPER {
        return fails(
            "processes that leave their process group are not tracked",
            "run the program in the foreground, not as a daemon",
        );
    }
    match process_tree::status(own).is_some() {
        true => works("all child processes of the program are tracked"),
        false => fails(
            "`/proc` is not mounted",
            "mount it: `mount -t proc proc /proc`",
        ),
    }
}

fn changes(workdir: &Path) -> Finding {
    if let Some(kind) = mounts::without_events(workdir) {
        let text = format!("polled, because {kind} does not report all changes");
        return note(text, "keep the sources on a local file system");
    }
    if let Err(error) = fs_event::probe(workdir) {
        let why = fs_event::reason(&error);
        let text = format!("polled, because inotify is not available: {why}");
        return note(text, "`sudo sysctl fs.inotify.max_user_instances=1024`");
    }
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    match limit.ok().and_then(|text| text.trim().parse().ok()) {
        Some(most @ ..FEW_WATCHES) => note(
            format!("instant (inotify) for {most} directories; the others are polled"),
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        ),
        Some(most) => works(format!("instant (inotify), up to {most} directories")),
        None => works("instant"),
    }
}

fn open_files() -> Finding {
    const HINT: &str = "raise the limit: `ulimit -n 4096`";
    match fd_limit::allowed() {
        Ok(most @ ..FEW_DESCRIPTORS) => fails(format!("{most} allowed"), HINT),
        Ok(most @ ..ENOUGH_DESCRIPTORS) => {
            let text = format!("{most} allowed, too few to handle many connections");
            note(text, HINT)
        }
        Ok(most) => works(format!("{most} allowed")),
        Err(error) => note(format!("unknown limit: {error}"), "check `ulimit -n`"),
    }
}

fn terminal() -> Finding {
    let size = terminal::size();
    let term = std::env::var("TERM").unwrap_or_default();
    if !(io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()) {
        return note(
            "plain lines, because input or output is not a terminal",
            "for the live screen, start hotrun in a terminal, without a pipe",
        );
    }
    if matches!(term.as_str(), "" | "dumb") || std::env::var("CI").is_ok_and(|ci| !ci.is_empty()) {
        let text = "plain lines, because `CI` is set, or `TERM` is empty or `dumb`";
        return note(text, "`--ui live` forces the live screen");
    }
    let (columns, rows) = (size.columns, size.rows);
    works(format!("the live screen, {columns} columns by {rows} rows"))
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
            works(version.trim().trim_start_matches("cargo "))
        }
        Ok(_) => note("does not work", "make sure that `cargo --version` works"),
        Err(_) => note(
            "not found",
            "install it from https://rustup.rs if your program is written in Rust",
        ),
    }
}

#[cfg(test)]
mod tests;
