//! The filter: classic BPF over `struct seccomp_data` (`seccomp(2)`).
//!
//! The filter examines a call's architecture and number, the address length of a `connect`, and the flags of a call that
//! opens a file. When a filter is installed, the kernel determines which calls the filter allows whatever their arguments
//! are, and does not run it for those (`seccomp_cache_prepare` in `kernel/seccomp.c`, since 5.11). So this filter runs only
//! for the calls that it names.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::prctl;
use socket2::{MsgHdr, SockRef};

use crate::os::Instruction;
use crate::os::linux::socket_options::native;

pub(super) const LOAD_WORD: u16 = 0x20;

/// Offsets in `struct seccomp_data`: the call's number, and the architecture whose system call table the number refers
/// to.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
/// The offsets of the lower halves of two arguments, on a little-endian system. The address length that `connect` takes,
/// and the flags that the calls to open a file take, are each an `int`.
pub(super) const SECOND_ARGUMENT: u32 = 24;
const THIRD_ARGUMENT: u32 = 32;

/// The lengths of the IP addresses that programs pass to `connect`: `sockaddr_in`, `sockaddr_in6` and, from some C
/// programs, `sockaddr_storage`. The filter cannot read the address itself. Most unix addresses have other lengths.
const IP_LENGTHS: [u32; 3] = [16, 28, 128];

/// The architecture that hotrun is built for, which is also that of most programs it runs, as `AUDIT_ARCH_*` of
/// `include/uapi/linux/audit.h`: `EM_X86_64` or `EM_AARCH64`, 64-bit, little-endian. `None` if interception does not
/// support it.
pub(super) const NATIVE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else {
    None
};

/// The numbers of calls that only x86-64 has (`arch/x86/entry/syscalls/syscall_64.tbl`). Elsewhere, the numbers match no
/// call.
pub(super) const OPEN: libc::c_long = of_x86_64(2);
pub(super) const RENAME: libc::c_long = of_x86_64(82);
pub(super) const CREAT: libc::c_long = of_x86_64(85);
pub(super) const UNLINK: libc::c_long = of_x86_64(87);

const fn of_x86_64(number: libc::c_long) -> libc::c_long {
    if cfg!(target_arch = "x86_64") {
        number
    } else {
        -number
    }
}

/// Returns a filter that intercepts `bind`, `listen`, and each `connect` that may be to an IP address, if the call is
/// from this architecture's own table. If `writes` is true, it also intercepts the calls that open a file for writing, or
/// rename or remove a file, except `openat2`, whose flags are in memory. It allows every other call.
///
/// A call from another table (i386's `int 0x80`, 32-bit calls on aarch64) is allowed, whatever its number means there.
/// x32 calls have the architecture of x86-64 but an extra bit in the number, so their numbers match none of the calls.
fn filter(architecture: u32, writes: bool) -> [Instruction; 25] {
    let is = |number: libc::c_long, then, otherwise| {
        Instruction::jump_if_equal(number as u32, then, otherwise)
    };
    let writable = |then, otherwise| Instruction {
        code: Instruction::JUMP_IF_SET,
        ..Instruction::jump_if_equal(libc::O_ACCMODE as u32, then, otherwise)
    };
    let [v4, v6, any] = IP_LENGTHS;
    let allow = Instruction::plain(Instruction::RETURN, libc::SECCOMP_RET_ALLOW);
    [
        Instruction::plain(LOAD_WORD, ARCHITECTURE),
        Instruction::jump_if_equal(architecture, 0, 22),
        Instruction::plain(LOAD_WORD, NUMBER),
        is(libc::SYS_bind, 19, 0),
        is(libc::SYS_listen, 18, 0),
        is(libc::SYS_connect, 9, 0),
        if writes {
            is(libc::SYS_openat, 12, 0)
        } else {
            allow
        },
        is(OPEN, 13, 0),
        is(libc::SYS_renameat, 14, 0),
        is(libc::SYS_renameat2, 13, 0),
        is(libc::SYS_unlinkat, 12, 0),
        is(RENAME, 11, 0),
        is(CREAT, 10, 0),
        is(UNLINK, 9, 0),
        allow,
        // `connect`
        Instruction::plain(LOAD_WORD, THIRD_ARGUMENT),
        Instruction::jump_if_equal(v4, 6, 0),
        Instruction::jump_if_equal(v6, 5, 0),
        Instruction::jump_if_equal(any, 4, 5),
        // `openat`
        Instruction::plain(LOAD_WORD, THIRD_ARGUMENT),
        writable(2, 3),
        // `open`
        Instruction::plain(LOAD_WORD, SECOND_ARGUMENT),
        writable(0, 1),
        Instruction::plain(Instruction::RETURN, libc::SECCOMP_RET_USER_NOTIF),
        allow,
    ]
}

/// `WAIT_KILLABLE_RECV`: once a call has been received, only a fatal signal interrupts it. Without this flag, the
/// signals with which Go preempts its threads would interrupt and restart the call again and again. `SPEC_ALLOW`: this
/// is not a sandbox, and the mitigations that a kernel may apply to sandboxes would only slow the program down.
const FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER
    | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;

/// Intercepts the calls of this process and its future descendants, including those that write files if `writes` is true,
/// and sends the listener over each of the channels. If there is none, sends the reason over the last one. Call this just
/// before an exec, which closes the channels. This function neither allocates nor locks.
///
/// It is not an error if the kernel refuses the filter: the process continues without it.
///
/// # Errors
/// The filter is active but its listener is lost, so every intercepted call would fail with `ENOSYS`.
pub fn install(channels: &[BorrowedFd<'_>], writes: bool) -> Result<(), Errno> {
    let listener = match set(writes) {
        // The process has neither `CAP_SYS_ADMIN` nor `no_new_privs` (`seccomp_prepare_filter` in `kernel/seccomp.c`).
        Err(Errno::EACCES) => prctl::set_no_new_privs().and_then(|()| set(writes)),
        result => result,
    };
    match listener {
        // Our copy is closed here: while it is open, the kernel does not report that every process is gone.
        Ok(listener) => {
            let rights = rights(listener.as_fd());
            let mut channels = channels.iter();
            channels.try_for_each(|channel| send(*channel, 0, rights.as_flattened()))
        }
        Err(errno) => {
            // This fails only if the other end of the channel is closed.
            let _ = channels
                .last()
                .map(|channel| send(*channel, errno as i32, &[]));
            Ok(())
        }
    }
}

fn set(writes: bool) -> Result<OwnedFd, Errno> {
    let mut program = filter(NATIVE.ok_or(Errno::ENOSYS)?, writes).map(|one| native(&one));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `program` describes `len` instructions that live through the call, and the kernel only reads them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            FLAGS,
            &raw const program,
        )
    };
    let fd = RawFd::try_from(Errno::result(fd)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just created this descriptor (with `CLOEXEC`), and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Builds ancillary data with one descriptor (`cmsg(3)`), in the layout of little-endian 64-bit systems: the length
/// without padding, as two words, the level, the type, the descriptor, the padding. It is built by hand because nix's
/// `sendmsg` allocates.
fn rights(fd: BorrowedFd<'_>) -> [[u8; 4]; 6] {
    let (level, kind) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
    [20, 0, level, kind, fd.as_raw_fd(), 0].map(i32::to_ne_bytes)
}

/// Sends one message: an `errno` or 0, and ancillary data.
fn send(channel: BorrowedFd<'_>, errno: i32, control: &[u8]) -> Result<(), Errno> {
    let bytes = errno.to_ne_bytes();
    let parts = [IoSlice::new(&bytes)];
    let message = MsgHdr::new().with_buffers(&parts).with_control(control);
    loop {
        // `NOSIGNAL`: if the reader is gone, the call fails instead of killing this process.
        let sent = SockRef::from(&channel).sendmsg(&message, libc::MSG_NOSIGNAL);
        match sent.map_err(|error| error.raw_os_error().map(Errno::from_raw)) {
            Err(Some(Errno::EINTR)) => {}
            Err(errno) => return Err(errno.unwrap_or(Errno::EIO)),
            Ok(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    const RISCV64: u32 = 0xc000_00f3;
    const X32: u32 = 0x4000_0000;
    /// i386 has separate `bind` and `listen` calls, and one call that multiplexes both.
    const I386_SOCKETCALL: u32 = 102;
    const I386_BIND: u32 = 361;
    const I386_LISTEN: u32 = 363;

    /// Interprets a program as the kernel does, for the instructions used here. Panics on a jump past the end or a load
    /// from another offset, for which the kernel would refuse the program.
    fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u32; 2]) -> u32 {
        let (mut loaded, mut at) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match (code, k) {
                (LOAD_WORD, NUMBER) => loaded = number,
                (LOAD_WORD, ARCHITECTURE) => loaded = audit,
                (LOAD_WORD, SECOND_ARGUMENT) => loaded = arguments[0],
                (LOAD_WORD, THIRD_ARGUMENT) => loaded = arguments[1],
                (Instruction::JUMP_IF_EQUAL, _) => {
                    at += usize::from(if loaded == k { jt } else { jf });
                }
                (Instruction::JUMP_IF_SET, _) => {
                    at += usize::from(if loaded & k != 0 { jt } else { jf });
                }
                (Instruction::RETURN, _) => return k,
                other => panic!("unknown instruction: {other:?}"),
            }
        }
    }

    fn intercepts(audit: u32, number: u32, length: u32) -> bool {
        decide(&filter(NATIVE.unwrap(), false), audit, number, [0, length])
    }

    fn decide(filter: &[Instruction], audit: u32, number: u32, arguments: [u32; 2]) -> bool {
        match run(filter, audit, number, arguments) {
            libc::SECCOMP_RET_USER_NOTIF => true,
            libc::SECCOMP_RET_ALLOW => false,
            other => panic!("neither allowed nor intercepted: {other:#x}"),
        }
    }

    #[test]
    fn exactly_three_calls_of_the_native_architecture_are_intercepted() {
        let native = NATIVE.unwrap();
        let calls = [libc::SYS_bind, libc::SYS_listen, libc::SYS_connect];
        let named = [
            I386_SOCKETCALL,
            I386_BIND,
            I386_LISTEN,
            X32 + 49,
            X32 + 50,
            u32::MAX,
        ];
        for audit in [native, I386, ARM, RISCV64, 0, u32::MAX] {
            for number in (0..1000).chain(X32..X32 + 1000).chain(named) {
                let expected = audit == native && calls.contains(&number.into());
                assert_eq!(
                    intercepts(audit, number, 16),
                    expected,
                    "{audit:#x} {number}"
                );
            }
        }
    }

    #[test]
    fn calls_that_write_files_are_also_intercepted_if_required() {
        let filter = filter(NATIVE.unwrap(), true);
        let intercepts =
            |number, arguments| decide(&filter, NATIVE.unwrap(), number as u32, arguments);
        let others = [
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_unlinkat,
            RENAME,
            CREAT,
            UNLINK,
        ];
        for number in 0..1000 {
            assert_eq!(
                intercepts(number, [0, 0]),
                others.contains(&number),
                "{number}"
            );
        }
        for flags in [libc::O_WRONLY, libc::O_RDWR | libc::O_CREAT].map(|flags| flags as u32) {
            assert!(intercepts(libc::SYS_openat, [0, flags]) && intercepts(OPEN, [flags, 0]));
            assert!(!intercepts(libc::SYS_openat, [flags, 0]) && !intercepts(OPEN, [0, flags]));
        }
        assert!(intercepts(libc::SYS_connect, [0, 16]) && !intercepts(libc::SYS_connect, [16, 0]));
    }

    #[test]
    fn a_connect_is_intercepted_only_if_its_address_has_the_length_of_an_ip_address() {
        let native = NATIVE.unwrap();
        for length in (0..300).chain([u32::MAX]) {
            let intercepted = intercepts(native, libc::SYS_connect as u32, length);
            assert_eq!(intercepted, IP_LENGTHS.contains(&length), "{length}");
            assert!(intercepts(native, libc::SYS_bind as u32, length));
        }
    }
}
