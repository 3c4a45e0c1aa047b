//! The text of `/proc/PID/fdinfo`. Pure, except for the device number of the socket file system.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

/// One descriptor in an epoll set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The descriptor when it was added.
    pub(super) fd: i32,
    /// Whether it is watched for reading, as for connections to accept. With `EPOLLONESHOT` an entry loses this until it is
    /// rearmed.
    pub(super) readable: bool,
    /// Inode and device of the open file, if the kernel prints them.
    pub(super) file: Option<(u64, u32)>,
}

/// The pending operations of an io_uring.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) accepts: usize,
    pub(super) polls: usize,
}

/// `IORING_OP_POLL_ADD` and `IORING_OP_ACCEPT` of `linux/io_uring.h`, which `libc` lacks.
const OP_POLL_ADD: u32 = 6;
const OP_ACCEPT: u32 = 13;

/// The entries of an epoll set (`ep_show_fdinfo` in `fs/eventpoll.c`).
pub(super) fn targets(text: &str) -> impl Iterator<Item = Target> {
    text.lines().filter_map(target)
}

/// `tfd:        3 events:       19 data:                3  pos:0 ino:4227 sdev:9`, where all but `tfd` and
/// `pos` is hexadecimal.
fn target(line: &str) -> Option<Target> {
    let rest = line.strip_prefix("tfd:")?;
    let fd = rest.split_whitespace().next()?.parse().ok()?;
    let events = hexadecimal(rest, "events:")?;
    let file = hexadecimal(rest, "ino:").zip(hexadecimal(rest, "sdev:"));
    Some(Target {
        fd,
        readable: events & (libc::EPOLLIN | libc::EPOLLRDNORM) as u64 != 0,
        file: file.and_then(|(inode, device)| Some((inode, u32::try_from(device).ok()?))),
    })
}

fn hexadecimal(text: &str, key: &str) -> Option<u64> {
    let (_, value) = text.split_once(key)?;
    u64::from_str_radix(value.split_whitespace().next()?, 16).ok()
}

/// The pending operations of an io_uring: the `op=` lines under `PollList:` (`io_uring/fdinfo.c`, since 5.10). `None` if the
/// list is missing, because the kernel is older or the ring was busy at that moment.
pub(super) fn pending(text: &str) -> Option<Pending> {
    let (_, list) = text.split_once("PollList:\n")?;
    let operations: Vec<u32> = list.lines().map_while(operation).collect();
    let count = |wanted| operations.iter().filter(|one| **one == wanted).count();
    Some(Pending {
        accepts: count(OP_ACCEPT),
        polls: count(OP_POLL_ADD),
    })
}

fn operation(line: &str) -> Option<u32> {
    line.trim_start()
        .strip_prefix("op=")?
        .split(',')
        .next()?
        .parse()
        .ok()
}

/// The device number of the socket file system, as the kernel prints it (`MAJOR << 20 | MINOR`).
///
/// Inode numbers are unique only within a file system: a pipe or a timer in the same epoll set may have the number of a
/// socket. The socket file system has no path, so the number is read from a new socket.
pub(super) fn socket_device() -> Option<u32> {
    static DEVICE: OnceLock<Option<u32>> = OnceLock::new();
    *DEVICE.get_or_init(|| {
        let socket = UnixDatagram::unbound().ok()?;
        let device = nix::sys::stat::fstat(socket.as_fd()).ok()?.st_dev;
        Some(libc::major(device) << 20 | libc::minor(device))
    })
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
    fn the_entries_of_an_epoll_set_are_read() {
        let expected = [
            Target {
                fd: 3,
                readable: true,
                file: Some((0x4227, 9)),
            },
            Target {
                fd: 11,
                readable: false,
                file: Some((0x40f, 0x10)),
            },
            Target {
                fd: 4,
                readable: true,
                file: None,
            },
        ];
        assert_eq!(targets(EPOLL).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn pending_operations_are_counted() {
        let text = "UserBufs:\t0\nPollList:\n  op=13, task_works=0\n  op=6, task_works=0\n  op=13, task_works=1\n\
            CqOverflowList:\n  op=13, task_works=0\n";
        assert_eq!(
            pending(text),
            Some(Pending {
                accepts: 2,
                polls: 1
            })
        );
        assert_eq!(
            pending("PollList:\nCqOverflowList:\n"),
            Some(Pending {
                accepts: 0,
                polls: 0
            })
        );
        assert_eq!(pending("SqMask:\t0x3\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_handled(text in "(tfd:|ino:|PollList:\n|op=|[ -~\n\u{e9}]){0,40}") {
            let _ = (targets(&text).count(), pending(&text));
        }
    }

    #[test]
    fn fuzz_fdinfo() {
        let epoll: &[u8] =
            b"pos:\t0\nflags:\t02\ntfd:        5 events:       19 data:  5  pos:0 ino:3ea sdev:8\n";
        let ring: &[u8] = b"SqMask:\t0x7\nSqHead:\t1\nPollList:\n  op=6, task_works=0\n";
        let words = ["tfd:", "ino:", "sdev:", "\n", "ffffffffffffffffff", "op="];
        crate::fuzz::fuzz("/proc/PID/fdinfo", &[epoll, ring], &words, |input| {
            let text = String::from_utf8_lossy(input);
            let _ = pending(&text);
            assert!(targets(&text).count() <= input.len());
        });
    }
}
