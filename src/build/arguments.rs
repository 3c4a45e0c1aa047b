use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Options of `cargo` and `cargo run` that always take a value, which may be the next argument.
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

/// Options whose value may be left out: what follows is the value unless it begins with `-`. Cargo then
/// lists what there is to choose from.
const OPTIONAL: &[&str] = &["-p", "--bin", "--example", "--package", "--target"];

/// One option, and its value if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As in cargo's help, dashes included: `-p`, `--bin`.
    pub name: String,
    /// The value, however it was written.
    pub value: Option<OsString>,
}

/// The next piece of a cargo command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Options (several for `-rq`) and the arguments that they were written in.
    Flags(Vec<Flag>, &'a [OsString]),
    /// Anything else: the subcommand, or the first of the program's own arguments.
    Word(&'a OsStr),
    /// `--`
    Separator,
}

/// Takes a cargo command line apart, as far as that is needed to find its pieces.
///
/// An option that is not known is taken to have no value. That errs on the safe side: arguments are
/// only ever passed on or left out as whole pieces, and cargo reads them again.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a [OsString],
}

impl<'a> Pieces<'a> {
    /// Of these arguments.
    pub const fn new(arguments: &'a [OsString]) -> Self {
        Self { rest: arguments }
    }

    /// What has not been taken yet.
    pub const fn rest(&self) -> &'a [OsString] {
        self.rest
    }

    fn take(&mut self, count: usize) -> &'a [OsString] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn long(&mut self, argument: &'a OsStr) -> Piece<'a> {
        let bytes = argument.as_bytes();
        let (name, inline) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (&bytes[..at], Some(os_string(&bytes[at + 1..]))),
            None => (bytes, None),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        self.flags(Vec::new(), name, inline)
    }

    /// `-p x`, `-px`, `-p=x`, `-rq`, `-vp x`.
    fn short(&mut self, argument: &'a OsStr) -> Piece<'a> {
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

    fn flags(&mut self, mut flags: Vec<Flag>, name: String, inline: Option<OsString>) -> Piece<'a> {
        let separate = inline.is_none() && self.value_follows(&name);
        let arguments = self.take(if separate { 2 } else { 1 });
        let value = inline.or_else(|| separate.then(|| arguments[1].clone()));
        flags.push(Flag { name, value });
        Piece::Flags(flags, arguments)
    }

    fn value_follows(&self, name: &str) -> bool {
        let Some(next) = self.rest.get(1) else {
            return false;
        };
        VALUED.contains(&name) || OPTIONAL.contains(&name) && !next.as_bytes().starts_with(b"-")
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let argument = self.rest.first()?;
        let bytes = argument.as_bytes();
        Some(if bytes == b"--" {
            self.take(1);
            Piece::Separator
        } else if bytes.starts_with(b"--") {
            self.long(argument)
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            self.short(argument)
        } else {
            self.take(1);
            Piece::Word(argument)
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

    /// Writes the pieces as `name=value`, words as they are, one argument list a piece.
    fn pieces(line: &str) -> Vec<String> {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Pieces::new(&arguments).map(|piece| show(&piece)).collect()
    }

    fn show(piece: &Piece<'_>) -> String {
        match piece {
            Piece::Flags(flags, arguments) => {
                let flags: Vec<String> = flags
                    .iter()
                    .map(|flag| match &flag.value {
                        Some(value) => format!("{}={}", flag.name, value.display()),
                        None => flag.name.clone(),
                    })
                    .collect();
                format!("{}/{}", flags.join(","), arguments.len())
            }
            Piece::Word(word) => word.display().to_string(),
            Piece::Separator => "--".to_owned(),
        }
    }

    #[test]
    fn options_take_their_values_however_they_are_written() {
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
            assert_eq!(pieces(line), expected, "{line}");
        }
    }
}
