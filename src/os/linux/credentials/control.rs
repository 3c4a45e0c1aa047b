//! The kernel's layout of control data (`cmsg(3)`, `struct cmsghdr` in `linux/socket.h`). Pure.

use std::os::fd::RawFd;

use crate::os::Sender;

/// The control data of one datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) sender: Option<Sender>,
    pub(super) descriptors: Vec<RawFd>,
}

/// Length (of header and data), level, type. The kernel's length is a `size_t`, whatever the C library declares.
const LENGTH: usize = size_of::<usize>();
const HEADER: usize = LENGTH + 2 * size_of::<i32>();

/// Reads the messages up to the first malformed one.
pub(super) fn parse(mut bytes: &[u8]) -> Control {
    let mut control = Control::default();
    while let Some((level, kind, data, rest)) = message(bytes) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => control.sender = sender(data),
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => control.descriptors.extend(words(data)),
            (_, _) => {}
        }
        bytes = rest;
    }
    control
}

/// The first message: level, type, data, and the rest.
fn message(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let (header, _) = bytes.split_at_checked(HEADER)?;
    let (length, kinds) = header.split_at(LENGTH);
    let length = usize::from_ne_bytes(length.try_into().ok()?);
    let mut kinds = words(kinds);
    let data = bytes.get(HEADER..length)?;
    // The last message may end without padding.
    let rest = bytes
        .get(length.next_multiple_of(LENGTH)..)
        .unwrap_or_default();
    Some((kinds.next()?, kinds.next()?, data, rest))
}

/// `struct ucred { pid_t pid; uid_t uid; gid_t gid; }`
fn sender(data: &[u8]) -> Option<Sender> {
    let mut words = words(data);
    Some(Sender {
        pid: words.next()?,
        uid: words.next()?.cast_unsigned(),
    })
}

fn words(data: &[u8]) -> impl Iterator<Item = i32> {
    data.chunks_exact(size_of::<i32>())
        .filter_map(|word| Some(i32::from_ne_bytes(word.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(kind: i32, data: &[i32]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len() * 4).to_ne_bytes().to_vec();
        [libc::SOL_SOCKET, kind]
            .iter()
            .chain(data)
            .for_each(|word| bytes.extend(word.to_ne_bytes()));
        bytes.resize(bytes.len().next_multiple_of(LENGTH), 0);
        bytes
    }

    #[test]
    fn several_messages_are_read() {
        let bytes = [
            encoded(libc::SCM_CREDENTIALS, &[42, -1, 0]),
            encoded(999, &[1]),
            encoded(libc::SCM_RIGHTS, &[7, 8, 9]),
        ];
        let expected = Control {
            sender: Some(Sender {
                pid: 42,
                uid: u32::MAX,
            }),
            descriptors: vec![7, 8, 9],
        };
        assert_eq!(parse(&bytes.concat()), expected);
    }

    #[test]
    fn a_malformed_length_ends_the_list() {
        for length in [0, 1, HEADER - 1, HEADER + 5, usize::MAX] {
            let mut bytes = encoded(libc::SCM_RIGHTS, &[7]);
            bytes.truncate(HEADER + 4);
            bytes[..LENGTH].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&bytes), Control::default(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes: Vec<u8>, kind in 0..3_i32, data: Vec<i32>) {
            let _ = parse(&bytes);
            let both = [encoded(kind, &data), bytes].concat();
            prop_assert!(parse(&both).descriptors.len() * 4 <= both.len());
        }
    }

    #[test]
    fn fuzz_control_data() {
        let examples = [
            encoded(libc::SCM_CREDENTIALS, &[42, -1, 0]),
            encoded(libc::SCM_RIGHTS, &[7, 8, 9]),
        ];
        let examples = examples.each_ref().map(Vec::as_slice);
        crate::fuzz::fuzz("control data", &examples, &["\0\0\0\0"], |input| {
            assert!(parse(input).descriptors.len() * 4 <= input.len());
        });
    }
}
