//! Performs system calls in a thread of another process (`ptrace(2)`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

use super::seccomp::read_memory;

/// How long to wait until a thread sleeps.
const AWAKE: Duration = Duration::from_millis(500);
/// How long a thread may take to stop.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(50);

/// The registers of a thread, as `NT_PRSTATUS` describes them: `struct user_regs_struct` in the kernel's `asm/user_64.h`
/// on x86-64, `struct user_pt_regs` in `asm/ptrace.h` on aarch64.
#[cfg(target_arch = "x86_64")]
mod registers {
    pub(super) const COUNT: usize = 27;
    pub(super) const ARGUMENTS: [usize; 6] = [14, 13, 12, 7, 9, 8];
    pub(super) const NUMBER: usize = 10;
    pub(super) const RESULT: usize = 10;
    /// The call that the kernel restarts after a signal (`orig_rax`).
    pub(super) const RESTARTS: Option<usize> = Some(15);
    pub(super) const NEXT_INSTRUCTION: usize = 16;
    /// `syscall`
    pub(super) const INSTRUCTION: &[u8] = &[0x0f, 0x05];
    pub(super) const RESTARTED_BY_NUMBER: &[libc::c_long] = &[];
}
#[cfg(not(target_arch = "x86_64"))]
mod registers {
    pub(super) const COUNT: usize = 34;
    pub(super) const ARGUMENTS: [usize; 6] = [0, 1, 2, 3, 4, 5];
    pub(super) const NUMBER: usize = 8;
    pub(super) const RESULT: usize = 0;
    pub(super) const RESTARTS: Option<usize> = None;
    pub(super) const NEXT_INSTRUCTION: usize = 32;
    /// `svc #0`
    pub(super) const INSTRUCTION: &[u8] = &[0x01, 0x00, 0x00, 0xd4];
    /// If the thread was stopped in one of these calls, the kernel replaces the number of the next one by
    /// `restart_syscall` (`do_signal` in `arch/arm64/kernel/signal.c`).
    pub(super) const RESTARTED_BY_NUMBER: &[libc::c_long] = &[
        libc::SYS_clock_nanosleep,
        libc::SYS_futex,
        libc::SYS_nanosleep,
        libc::SYS_ppoll,
        libc::SYS_restart_syscall,
    ];
}
use registers::{
    ARGUMENTS, COUNT, INSTRUCTION, NEXT_INSTRUCTION, NUMBER, RESTARTED_BY_NUMBER, RESTARTS, RESULT,
};

type Registers = [u64; COUNT];

/// A thread that is stopped in a system call. Its call goes on, or fails with `EINTR`, after [`StoppedThread::resume`].
pub(super) struct StoppedThread {
    process: i32,
    thread: Pid,
    registers: Registers,
    /// The address of an instruction that performs a system call.
    instruction: u64,
    /// Signals that arrived in the meantime.
    signals: Vec<i32>,
}

impl StoppedThread {
    /// Stops a thread that sleeps in a system call. Call this on a thread that then ends: if anything fails, the kernel lets
    /// the stopped thread go on.
    ///
    /// # Errors
    /// `EPERM` without the right to trace the process, or if a debugger traces it. `ENOTSUP` if no thread sleeps in a
    /// system call, or the program is for another architecture.
    pub(super) fn of(process: i32) -> io::Result<Self> {
        let thread = sleeping_thread(process)?;
        ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD)?;
        let mut stopped = Self {
            process,
            thread,
            registers: [0; COUNT],
            instruction: 0,
            signals: Vec::new(),
        };
        ptrace::interrupt(thread)?;
        if stopped.await_interruption()? == Stop::Group {
            return Err(Errno::ENOTSUP.into());
        }
        stopped.registers = stopped.read_registers()?;
        let next = stopped.registers[NEXT_INSTRUCTION];
        // If the kernel will restart the call, the next instruction may be the system call itself.
        let length = INSTRUCTION.len();
        let candidates = [next.wrapping_sub(length as u64), next];
        let calls = |at: &u64| read_memory(process, *at, length).is_ok_and(|is| is == INSTRUCTION);
        let found = candidates.into_iter().find(calls);
        stopped.instruction = found.ok_or(Errno::ENOTSUP)?;
        Ok(stopped)
    }

    /// Performs a system call with these arguments, and the rest 0.
    pub(super) fn call(&mut self, number: libc::c_long, arguments: &[u64]) -> io::Result<u64> {
        let mut registers = self.registers;
        for (index, register) in ARGUMENTS.into_iter().enumerate() {
            registers[register] = arguments.get(index).copied().unwrap_or(0);
        }
        registers[NUMBER] = number.cast_unsigned();
        registers[NEXT_INSTRUCTION] = self.instruction;
        if let Some(register) = RESTARTS {
            registers[register] = u64::MAX;
        }
        self.write_registers(&registers)?;
        // The thread stops before the call and after it.
        for _ in 0..2 {
            ptrace::syscall(self.thread, None)?;
            while self.next_stop()? != Stop::SystemCall {
                ptrace::syscall(self.thread, None)?;
            }
        }
        let result = self.read_registers()?[RESULT];
        match i32::try_from(result.cast_signed()) {
            Ok(errno @ -4095..0) => Err(io::Error::from_raw_os_error(-errno)),
            Ok(_) | Err(_) => Ok(result),
        }
    }

    /// Writes to the process's memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let path = format!("/proc/{}/mem", self.process);
        let memory = File::options().write(true).open(path)?;
        memory.write_all_at(bytes, address)
    }

    /// Restores the registers and detaches from the thread, which continues its own system call.
    ///
    /// # Errors
    /// `ESRCH` if the thread is gone. After any other error, kill the process: its thread goes on in the wrong place.
    pub(super) fn resume(mut self) -> io::Result<()> {
        // Stop where the kernel stopped first: from there, it restarts the call that was interrupted.
        ptrace::interrupt(self.thread)?;
        // Fails if a call has not returned yet.
        let _ = ptrace::cont(self.thread, None);
        self.await_interruption()?;
        self.write_registers(&self.registers)?;
        Ok(ptrace::detach(self.thread, None)?)
    }

    /// Waits until the thread stops where the kernel handles signals.
    fn await_interruption(&mut self) -> io::Result<Stop> {
        loop {
            match self.next_stop()? {
                stop @ (Stop::Interrupted | Stop::Group) => return Ok(stop),
                Stop::SystemCall | Stop::Signal => ptrace::cont(self.thread, None)?,
            }
        }
    }

    /// Waits until the thread stops.
    fn next_stop(&mut self) -> io::Result<Stop> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut status = 0;
            let flags = libc::__WALL | libc::WNOHANG;
            // SAFETY: `status` has room for the result.
            let waited = unsafe { libc::waitpid(self.thread.as_raw(), &raw mut status, flags) };
            match Errno::result(waited)? {
                0 if Instant::now() >= deadline => return Err(Errno::ETIMEDOUT.into()),
                0 => std::thread::sleep(PAUSE),
                _ if !libc::WIFSTOPPED(status) => return Err(Errno::ESRCH.into()),
                _ => return Ok(self.stop(status)),
            }
        }
    }

    fn stop(&mut self, status: i32) -> Stop {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Interrupted,
            libc::PTRACE_EVENT_STOP => Stop::Group,
            _ if signal == libc::SIGTRAP | 0x80 => Stop::SystemCall,
            _ => {
                self.signals.push(signal);
                Stop::Signal
            }
        }
    }

    fn read_registers(&self) -> io::Result<Registers> {
        let mut registers = [0; COUNT];
        self.transfer_registers(libc::PTRACE_GETREGSET, &mut registers)?;
        Ok(registers)
    }

    fn write_registers(&self, registers: &Registers) -> io::Result<()> {
        self.transfer_registers(libc::PTRACE_SETREGSET, &mut registers.clone())
    }

    fn transfer_registers(&self, request: Request, registers: &mut Registers) -> io::Result<()> {
        let expected = size_of_val(registers);
        let mut area = libc::iovec {
            iov_base: registers.as_mut_ptr().cast(),
            iov_len: expected,
        };
        // SAFETY: `area` describes memory that lives through the call.
        let result = unsafe {
            libc::ptrace(
                request,
                self.thread.as_raw(),
                libc::NT_PRSTATUS,
                &raw mut area,
            )
        };
        Errno::result(result)?;
        match area.iov_len == expected {
            true => Ok(()),
            // A 32-bit program has fewer registers.
            false => Err(Errno::ENOTSUP.into()),
        }
    }
}

/// Sends the signals again. Who sent them is lost.
impl Drop for StoppedThread {
    fn drop(&mut self) {
        let (process, thread) = (self.process, self.thread.as_raw());
        for signal in &self.signals {
            // SAFETY: the call touches no memory.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, *signal) };
        }
    }
}

#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

#[derive(PartialEq, Eq)]
enum Stop {
    Interrupted,
    /// A signal has stopped the process, for example Ctrl-Z.
    Group,
    SystemCall,
    Signal,
}

/// Returns a thread that sleeps in a system call (`proc_pid_syscall(5)`).
fn sleeping_thread(process: i32) -> io::Result<Pid> {
    let deadline = Instant::now() + AWAKE;
    loop {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            let call = fs::read_to_string(thread.path().join("syscall")).unwrap_or_default();
            let number = call
                .split(' ')
                .next()
                .and_then(|number| number.parse().ok());
            let sleeps = number.is_some_and(|number| !RESTARTED_BY_NUMBER.contains(&number));
            let id = thread.file_name().to_str().and_then(|id| id.parse().ok());
            if let Some(id) = id.filter(|_| sleeps) {
                return Ok(Pid::from_raw(id));
            }
        }
        if Instant::now() >= deadline {
            return Err(Errno::ENOTSUP.into());
        }
        std::thread::sleep(PAUSE);
    }
}
