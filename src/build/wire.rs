use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// What tells our own line from cargo's messages, which all have a `reason` too.
pub(super) const REASON: &str = "hotrun-launch";

/// The line that the runner writes: all that is needed to start the program as cargo would have.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaunchLine {
    pub(super) reason: String,
    pub(super) argv: Vec<Text>,
    pub(super) env: Vec<(Text, Text)>,
    pub(super) workdir: Text,
}

/// A string of the system's: JSON has no bytes, and an argument or a variable need not be UTF-8.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    /// It is UTF-8.
    Utf8(String),
    /// It is not: each byte as a number.
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
    fn every_string_survives_the_line() {
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
            let back: Text = serde_json::from_str(&line).unwrap();
            assert_eq!(OsString::from(back), text, "{line}");
        }
    }
}
