use std::ffi::OsString;
use std::path::Path;

use super::command_line::CargoRun;

/// Returns the hotrun command to use instead of a `cargo run` that hotrun does not recognize because it is wrapped in a
/// shell or in `env`. Returns `None` for any other command.
pub fn unwrapped(command: &[OsString]) -> Option<String> {
    let words: Option<Vec<&str>> = command.iter().map(|word| word.to_str()).collect();
    let mut words = words?;
    if let [shell, "-c", line] = words[..]
        && ["sh", "bash", "dash", "zsh"].contains(&Path::new(shell).file_name()?.to_str()?)
    {
        let is_plain = |letter: char| letter.is_alphanumeric() || "_-+=./:@, ".contains(letter);
        words = line
            .split_whitespace()
            .filter(|_| line.chars().all(is_plain))
            .collect();
    }
    let wrappers = words
        .iter()
        .take_while(|word| ["env", "exec"].contains(*word) || word.contains('='));
    let (wrappers, cargo) = words.split_at(wrappers.count());
    let run: Vec<OsString> = cargo.iter().map(OsString::from).collect();
    if run == command || CargoRun::parse(&run, Path::new("/"), |_, _| None).is_none() {
        return None;
    }
    // `-E` sets a variable for the program only, but those of cargo and rustc affect the build.
    let (mut build, mut program) = (String::new(), String::new());
    for pair in wrappers.iter().filter(|word| word.contains('=')) {
        match pair.starts_with("CARGO") || pair.starts_with("RUST") {
            true => build += &format!("{} ", quoted(pair)),
            false => program += &format!("-E {} ", quoted(pair)),
        }
    }
    let cargo: Vec<_> = cargo.iter().map(|word| quoted(word)).collect();
    Some(format!("{build}hotrun {program}-- {}", cargo.join(" ")))
}

/// Quotes a word for the shell, if necessary.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-+=./:@,".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_cargo_run_is_unwrapped() {
        for (command, expected) in [
            (
                &["env", "X=1", "cargo", "run"][..],
                Some("hotrun -E X=1 -- cargo run"),
            ),
            (&["sh", "-c", "cargo run"], Some("hotrun -- cargo run")),
            (
                &["/bin/sh", "-c", "exec cargo run -q"],
                Some("hotrun -- cargo run -q"),
            ),
            (
                &["bash", "-c", "RUST_LOG=a X=1 cargo +nightly r -- -p 1"],
                Some("RUST_LOG=a hotrun -E X=1 -- cargo +nightly r -- -p 1"),
            ),
            (
                &["env", "X=a b", "cargo", "run"],
                Some("hotrun -E 'X=a b' -- cargo run"),
            ),
            (&["env", "-i", "cargo", "run"], None),
            (&["sh", "-c", "cd x && cargo run"], None),
            (&["sh", "-c", "cargo build"], None),
            (&["sh", "-c", "X=$Y cargo run"], None),
            (&["sh", "run.sh"], None),
            (&["cargo", "run"], None),
            (&["env"], None),
        ] {
            let command: Vec<_> = command.iter().map(OsString::from).collect();
            assert_eq!(unwrapped(&command).as_deref(), expected, "{command:?}");
        }
    }
}
