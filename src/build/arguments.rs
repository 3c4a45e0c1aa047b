use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Options of `cargo` and `cargo run` that always have a value, which may be the next argument.
const VALUED: &[&str] = &[
    "-C",
    "-F",
    "-Z",
    "-j",
    "--artifact-dir",
    "--color",
    "--config",
    "--features",
    "--jobs",
    "--lockfile-path",
    "--manifest-path",
    "--message-format",
    "--profile",
    "--target-dir",
];

/// Options with an optional value: the next argument is the value unless it starts with `-`. Without a value, cargo
/// lists the possible values.
const OPTIONAL: &[&str] = &["-p", "--bin", "--example", "--package", "--target"];

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The name with its dashes: `-p`, `--bin`.
    pub name: String,
    /// The value, if any.
    pub value: Option<OsString>,
}

/// A part of a cargo command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// Options (`-rq` is two), and the arguments that contain them.
    Flags(Vec<Flag>, &'a [OsString]),
    /// Anything else: the subcommand, or the first argument of the program.
    Word(&'a OsStr),
    /// `--`
    Separator,
}

/// Splits a cargo command line.
///
/// Unknown options are assumed to have no value. That is safe, because hotrun passes on or drops whole arguments and
/// cargo parses them again.
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    rest: &'a [OsString],
}

impl<'a> Arguments<'a> {
    /// Starts at the first argument.
    pub const fn new(arguments: &'a [OsString]) -> Self {
        Self { rest: arguments }
    }

    /// The arguments that have not been returned yet.
    pub const fn rest(&self) -> &'a [OsString] {
        self.rest
    }

    fn take(&mut self, count: usize) -> &'a [OsString] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn long(&mut self, argument: &'a OsStr) -> Argument<'a> {
        let bytes = argument.as_bytes();
        let (name, inline) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(os_string(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        self.flags(Vec::new(), name, inline)
    }

    /// `-p x`, `-px`, `-p=x`, `-rq`, `-vp x`.
    fn short(&mut self, argument: &'a OsStr) -> Argument<'a> {
        let bytes = argument.as_bytes();
        let mut before = Vec::new();
        for (at, byte) in bytes.iter().enumerate().skip(1) {
            let name = format!("-{}", char::from(*byte));
            let rest = &bytes[at + 1..];
            let last = rest.is_empty();
            if last || takes_value(&name) {
                let inline = rest.strip_prefix(b"=").unwrap_or(rest);
                return self.flags(before, name, (!last).then(|| os_string(inline)));
            }
            before.push(Flag { name, value: None });
        }
        self.flags(before, "-".to_owned(), None)
    }

    fn flags(
        &mut self,
        mut flags: Vec<Flag>,
        name: String,
        inline: Option<OsString>,
    ) -> Argument<'a> {
        let separate = inline.is_none() && self.value_follows(&name);
        let arguments = self.take(if separate { 2 } else { 1 });
        let value = inline.or_else(|| separate.then(|| arguments[1].clone()));
        flags.push(Flag { name, value });
        Argument::Flags(flags, arguments)
    }

    fn value_follows(&self, name: &str) -> bool {
        let Some(next) = self.rest.get(1) else {
            return false;
        };
        VALUED.contains(&name) || OPTIONAL.contains(&name) && !next.as_bytes().starts_with(b"-")
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = Argument<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let argument = self.rest.first()?;
        let bytes = argument.as_bytes();
        Some(if bytes == b"--" {
            self.take(1);
            Argument::Separator
        } else if bytes.starts_with(b"--") {
            self.long(argument)
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            self.short(argument)
        } else {
            self.take(1);
            Argument::Word(argument)
        })
    }
}

fn takes_value(name: &str) -> bool {
    VALUED.contains(&name) || OPTIONAL.contains(&name)
}

fn os_string(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes options as `name=value/arguments` and words as they are.
    fn split(line: &str) -> Vec<String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Arguments::new(&arguments)
            .map(|argument| show(&argument))
            .collect()
    }

    fn show(argument: &Argument<'_>) -> String {
        match argument {
            Argument::Flags(flags, arguments) => {
                let flags: Vec<String> = flags
                    .iter()
                    .map(|flag| match &flag.value {
                        Some(value) => format!("{}={}", flag.name, value.display()),
                        None => flag.name.clone(),
                    })
                    .collect();
                format!("{}/{}", flags.join(","), arguments.len())
            }
            Argument::Word(word) => word.display().to_string(),
            Argument::Separator => "--".to_owned(),
        }
    }

    #[test]
    fn options_have_their_values_in_every_syntax() {
        for (line, expected) in [
            ("--bin x", vec!["--bin=x/2"]),
            ("--bin=x y", vec!["--bin=x/1", "y"]),
            ("--bin --release", vec!["--bin/1", "--release/1"]),
            ("-p x", vec!["-p=x/2"]),
            ("-px", vec!["-p=x/1"]),
            ("-p=x", vec!["-p=x/1"]),
            ("-rq run", vec!["-r,-q/1", "run"]),
            ("-vp x y", vec!["-v,-p=x/2", "y"]),
            ("--config -x", vec!["--config=-x/2"]),
            ("--config", vec!["--config/1"]),
            ("--release -- --bin", vec!["--release/1", "--", "--bin/1"]),
            ("-", vec!["-"]),
            (
                "-Zunstable-options -C dir run",
                vec!["-Z=unstable-options/1", "-C=dir/2", "run"],
            ),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }
}
