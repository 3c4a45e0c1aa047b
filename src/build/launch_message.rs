use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// The `reason` of the runner's message. Cargo's messages have a `reason` too.
pub(super) const REASON: &str = "hotrun-launch";

/// The line of JSON that the runner prints: how cargo would start the program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaunchMessage {
    pub(super) reason: String,
    pub(super) argv: Vec<Text>,
    pub(super) env: Vec<(Text, Text)>,
    pub(super) workdir: Text,
}

/// An argument, a variable or a path. JSON has no byte strings, and these need not be UTF-8.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Utf8(String),
    Bytes(Vec<u8>),
}

impl From<&OsStr> for Text {
    fn from(text: &OsStr) -> Self {
        match text.to_str() {
            Some(text) => Self::Utf8(text.to_owned()),
            None => Self::Bytes(text.as_bytes().to_vec()),
        }
    }
}

impl From<Text> for OsString {
    fn from(text: Text) -> Self {
        match text {
            Text::Utf8(text) => text.into(),
            Text::Bytes(bytes) => Self::from_vec(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_survives_a_round_trip() {
        for bytes in [
            &b""[..],
            b"plain",
            b"quote\" \\ \n \x01",
            "\u{e4}\u{1f600}".as_bytes(),
            b"\xff\xfe/x",
            b"a\x80",
        ] {
            let text = OsStr::from_bytes(bytes);
            let line = serde_json::to_string(&Text::from(text)).unwrap();
            assert!(!line.contains('\n'), "{line}");
            let parsed: Text = serde_json::from_str(&line).unwrap();
            assert_eq!(OsString::from(parsed), text, "{line}");
        }
    }
}
