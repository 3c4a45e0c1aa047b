//! Parses `/proc/PID/fdinfo`, `/proc/PID/task/TID/syscall`, and the sets passed to `poll` and `select`.

/// Returns the inode and device of each file in an epoll set that is watched for reading, as listening sockets are
/// (`ep_show_fdinfo` in `fs/eventpoll.c`). An `EPOLLONESHOT` entry that has fired is not watched until it is rearmed.
pub(super) fn watched(text: &str) -> impl Iterator<Item = (u64, u64)> {
    // In a line such as `tfd:        3 events:       19 data:                3  pos:0 ino:4227 sdev:9`, every number
    // except `tfd` and `pos` is hexadecimal.
    text.lines().filter_map(|line| {
        let field = |key: &str| {
            let (_, value) = line.split_once(key)?;
            u64::from_str_radix(value.split_whitespace().next()?, 16).ok()
        };
        let readable = (libc::EPOLLIN | libc::EPOLLRDNORM) as u64;
        let watched = line.starts_with("tfd:") && field("events:")? & readable != 0;
        watched.then_some((field("ino:")?, field("sdev:")?))
    })
}

/// The system call that a thread is sleeping in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sleep {
    /// A call that waits on this descriptor.
    On(i32),
    /// `poll`.
    Poll(Set),
    /// `select`.
    Select(Set),
    /// A call that the kernel has restarted after a stop by `SIGSTOP` or a debugger (`restart_syscall(2)`). Which call
    /// it was is unknown.
    Resumed,
    /// No call, or a call that a new connection does not wake.
    Elsewhere,
}

/// A set of descriptors in the thread's memory.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) address: u64,
    /// In bytes.
    pub(super) size: usize,
    pub(super) timeout: Timeout,
}

/// How long a call waits at most.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Timeout {
    /// This many milliseconds; negative: forever.
    Millis(i32),
    /// As long as the two 64-bit numbers at this address say: seconds, and units of 1/`parts` second. Address 0:
    /// forever.
    At { address: u64, parts: i64 },
}

/// Calls that wait on the descriptor in their first argument: `accept`, and those that receive from a datagram socket.
const ON_ONE: &[libc::c_long] = &[
    #[cfg(not(target_arch = "x86"))]
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_read,
];

/// Only architectures older than `ppoll` and `pselect6` have `poll` and `select`. Both forms have the same first two
/// arguments (for `select`, the same first three).
const POLL: &[libc::c_long] = &[
    #[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
    libc::SYS_poll,
    libc::SYS_ppoll,
];
const SELECT: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    libc::SYS_pselect6,
];

/// More descriptors than any server's set contains. This bounds how much is read from another process's memory.
const MOST_DESCRIPTORS: u64 = 65_536;

/// A `select` set is an array of `unsigned long`, with a bit for each descriptor.
const WORD: usize = size_of::<libc::c_ulong>();

/// The size of `struct pollfd`: `int fd; short events; short revents`.
const POLLFD: usize = 8;

/// Parses a line such as `288 0x3 0x7ba5 …`: the call's number, six arguments, stack pointer, program counter. The line
/// of a running thread is `running`; that of a thread blocked outside any call is `-1` and the two pointers.
pub(super) fn parse(text: &str) -> Sleep {
    let mut words = text.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok());
    let mut argument = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (Some(number), Some(first), Some(second)): (Option<libc::c_long>, _, _) =
        (number, argument(), argument())
    else {
        return Sleep::Elsewhere;
    };
    let [third, _, fifth] = std::array::from_fn(|_| argument().unwrap_or_default());
    let at = |address, parts| Timeout::At { address, parts };
    if ON_ONE.contains(&number) {
        // The register is 64 bits wide; the descriptor is its lower half.
        Sleep::On(first as i32)
    } else if POLL.contains(&number) {
        let count = (second & u64::from(u32::MAX)).min(MOST_DESCRIPTORS);
        Sleep::Poll(Set {
            address: first,
            size: count as usize * POLLFD,
            timeout: match number == libc::SYS_ppoll {
                true => at(third, 1_000_000_000),
                false => Timeout::Millis(third as i32),
            },
        })
    } else if SELECT.contains(&number) {
        let limit = (first & u64::from(u32::MAX)).min(MOST_DESCRIPTORS);
        Sleep::Select(Set {
            address: second,
            size: limit.div_ceil(WORD as u64 * 8) as usize * WORD,
            timeout: match number == libc::SYS_pselect6 {
                true => at(fifth, 1_000_000_000),
                false => at(fifth, 1_000_000),
            },
        })
    } else if number == libc::SYS_restart_syscall {
        Sleep::Resumed
    } else {
        Sleep::Elsewhere
    }
}

/// Returns the descriptors in a `poll` set that are watched for reading.
pub(super) fn polled(bytes: &[u8]) -> Vec<i32> {
    let entries = bytes.chunks_exact(POLLFD).filter_map(|entry| {
        let fd = i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?);
        let events = i16::from_ne_bytes(entry.get(4..6)?.try_into().ok()?);
        (events & (libc::POLLIN | libc::POLLRDNORM) != 0).then_some(fd)
    });
    entries.collect()
}

/// Returns the descriptors in a `select` set.
pub(super) fn selected(bytes: &[u8]) -> Vec<i32> {
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, libc::c_ulong::from_ne_bytes);
    let words: Vec<libc::c_ulong> = bytes.chunks_exact(WORD).map(word).collect();
    let is_set = |fd: &usize| words[fd / (WORD * 8)] >> (fd % (WORD * 8)) & 1 == 1;
    let fds = (0..words.len() * WORD * 8).filter(is_set);
    fds.map(|fd| fd as i32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EPOLL: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t1039\n\
        tfd:        3 events:       19 data:                3  pos:0 ino:4227 sdev:9\n\
        tfd:       11 events: 40000000 data: 7ffe2cb924b8  pos:-1 ino:40f sdev:10\n\
        tfd:        4 events:       1d data:                4\n";

    #[test]
    fn only_epoll_entries_watched_for_reading_are_returned() {
        assert_eq!(watched(EPOLL).collect::<Vec<_>>(), [(0x4227, 9)]);
    }

    #[test]
    fn fuzz_fdinfo() {
        let epoll: &[u8] =
            b"pos:\t0\nflags:\t02\ntfd:        5 events:       19 data:  5  pos:0 ino:3ea sdev:8\n";
        let words = ["tfd:", "ino:", "sdev:", "\n", "ffffffffffffffffff"];
        crate::fuzz::fuzz("/proc/PID/fdinfo", &[epoll], &words, |input| {
            let text = String::from_utf8_lossy(input);
            assert!(watched(&text).count() <= input.len());
        });
    }

    fn line(number: libc::c_long, arguments: &str) -> String {
        format!("{number} {arguments} 0x0 0x0 0x0 0x0 0x7ffe15188690 0x7f94bad162ec\n")
    }

    #[test]
    fn accept_waits_on_the_descriptor_in_its_first_argument() {
        assert_eq!(
            parse(&line(libc::SYS_accept4, "0x3 0x7f94ba5a2980")),
            Sleep::On(3)
        );
        assert_eq!(
            parse(&line(libc::SYS_accept, "0xffffffff00000007 0x0")),
            Sleep::On(7)
        );
    }

    #[test]
    fn poll_and_select_sets_are_located_by_address_and_size() {
        let timeout = Timeout::At {
            address: 0,
            parts: 1_000_000_000,
        };
        let poll = Sleep::Poll(Set {
            address: 0x7f94_baac_4770,
            size: 16,
            timeout,
        });
        assert_eq!(parse(&line(libc::SYS_ppoll, "0x7f94baac4770 0x2")), poll);
        let select = Sleep::Select(Set {
            address: 0x7f94_b9d9_58f0,
            size: WORD,
            timeout: Timeout::At {
                address: 0x11,
                parts: 1_000_000_000,
            },
        });
        let arguments = "0x7 0x7f94b9d958f0 0x0 0x0 0x11";
        assert_eq!(parse(&line(libc::SYS_pselect6, arguments)), select);
    }

    #[test]
    fn other_calls_do_not_wait_for_connections_and_restarted_calls_are_unknown() {
        let futex = line(libc::SYS_futex, "0x3 0x0");
        for text in [
            "running\n",
            "-1 0x7ffe 0x7f94\n",
            "",
            "288\n",
            "288 3 4\n",
            &futex,
        ] {
            assert_eq!(parse(text), Sleep::Elsewhere, "{text}");
        }
        assert_eq!(
            parse(&line(libc::SYS_restart_syscall, "0x3 0x1")),
            Sleep::Resumed
        );
    }

    #[test]
    fn only_poll_entries_watched_for_reading_are_returned() {
        let entry =
            |fd: i32, events: i16| [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &[0, 0]].concat();
        let bytes = [
            entry(5, libc::POLLIN),
            entry(6, libc::POLLOUT),
            entry(-1, libc::POLLIN),
        ]
        .concat();
        assert_eq!(polled(&bytes), [5, -1]);
    }

    #[test]
    fn a_select_set_is_a_bit_array() {
        let words: [libc::c_ulong; 2] = [0b1001, 0b10];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(selected(&bytes), [0, 3, WORD as i32 * 8 + 1]);
    }

    #[test]
    fn the_sizes_of_sets_are_bounded() {
        let size = |number, arguments: &str| match parse(&line(number, arguments)) {
            Sleep::Poll(set) | Sleep::Select(set) => set.size,
            Sleep::On(_) | Sleep::Resumed | Sleep::Elsewhere => panic!("the call must have a set"),
        };
        assert_eq!(size(libc::SYS_ppoll, "0x1 0xffffffffffffffff"), 524_288);
        assert_eq!(size(libc::SYS_pselect6, "0xffffffffffffffff 0x1"), 8_192);
        let one_more = format!("{:#x} 0x1", WORD * 8 + 1);
        assert_eq!(size(libc::SYS_pselect6, &one_more), WORD * 2);
    }

    proptest! {
        #[test]
        fn any_texts_and_sets_cause_no_panic(text in "(tfd:|ino:|[0-9a-fx \n-]){0,60}", bytes: Vec<u8>) {
            let _ = (parse(&text), polled(&bytes), selected(&bytes), watched(&text).count());
        }
    }

    #[test]
    fn fuzz_syscall() {
        let examples: [&[u8]; 3] = [
            b"7 0x7ffc1 0x2 0xffffffff 0x0 0x0 0x0 0x7ffc0 0x7f1\n",
            b"running\n",
            b"-1 0x7ffc0 0x7f1\n",
        ];
        let words = ["0x", " ", "ffffffffffffffff", "281", "271", "23", "43"];
        crate::fuzz::fuzz("/proc/PID/task/TID/syscall", &examples, &words, |input| {
            let _ = parse(&String::from_utf8_lossy(input));
            assert!(polled(input).len() <= input.len());
            assert!(selected(input).len() <= input.len() * 8);
        });
    }
}
