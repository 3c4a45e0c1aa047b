use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Config, reason};
use crate::error::Failure;

/// Why the file of `--env-file` can't be used. The message contains no values, because they are often secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFileError {
    path: PathBuf,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Unreadable(String),
    NotRegular,
    InvalidLine(String),
}

impl EnvFileError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self.problem {
            Problem::Unreadable(_) => "the path is relative to the directory of `--workdir`",
            Problem::NotRegular => {
                "use a regular file: it is read again at every start, and a pipe can be read only once"
            }
            Problem::InvalidLine(_) => {
                "write each line as `NAME=VALUE`, and quote a value with spaces"
            }
        }
    }
}

impl fmt::Display for EnvFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "cannot read `{path}` of `--env-file`: ")?;
        match &self.problem {
            Problem::Unreadable(what) | Problem::InvalidLine(what) => f.write_str(what),
            Problem::NotRegular => f.write_str("not a regular file"),
        }
    }
}

impl std::error::Error for EnvFileError {}

type Pair = (OsString, OsString);

impl Config {
    /// The environment of the program. `--env` overrides `inherited`, which overrides the file of `--env-file`. The
    /// file is read at each call. Variables that a supervisor has set for hotrun itself are removed later, by
    /// [`process`](crate::process).
    ///
    /// # Errors
    ///
    /// The file can't be read, or a line is invalid.
    pub fn environment(
        &self,
        inherited: impl IntoIterator<Item = Pair>,
    ) -> Result<Vec<Pair>, EnvFileError> {
        let mut environment: Vec<Pair> = inherited.into_iter().collect();
        for (name, value) in self.read_env_file()? {
            if !environment.iter().any(|(known, _)| *known == name) {
                environment.push((name, value));
            }
        }
        for (name, value) in &self.env {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone()));
        }
        Ok(environment)
    }

    /// Reports an unusable file as a usage error.
    pub(super) fn check_env_file(&self) -> Result<(), Failure> {
        match self.read_env_file() {
            Ok(_) => Ok(()),
            Err(error) => Err(Failure::usage(error.to_string()).hint(error.hint())),
        }
    }

    fn read_env_file(&self) -> Result<Vec<Pair>, EnvFileError> {
        let Some(path) = &self.env_file else {
            return Ok(Vec::new());
        };
        read_regular(path)
            .and_then(|text| parse(&text).map_err(Problem::InvalidLine))
            .map_err(|problem| EnvFileError {
                path: path.clone(),
                problem,
            })
    }
}

/// Reads a file that can be read again. A pipe (`<(…)` in a shell) would be empty the second time, and opening a
/// named pipe would block until it has a writer.
fn read_regular(path: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(reason(&error, "file"));
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Problem::NotRegular);
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Parses a dotenv file. A later line overrides an earlier one with the same name.
fn parse(text: &str) -> Result<Vec<Pair>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut pairs: Vec<Pair> = Vec::new();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = item.map_err(|error| explain(text, &error))?;
        pairs.retain(|(known, _)| *known.as_os_str() != *name);
        pairs.push((name.into(), value.into()));
    }
    Ok(pairs)
}

fn explain(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(bad, _) = error else {
        return error.to_string();
    };
    let first = bad.lines().next().unwrap_or_default();
    match text.lines().position(|line| line.starts_with(first)) {
        Some(index) => format!("line {} is invalid", index + 1),
        None => "a line is invalid".to_owned(),
    }
}

/// Parses a value of `--env`.
pub(super) fn pair(typed: &OsStr) -> Result<Pair, Failure> {
    let bytes = typed.as_bytes();
    let Some(equals) = bytes.iter().position(|byte| *byte == b'=') else {
        let name = typed.display();
        return Err(Failure::usage(format!(
            "invalid value `{name}` for `--env <NAME=VALUE>`: there is no `=`"
        ))
        .hint(format!("`{name}=` sets an empty value")));
    };
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    if name.is_empty() {
        return Err(Failure::usage(format!(
            "invalid value `{}` for `--env <NAME=VALUE>`: the name is empty",
            typed.display()
        )));
    }
    Ok((
        OsString::from_vec(name.to_vec()),
        OsString::from_vec(value.to_vec()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let text_of = |part: OsString| part.into_string().unwrap();
        parse(text)
            .unwrap()
            .into_iter()
            .map(|(name, value)| (text_of(name), text_of(value)))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
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
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(pairs("\u{feff}A=1\n"), owned(&[("A", "1")]));
    }

    #[test]
    fn a_later_line_overrides_an_earlier_one() {
        assert_eq!(pairs("A=1\nA=2\n"), owned(&[("A", "2")]));
    }

    #[test]
    fn the_error_for_an_invalid_line_contains_no_value() {
        let error = parse("A=1\nPASSWORD=hunter 2 'x\n").unwrap_err();
        assert_eq!(error, "line 2 is invalid");
    }

    #[test]
    fn a_value_may_contain_an_equals_sign_and_any_bytes() {
        let typed = OsString::from_vec(b"A=b=\xff".to_vec());
        assert_eq!(
            pair(&typed).unwrap(),
            ("A".into(), OsString::from_vec(b"b=\xff".to_vec()))
        );
    }

    #[test]
    fn a_pair_needs_a_name_and_an_equals_sign() {
        let failure = pair(OsStr::new("A")).unwrap_err();
        assert_eq!(
            failure.message(),
            "invalid value `A` for `--env <NAME=VALUE>`: there is no `=`"
        );
        assert!(
            pair(OsStr::new("=1"))
                .unwrap_err()
                .message()
                .ends_with("the name is empty")
        );
    }
}
