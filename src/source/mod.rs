//! Sources (`--source`): what reports changes that are not changes to files.
//!
//! This module decides when a source has changed, and does not act on it: the driver passes the change to
//! [`watch`](crate::watch), where it settles together with the changes to files.

mod continuity;
pub mod etcd;

pub use continuity::{Continuity, pause};

use etcd::EtcdUrl;

/// A value of `--source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name, without the `@`.
    pub name: String,
    /// Where the changes come from.
    pub origin: Origin,
}

/// Where the changes of a source come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This shell command prints a line for each change.
    Command(String),
    /// These keys change.
    Etcd(EtcdUrl),
}

impl Source {
    /// Parses `NAME=COMMAND` or `NAME=etcd://HOST:PORT/PREFIX`.
    ///
    /// # Errors
    ///
    /// The name or the command is missing, the URL is invalid, or the name contains other characters than letters,
    /// digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, command) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() || command.trim().is_empty() {
            return Err(
                "a source must be a name, an `=` and a command, as in `cfg=etcdctl watch --prefix /app/`"
                    .into(),
            );
        }
        if !is_name(name) {
            return Err(
                "the name of a source consists of letters, digits, `-`, `_` and `.`, as in `cfg`"
                    .into(),
            );
        }
        let origin = match EtcdUrl::parse(command.trim()) {
            Some(url) => Origin::Etcd(url.map_err(|error| {
                format!("{error}; for other sources, use a command, as in `{name}=etcdctl watch --prefix /app/`")
            })?),
            None => Origin::Command(command.to_owned()),
        };
        let name = name.to_owned();
        Ok(Self { name, origin })
    }
}

/// Whether a source may have this name.
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_name_and_a_command() {
        let parsed = Source::parse("my.cfg-1=watch a=b").unwrap();
        assert_eq!(parsed.name, "my.cfg-1");
        assert_eq!(parsed.origin, Origin::Command("watch a=b".into()));
        let parsed = Source::parse("cfg=curl -N http://localhost/events").unwrap();
        assert!(matches!(parsed.origin, Origin::Command(_)));
        let parsed = Source::parse("cfg=etcd://etcd/app/").unwrap();
        assert!(matches!(parsed.origin, Origin::Etcd(_)));
        for text in [
            "a=etcd://",
            "a=https://etcd/app/",
            "a=http://localhost:2379/app/",
            "",
            "x",
            "x=",
            "x= ",
            "=x",
            "a b=x",
            "@a=x",
            "a/b=x",
            "a\n=x",
        ] {
            Source::parse(text).expect_err(text);
        }
    }
}
