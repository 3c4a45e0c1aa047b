//! Parses the text of a notification. Unknown and invalid assignments are ignored, as `sd_notify(3)` requires.

use std::str::FromStr;
use std::time::Duration;

use crate::reload::WatchdogMessage;

/// The maximum length of a status in characters. A line of the footer shows less than this, but a program may send up
/// to 4096 bytes.
const MAX_STATUS: usize = 512;

/// The maximum length of a stored descriptor's name in bytes, from `sd_pid_notify_with_fds(3)`.
const MAX_NAME: usize = 255;

/// The known assignments of one message. If a name occurs more than once, the last assignment counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments {
    /// `READY=1`: the program has finished starting or reloading.
    pub ready: bool,
    /// `RELOADING=1`: the program is reloading its configuration; `READY=1` follows.
    pub reloading: bool,
    /// `STOPPING=1`: the program is about to exit.
    pub stopping: bool,
    /// `STATUS=`: a description of the program's state, with at most 512 characters and no control characters. An empty
    /// status removes the previous one.
    pub status: Option<String>,
    /// `ERRNO=`: the error that made the program fail.
    pub errno: Option<i32>,
    /// `MAINPID=`: the program's main process. Not validated.
    pub main_pid: Option<i32>,
    /// `WATCHDOG=1` or `WATCHDOG=trigger`.
    pub watchdog: Option<WatchdogMessage>,
    /// `WATCHDOG_USEC=`: the new watchdog period.
    pub watchdog_period: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`: the new timeout for the operation in progress, counted from now.
    pub extend_timeout: Option<Duration>,
    /// `FDSTORE=1` or `FDSTOREREMOVE=1`.
    pub store: Option<StoreRequest>,
    /// `BARRIER=1`: the sender is waiting for hotrun to close the descriptor that came with the message.
    pub barrier: bool,
}

/// A request to the descriptor store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Store the descriptors that came with the message.
    Add {
        /// `FDNAME=`, by default `stored`.
        name: String,
        /// Whether to remove a descriptor that reports `EPOLLHUP` or `EPOLLERR`. `false` with `FDPOLL=0`.
        poll: bool,
    },
    /// Remove the descriptors with this name.
    Remove {
        /// `FDNAME=`.
        name: String,
    },
}

impl Assignments {
    /// Parses `NAME=value` lines.
    pub fn parse(text: &[u8]) -> Self {
        let mut said = Self::default();
        let (mut add, mut remove, mut descriptors, mut poll) = (false, false, None, true);
        let lines = text.split(|&byte| byte == b'\n');
        for (name, value) in lines.filter_map(assignment) {
            match name {
                b"READY" => said.ready = value == b"1",
                b"RELOADING" => said.reloading = value == b"1",
                b"STOPPING" => said.stopping = value == b"1",
                b"BARRIER" => said.barrier = value == b"1",
                b"STATUS" => said.status = Some(printable(value)),
                b"ERRNO" => said.errno = positive(value),
                b"MAINPID" => said.main_pid = positive(value),
                b"WATCHDOG" => {
                    said.watchdog = match value {
                        b"1" => Some(WatchdogMessage::Ping),
                        b"trigger" => Some(WatchdogMessage::Trigger),
                        _ => None,
                    }
                }
                b"WATCHDOG_USEC" => said.watchdog_period = microseconds(value),
                b"EXTEND_TIMEOUT_USEC" => said.extend_timeout = microseconds(value),
                b"FDSTORE" => add = value == b"1",
                b"FDSTOREREMOVE" => remove = value == b"1",
                b"FDNAME" => descriptors = descriptor_name(value),
                b"FDPOLL" => poll = value != b"0",
                _ => {}
            }
        }
        // A message that asks both to store and to remove descriptors counts as a request to remove them, as in systemd.
        // A removal without a name is ignored.
        said.store = if remove {
            descriptors.map(|name| StoreRequest::Remove { name })
        } else {
            let name = descriptors.unwrap_or_else(|| "stored".to_owned());
            add.then_some(StoreRequest::Add { name, poll })
        };
        said
    }
}

fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&byte| byte == b'=')?;
    Some((&line[..at], &line[at + 1..]))
}

/// Removes control characters, which a terminal would act on, and truncates the text.
fn printable(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .chars()
        .filter(|one| !one.is_control())
        .take(MAX_STATUS)
        .collect()
}

fn number<T: FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn positive(value: &[u8]) -> Option<i32> {
    number(value).filter(|&number| number > 0)
}

fn microseconds(value: &[u8]) -> Option<Duration> {
    number(value).map(Duration::from_micros)
}

/// Returns the name if it is valid: 1 to 255 printable ASCII characters without a `:`, which separates names
/// in `LISTEN_FDNAMES`.
fn descriptor_name(value: &[u8]) -> Option<String> {
    let fine = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b':';
    let valid = !value.is_empty() && value.len() <= MAX_NAME && value.iter().all(fine);
    valid.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Assignments {
        Assignments::parse(text.as_bytes())
    }

    #[test]
    fn one_message_may_contain_several_assignments() {
        let text = "READY=1\nSTATUS=listening on 3000\nMAINPID=4711\nEXTEND_TIMEOUT_USEC=1500000\nX_MINE=1\nERRNO=2\n";
        let expected = Assignments {
            ready: true,
            status: Some("listening on 3000".into()),
            main_pid: Some(4711),
            extend_timeout: Some(Duration::from_millis(1500)),
            errno: Some(2),
            ..Assignments::default()
        };
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn reload_and_watchdog_messages_are_parsed() {
        let said = parse("RELOADING=1\nMONOTONIC_USEC=7\nWATCHDOG=trigger\nWATCHDOG_USEC=20");
        assert!(said.reloading && !said.ready && !said.stopping);
        assert_eq!(said.watchdog_period, Some(Duration::from_micros(20)));
        assert_eq!(
            (said.watchdog, parse("WATCHDOG=1").watchdog),
            (Some(WatchdogMessage::Trigger), Some(WatchdogMessage::Ping))
        );
    }

    #[test]
    fn invalid_assignments_are_ignored() {
        for text in [
            "",
            "\n\n",
            "READY",
            "READY=0",
            "READY=11",
            " READY=1",
            "ready=1",
            "=1",
            "ERRNO=x",
            "MAINPID=-4",
            "MAINPID=0",
            "WATCHDOG=2",
            "EXTEND_TIMEOUT_USEC=-1",
            "BARRIER=",
            "FDNAME=a",
            "FDSTOREREMOVE=1",
        ] {
            assert_eq!(parse(text), Assignments::default(), "{text}");
        }
    }

    #[test]
    fn the_last_assignment_of_a_name_counts() {
        assert_eq!(parse("STATUS=a\nSTATUS=b").status.as_deref(), Some("b"));
    }

    #[test]
    fn a_status_cannot_control_the_terminal() {
        let said = Assignments::parse(b"STATUS=\x1b[31mred\x07\x9b \r\xc2\x9bx\xff\x7f");
        assert_eq!(said.status.as_deref(), Some("[31mred\u{fffd} x\u{fffd}"));
        let long = parse(&format!("STATUS={}", "é".repeat(2000)))
            .status
            .expect("a long status must be accepted");
        assert_eq!(long.chars().count(), 512);
        assert_eq!(parse("STATUS=").status.as_deref(), Some(""));
    }

    #[test]
    fn descriptor_store_requests_are_parsed() {
        let add = |name: &str, poll| {
            Some(StoreRequest::Add {
                name: name.into(),
                poll,
            })
        };
        assert_eq!(parse("FDSTORE=1").store, add("stored", true));
        assert_eq!(
            parse("FDSTORE=1\nFDNAME=ws\nFDPOLL=0").store,
            add("ws", false)
        );
        assert_eq!(parse("FDSTORE=1\nFDNAME=a:b").store, add("stored", true));
        assert_eq!(
            parse("FDSTOREREMOVE=1\nFDNAME=ws").store,
            Some(StoreRequest::Remove { name: "ws".into() })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_cause_no_panic_and_no_long_status(bytes in prop::collection::vec(any::<u8>(), 0..4097)) {
            let said = Assignments::parse(&bytes);
            prop_assert!(said.status.is_none_or(|status| status.len() <= MAX_STATUS * 4));
        }

        #[test]
        fn no_value_puts_a_control_character_into_the_status(
            name in "READY|STATUS|ERRNO|MAINPID|WATCHDOG|WATCHDOG_USEC|EXTEND_TIMEOUT_USEC|FDNAME|FDSTORE|BARRIER",
            value in "\\PC{0,40}|-?[0-9]{0,25}",
        ) {
            let said = parse(&format!("{name}={value}\nFDSTORE=1"));
            prop_assert!(said.status.is_none_or(|status| !status.chars().any(char::is_control)));
        }
    }

    #[test]
    fn fuzz_notifications() {
        let examples: [&[u8]; 3] = [
            b"READY=1\nSTATUS=up\nMAINPID=42",
            b"FDSTORE=1\nFDNAME=ws\nFDPOLL=0",
            b"WATCHDOG=trigger\nWATCHDOG_USEC=20\nEXTEND_TIMEOUT_USEC=1500000\nERRNO=2",
        ];
        let words = [
            "\n",
            "=",
            "1",
            "-",
            "99999999999999999999",
            "RELOADING=1",
            "MONOTONIC_USEC=",
            "STOPPING=1",
            "FDSTOREREMOVE=1",
            "BARRIER=1",
            "STATUS=",
            "\u{1b}[2J",
            "\u{9b}",
        ];
        crate::fuzz::fuzz("notifications", &examples, &words, |input| {
            let said = Assignments::parse(input);
            let printable = |text: &String| !text.chars().any(char::is_control);
            assert!(said.status.as_ref().is_none_or(printable));
            let Some(StoreRequest::Add { name, .. } | StoreRequest::Remove { name }) = said.store
            else {
                return;
            };
            assert!(!name.contains(':') && name.len() <= MAX_NAME);
        });
    }
}
