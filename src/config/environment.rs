//! Parses `--env-file` files and `--env` values, and recognizes wrapper commands.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::error::Failure;

/// The name and the value of a variable.
pub(super) type Variable = (OsString, OsString);

/// Commands that start the program as a child process, so hotrun does not know the program's pid.
///
/// Shells (`sh -c`) may or may not replace themselves with the program, so they count as wrappers. `env`, `exec`,
/// `nice` and the like always replace themselves. `setsid` forks if it leads its process group, which it does under
/// hotrun; `sudo` and `doas` fork if they have a session to close; `strace` and the like trace a child process.
const WRAPPERS: &[&str] = &[
    "ash", "bash", "bun", "bunx", "bundle", "cargo", "dash", "deno", "doas", "fish", "flock", "go",
    "gradle", "just", "ksh", "ltrace", "make", "mvn", "nodemon", "npm", "npx", "pdm", "perf",
    "pipenv", "pnpm", "poetry", "rake", "runuser", "script", "setsid", "sh", "strace", "su",
    "sudo", "task", "time", "timeout", "tsx", "uv", "watch", "yarn", "zsh",
];

pub(super) fn is_wrapper(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| WRAPPERS.contains(&name))
}

/// An error's text, without its code (`(os error 2)`).
pub(super) fn reason(error: &io::Error, expected: &str) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return format!("no such {expected}");
    }
    let text = error.to_string().to_lowercase();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

/// Reads a dotenv file. It must be a regular file, because it is read at every start: a pipe (`<(…)` in a shell) would
/// be empty the second time, and opening a named pipe would block until it has a writer.
pub(super) fn read(path: &Path) -> Result<Vec<Variable>, String> {
    let unreadable = |error: io::Error| reason(&error, "file");
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("not a regular file (hotrun reads it again at every start)".into());
    }
    parse(&fs::read_to_string(path).map_err(unreadable)?)
}

fn parse(text: &str) -> Result<Vec<Variable>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let pairs = dotenvy::from_read_iter(text.as_bytes());
    let pairs = pairs.map(|pair| pair.map(|(name, value)| (name.into(), value.into())));
    pairs
        .collect::<Result<_, _>>()
        .map_err(|error| explain(text, &error))
}

fn explain(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(bad, _) = error else {
        return error.to_string();
    };
    let first = bad.lines().next().unwrap_or_default();
    let index = text.lines().position(|line| line.starts_with(first));
    format!(
        "line {} is not `NAME=VALUE` (quote a value with spaces)",
        index.unwrap_or(0) + 1
    )
}

/// The most bytes that a variable may have with its name, `=` and the final zero byte (`MAX_ARG_STRLEN`, `execve(2)`).
/// With a longer one, no program can be started.
const LONGEST: usize = 128 * 1024;

/// Turns keys into variables. Also returns the keys that are not names of variables, or whose values contain a zero byte
/// or are too long.
pub(super) fn from_keys(pairs: Vec<(Vec<u8>, Vec<u8>)>) -> (Vec<Variable>, Vec<String>) {
    let (mut variables, mut unusable) = (Vec::new(), Vec::new());
    for (key, value) in pairs {
        let is_name = !key.is_empty()
            && key
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte));
        let is_value = !value.contains(&0) && key.len() + value.len() + 2 <= LONGEST;
        match is_name && is_value {
            true => variables.push((OsString::from_vec(key), OsString::from_vec(value))),
            false => unusable.push(String::from_utf8_lossy(&key).into_owned()),
        }
    }
    (variables, unusable)
}

/// Parses an `--env` value.
pub(super) fn pair(typed: &OsStr) -> Result<Variable, Failure> {
    let mut parts = typed.as_bytes().splitn(2, |byte| *byte == b'=');
    match (parts.next(), parts.next()) {
        (Some(name @ [_, ..]), Some(value)) => {
            let [name, value] = [name, value].map(|part| OsStr::from_bytes(part).to_owned());
            Ok((name, value))
        }
        _ => Err(Failure::usage(format!(
            "invalid value `{}` for `--env`: write `NAME=VALUE`",
            typed.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let text_of = |part: OsString| part.into_string().unwrap();
        let pairs = parse(text).unwrap().into_iter();
        pairs
            .map(|(name, value)| (text_of(name), text_of(value)))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_dotenv_file_is_parsed() {
        let text = "# comment\n\nexport A=1\nB=\"two words\"\r\nC='$A'\nD=${A}x # more\nE=\nF=a=b";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$A"),
            ("D", "1x"),
            ("E", ""),
            ("F", "a=b"),
        ];
        assert_eq!(pairs(text), owned(&expected));
        assert_eq!(
            pairs("\u{feff}A=1\n"),
            owned(&[("A", "1")]),
            "a byte order mark is skipped"
        );
    }

    #[test]
    fn the_error_for_an_invalid_line_contains_no_value() {
        let error = parse("A=1\nPASSWORD=hunter 2 'x\n").unwrap_err();
        assert!(
            error.starts_with("line 2 is not") && !error.contains("hunter"),
            "{error}"
        );
    }

    #[test]
    fn keys_become_variables_if_they_can() {
        let pair = |key: &str, value: &[u8]| (key.as_bytes().to_vec(), value.to_vec());
        let long = vec![b'x'; LONGEST - 3];
        let all = [
            ("A_1", &b"x=\xff"[..]),
            ("b.c-d", b""),
            ("db/host", b"x"),
            ("", b"x"),
            ("Z", b"\0"),
            ("C", &long),
            ("CC", &long),
        ];
        let (variables, unusable) = from_keys(all.map(|(key, value)| pair(key, value)).to_vec());
        let first = ("A_1".into(), OsString::from_vec(b"x=\xff".to_vec()));
        let longest = ("C".into(), OsString::from_vec(long));
        assert_eq!(variables, [first, ("b.c-d".into(), "".into()), longest]);
        assert_eq!(unusable, ["db/host", "", "Z", "CC"]);
    }

    #[test]
    fn a_pair_needs_a_name_and_an_equals_sign() {
        let typed = OsString::from_vec(b"A=b=\xff".to_vec());
        let expected = ("A".into(), OsString::from_vec(b"b=\xff".to_vec()));
        assert_eq!(pair(&typed).unwrap(), expected);
        for typed in ["A", "=1"] {
            let failure = pair(OsStr::new(typed)).unwrap_err();
            assert!(
                failure.message().ends_with("write `NAME=VALUE`"),
                "{failure}"
            );
        }
    }

    #[test]
    fn commands_that_start_the_program_as_a_child_are_wrappers() {
        for program in [
            "npm", "/bin/sh", "sudo", "nodemon", "setsid", "time", "timeout", "strace",
        ] {
            assert!(is_wrapper(OsStr::new(program)), "{program}");
        }
        for program in [
            "env",
            "nice",
            "nohup",
            "stdbuf",
            "taskset",
            "/srv/target/debug/app",
            "python",
        ] {
            assert!(!is_wrapper(OsStr::new(program)), "{program}");
        }
    }
}
