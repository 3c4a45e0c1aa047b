//! Formats text for people: durations, and external text that must be made safe to print.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::live::line::plain;

/// Displays a duration as `240µs`, `31ms`, `1.04s`, `3m12s` or `2h05m`. Durations are truncated, not rounded, so that
/// nothing seems to take longer than its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Human(pub Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        match seconds {
            0 if self.0.is_zero() => f.write_str("0ms"),
            0 if millis == 0 => write!(f, "{}µs", self.0.subsec_micros()),
            0 => write!(f, "{millis}ms"),
            1..60 => {
                let text = format!("{seconds}.{:02}", millis / 10);
                write!(f, "{}s", text.trim_end_matches('0').trim_end_matches('.'))
            }
            60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// Displays a number of bytes as `512 MiB` or `4.2 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 20 {
            mebibytes @ 0..1024 => write!(f, "{mebibytes} MiB"),
            mebibytes => write!(f, "{:.1} GiB", mebibytes as f64 / 1024.0),
        }
    }
}

/// Removes control sequences and control characters, except newlines and tabs. If a line was overwritten, keeps only what
/// was written last.
pub(super) fn text(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// Shortens a long line, because it is processed again for each frame. If it was rewritten with `\r`, keeps the last
/// version.
pub(super) fn shortened(line: &str) -> &str {
    const MAX_BYTES: usize = 4096;
    if line.len() <= MAX_BYTES {
        return line;
    }
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    prefix(line, MAX_BYTES)
}

/// Shortens an error message and its lines, because each request for the error page processes it again on the main
/// thread.
pub(super) fn shortened_message(text: &str) -> String {
    const MAX_BYTES: usize = 8 << 10;
    let lines: Vec<&str> = text.lines().map(shortened).collect();
    let text = lines.join("\n");
    let ellipsis = if text.len() > MAX_BYTES { "…" } else { "" };
    format!("{}{ellipsis}", prefix(&text, MAX_BYTES))
}

/// As much of a text as fits into `most` bytes.
fn prefix(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    &text[..ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0)]
}

/// Formats a path: relative to the working directory if that is shorter, and escaped if the path contains control
/// characters.
pub fn path(path: &Path, workdir: &Path) -> String {
    // One `..` for each directory that must be left.
    let mut above = workdir.ancestors().enumerate();
    let relative = above.find_map(|(up, directory)| {
        let rest = path.strip_prefix(directory).ok()?;
        Some(PathBuf::from_iter(std::iter::repeat_n("..", up)).join(rest))
    });
    let shorter = relative.filter(|relative| relative.as_os_str().len() < path.as_os_str().len());
    let short = shorter.unwrap_or_else(|| path.to_owned());
    let shown = short.to_string_lossy();
    if shown.chars().any(char::is_control) {
        shown.escape_debug().to_string()
    } else {
        shown.into_owned()
    }
}

/// Returns a build's output with or without its colors. Without colors, no `ESC` remains, not even from an unknown
/// sequence.
pub(super) fn colors(text: &str, keep: bool) -> Cow<'_, str> {
    if keep {
        return Cow::Borrowed(text);
    }
    match console::strip_ansi_codes(text) {
        plain if plain.contains('\x1b') => plain.replace('\x1b', "").into(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_removed() {
        assert_eq!(text("a\u{1b}[2Jb\r\nc"), "ab\nc");
        assert_eq!(text("\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m\u{1b}"), "warning");
        assert_eq!(path(Path::new("/w/a\nb"), Path::new("/w")), "a\\nb");
    }

    #[test]
    fn a_long_line_is_shortened_to_its_last_version() {
        let progress = "10 %\r".repeat(2000);
        assert_eq!(shortened(&progress), "10 %");
        assert_eq!(shortened(&format!("{progress}error: no")), "error: no");
        let long = "\u{65e5}".repeat(10_000);
        assert_eq!(shortened(&long).len(), 4095);
        assert_eq!(shortened("a\rb"), "a\rb");
    }

    #[test]
    fn a_path_inside_the_working_directory_is_shown_relative_to_it() {
        assert_eq!(path(Path::new("/w/src/a.rs"), Path::new("/w")), "src/a.rs");
        assert_eq!(path(Path::new("/v/a.rs"), Path::new("/w")), "/v/a.rs");
        let member = Path::new("/home/me/workspace/app");
        let path = |file| path(Path::new(file), member);
        assert_eq!(path("/home/me/workspace/shared/a.rs"), "../shared/a.rs");
        assert_eq!(path("/etc/app.conf"), "/etc/app.conf");
    }

    #[test]
    fn colors_are_kept_or_removed() {
        assert_eq!(colors("\u{1b}[31mred\u{1b}[0m", false), "red");
        assert_eq!(colors("\u{1b}[31mred", true), "\u{1b}[31mred");
    }

    #[test]
    fn fuzz_clean() {
        let examples: [&[u8]; 2] = [
            b"\x1b[1m\x1b[31merror\x1b[0m: x\n",
            b"\x1b]8;;http://a\x1b\\b\x1b]8;;\x1b\\",
        ];
        let words = [
            "\x1b[", "m", "\x1b]", "\x07", "\u{9b}", "\r", "\x1bP", "\x1b\\",
        ];
        crate::fuzz::fuzz("colors", &examples, &words, |input| {
            let raw = String::from_utf8_lossy(input);
            let printable = |one: char| !one.is_control() || one == '\n' || one == '\t';
            assert!(text(&raw).chars().all(printable), "{:?}", text(&raw));
            assert!(!colors(&raw, false).contains('\x1b'));
            let _ = colors(&raw, true);
        });
    }

    #[test]
    fn durations_are_short() {
        let cases = [
            (Duration::ZERO, "0ms"),
            (Duration::from_micros(240), "240µs"),
            (Duration::from_micros(31_900), "31ms"),
            (Duration::from_millis(999), "999ms"),
            (Duration::from_millis(1_040), "1.04s"),
            (Duration::from_millis(1_500), "1.5s"),
            (Duration::from_secs(10), "10s"),
            (Duration::from_millis(59_999), "59.99s"),
            (Duration::from_secs(60), "1m00s"),
            (Duration::from_secs(192), "3m12s"),
            (Duration::from_secs(7_500), "2h05m"),
        ];
        for (duration, expected) in cases {
            assert_eq!(Human(duration).to_string(), expected);
        }
    }
}
