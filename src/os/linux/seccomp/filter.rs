//! The filter, as data: classic BPF over `struct seccomp_data` (`seccomp(2)`).
//!
//! It looks at the architecture and the number of a call only. At installation the kernel finds out which calls such a
//! filter always allows, and does not run it for them (`seccomp_cache_prepare` in `kernel/seccomp.c`, since 5.11): for all
//! but the two that are intercepted.

use crate::os::Instruction;

const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`: the number of the call, and the architecture whose table it refers to.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// The numbers of the calls on one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Architecture {
    /// `AUDIT_ARCH_*` of `include/uapi/linux/audit.h`.
    pub(super) audit: u32,
    pub(super) bind: u32,
    pub(super) listen: u32,
}

/// 62 is `EM_X86_64`, the high bits say 64 bits and little endian.
#[cfg(any(target_arch = "x86_64", test))]
const X86_64: Architecture = Architecture {
    audit: 0xc000_003e,
    bind: 49,
    listen: 50,
};

/// 183 is `EM_AARCH64`; the numbers are those of `include/uapi/asm-generic/unistd.h`.
#[cfg(any(target_arch = "aarch64", test))]
const AARCH64: Architecture = Architecture {
    audit: 0xc000_00b7,
    bind: 200,
    listen: 201,
};

/// The architecture hotrun is built for, which most of its programs share.
#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Option<Architecture> = Some(X86_64);
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: Option<Architecture> = Some(AARCH64);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const NATIVE: Option<Architecture> = None;

/// Intercepts `bind` and `listen` of this architecture's own table, and allows everything else.
///
/// A call of another table (i386's `int 0x80`, 32 bits on aarch64) is allowed whatever its number means there. x32 has the
/// architecture of x86-64 and sets an extra bit in the number, so its numbers are equal to neither.
pub(super) fn filter(architecture: Architecture) -> [Instruction; 7] {
    let Architecture {
        audit,
        bind,
        listen,
    } = architecture;
    [
        plain(LOAD_WORD, ARCHITECTURE),
        jump_if_equal(audit, 0, 4),
        plain(LOAD_WORD, NUMBER),
        jump_if_equal(bind, 1, 0),
        jump_if_equal(listen, 0, 1),
        plain(RETURN, libc::SECCOMP_RET_USER_NOTIF),
        plain(RETURN, libc::SECCOMP_RET_ALLOW),
    ]
}

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

const fn jump_if_equal(k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction {
        code: JUMP_IF_EQUAL,
        jt,
        jf,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    const RISCV64: u32 = 0xc000_00f3;
    const X32: u32 = 0x4000_0000;
    /// i386 has a separate call for each, and one multiplexed call.
    const I386_SOCKETCALL: u32 = 102;
    const I386_BIND: u32 = 361;
    const I386_LISTEN: u32 = 363;

    /// Interprets a program as the kernel does, for the instructions used here. It panics on a jump behind the end or a
    /// load from elsewhere, for which the kernel would refuse the program.
    fn run(program: &[Instruction], audit: u32, number: u32) -> u32 {
        let (mut loaded, mut at) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            match (code, k) {
                (LOAD_WORD, NUMBER) => loaded = number,
                (LOAD_WORD, ARCHITECTURE) => loaded = audit,
                (JUMP_IF_EQUAL, _) => at += usize::from(if loaded == k { jt } else { jf }),
                (RETURN, _) => return k,
                other => panic!("no such instruction: {other:?}"),
            }
        }
    }

    fn intercepts(architecture: Architecture, audit: u32, number: u32) -> bool {
        match run(&filter(architecture), audit, number) {
            libc::SECCOMP_RET_USER_NOTIF => true,
            libc::SECCOMP_RET_ALLOW => false,
            other => panic!("neither allowed nor intercepted: {other:#x}"),
        }
    }

    #[test]
    fn exactly_two_calls_of_one_architecture_are_intercepted() {
        let audits = [X86_64.audit, AARCH64.audit, I386, ARM, RISCV64, 0, u32::MAX];
        let named = [
            I386_SOCKETCALL,
            I386_BIND,
            I386_LISTEN,
            X32 + 49,
            X32 + 50,
            u32::MAX,
        ];
        for native in [X86_64, AARCH64] {
            for audit in audits {
                for number in (0..1000).chain(X32..X32 + 1000).chain(named) {
                    let expected =
                        audit == native.audit && [native.bind, native.listen].contains(&number);
                    assert_eq!(
                        intercepts(native, audit, number),
                        expected,
                        "{native:?} {audit:#x} {number}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_numbers_match_the_c_library() {
        let native = NATIVE.unwrap();
        assert_eq!(i64::from(native.bind), libc::SYS_bind);
        assert_eq!(i64::from(native.listen), libc::SYS_listen);
    }
}
