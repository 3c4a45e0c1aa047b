use console::strip_ansi_codes;

/// The prefixes of cargo's other progress bars, which show downloads.
const DOWNLOADS: [&str; 3] = ["Fetch [", "Updating [", "Downloading "];

/// Removes progress bars from the start of a line of cargo's standard error. Returns the numbers of the last bar that
/// counts crates: how many are built, and how many there are.
///
/// If progress bars are enabled (`term.progress.when` in "Configuration" in the Cargo book), cargo writes them before
/// the next line, each followed by a carriage return: `    Building [=====>     ] 12/57: syn, serde`.
pub fn take_progress(line: &mut Vec<u8>) -> Option<(usize, usize)> {
    let mut found = None;
    while let Some(end) = line.iter().position(|byte| *byte == b'\r') {
        let text = String::from_utf8_lossy(&line[..end]);
        let text = strip_ansi_codes(&text);
        let text = text.trim_start();
        match counts(text) {
            Some(counts) => found = Some(counts),
            None if DOWNLOADS.iter().any(|begin| text.starts_with(begin)) => {}
            None => break,
        }
        line.drain(..=end);
    }
    found
}

fn counts(text: &str) -> Option<(usize, usize)> {
    let (_, rest) = text.strip_prefix("Building [")?.split_once("] ")?;
    let (done, rest) = rest.split_once('/')?;
    let all: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((done.trim().parse().ok()?, all.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &[u8]) -> (Option<(usize, usize)>, String) {
        let mut line = line.to_vec();
        let found = take_progress(&mut line);
        (found, String::from_utf8(line).unwrap())
    }

    #[test]
    fn progress_bars_are_removed_from_their_line() {
        let two =
            b"    Building [    ] 0/2: itoa    \r    Building [=> ] 1/12: p(bin)  \r   Compiling p";
        assert_eq!(taken(two), (Some((1, 12)), "   Compiling p".into()));
        let coloured = b"\x1b[1m\x1b[96m    Building\x1b[0m [=> ] 3/9\r";
        assert_eq!(taken(coloured), (Some((3, 9)), String::new()));
    }

    #[test]
    fn download_bars_are_removed() {
        let fetched =
            b"       Fetch [=>    ] 4.00%, 1.5MiB/s   \r\x1b[1m Downloading\x1b[0m 3 crates   \r";
        let then = |line: &[u8]| taken(&[fetched, line].concat());
        assert_eq!(then(b""), (None, String::new()));
        assert_eq!(
            then(b"error: failed to get"),
            (None, "error: failed to get".into())
        );
        let building = b"    Building [=> ] 1/12: p\r   Compiling p";
        assert_eq!(then(building), (Some((1, 12)), "   Compiling p".into()));
    }

    #[test]
    fn other_lines_are_unchanged() {
        for line in [
            "   Compiling p",
            "abc\rdef",
            "Building [x] 1/2: half a bar",
            "Building [x] a/b\r",
            "Fetch [x] half a bar",
            "  Downloading crates ...",
        ] {
            assert_eq!(taken(line.as_bytes()), (None, line.into()));
        }
    }

    #[test]
    fn fuzz_progress() {
        let example = b"    Building [=====>   ] 12/34: a, b\r\x1b[K";
        crate::fuzz::fuzz(
            "progress",
            &[example],
            &["\r", "\x1b[K", "/", "Building ["],
            |input| {
                let mut line = input.to_vec();
                let _ = take_progress(&mut line);
                assert!(line.len() <= input.len());
            },
        );
    }
}
