use std::ffi::OsString;
use std::path::Path;

use super::command_line::CargoRun;

/// Returns the hotrun command to use instead of a `cargo run` that hotrun does not recognize because it is wrapped in a
/// shell or in `env`. Returns `None` for any other command, and if a word needs quotes.
pub fn unwrapped(command: &[OsString]) -> Option<String> {
    let words: Option<Vec<&str>> = command.iter().map(|word| word.to_str()).collect();
    let mut words = words?;
    if let [shell, "-c", line] = words[..]
        && ["sh", "bash", "dash", "zsh"].contains(&Path::new(shell).file_name()?.to_str()?)
    {
        words = line.split_whitespace().collect();
    }
    let is_plain = |letter: char| letter.is_alphanumeric() || "_-+=./:@,".contains(letter);
    let wrappers = words
        .iter()
        .take_while(|word| ["env", "exec"].contains(*word) || word.contains('='));
    let (wrappers, cargo) = words.split_at(wrappers.count());
    let run: Vec<OsString> = cargo.iter().map(OsString::from).collect();
    let is_wrapped = run != command && words.iter().all(|word| word.chars().all(is_plain));
    if !is_wrapped || CargoRun::parse(&run, Path::new("/"), |_, _| None).is_none() {
        return None;
    }
    // The build and the program get hotrun's environment.
    let variables = wrappers.iter().filter(|word| word.contains('='));
    let variables: String = variables.map(|pair| format!("{pair} ")).collect();
    Some(format!("{variables}hotrun -- {}", cargo.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_cargo_run_is_unwrapped() {
        for (command, expected) in [
            (
                &["env", "X=1", "cargo", "run"][..],
                Some("X=1 hotrun -- cargo run"),
            ),
            (&["sh", "-c", "cargo run"], Some("hotrun -- cargo run")),
            (
                &["/bin/sh", "-c", "exec cargo run -q"],
                Some("hotrun -- cargo run -q"),
            ),
            (
                &["bash", "-c", "RUST_LOG=a X=1 cargo +nightly r -- -p 1"],
                Some("RUST_LOG=a X=1 hotrun -- cargo +nightly r -- -p 1"),
            ),
            (&["env", "X=a b", "cargo", "run"], None),
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
