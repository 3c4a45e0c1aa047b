use nix::sys::signal::Signal;

use super::values::{self, Wrong};

/// A rule, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// Which files.
    pub glob: String,
    /// What their changes do.
    pub action: OnAction,
}

/// What a change does, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnAction {
    /// Build and start
    Build,
    /// Start from the last build
    Restart,
    /// Send the program this signal
    Signal(Signal),
    /// Run this shell line
    Run(String),
    /// Nothing
    Ignore,
}

const WORDS: [&str; 5] = ["build", "restart", "signal:", "run:", "ignore"];

/// `GLOB=ACTION`. A glob may have a `=` in it, an action may too: the first after which an action stands counts.
pub(super) fn rule(text: &str) -> Result<On, Wrong> {
    let places = text.match_indices('=').map(|(at, _)| at);
    let action_at = |at: &usize| WORDS.iter().any(|word| text[at + 1..].starts_with(word));
    let mut places = places.collect::<Vec<_>>().into_iter();
    let at = places
        .clone()
        .find(action_at)
        .or_else(|| places.next_back());
    let Some((glob, action)) = at.map(|at| (&text[..at], &text[at + 1..])) else {
        return Err(Wrong::new(
            "a rule is a glob, a `=` and an action, as in `config/*.toml=signal:HUP`",
            None,
        ));
    };
    if glob.is_empty() {
        return Err(Wrong::new("there is no glob before the `=`", None));
    }
    Ok(On {
        glob: glob.to_owned(),
        action: parse(action)?,
    })
}

fn parse(text: &str) -> Result<OnAction, Wrong> {
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    match (word, rest) {
        ("build", "") => Ok(OnAction::Build),
        ("restart", "") => Ok(OnAction::Restart),
        ("ignore", "") => Ok(OnAction::Ignore),
        ("signal", rest) => values::signal(rest).map(OnAction::Signal),
        ("run", line) if !line.trim().is_empty() => Ok(OnAction::Run(line.to_owned())),
        _ => {
            let similarity = |known: &&str| strsim::jaro_winkler(known.trim_end_matches(':'), word);
            let nearest = WORDS
                .into_iter()
                .max_by(|one, other| similarity(one).total_cmp(&similarity(other)))
                .filter(|known| similarity(known) > 0.7)
                .map(|known| match known {
                    "signal:" => "signal:HUP".to_owned(),
                    "run:" => "run:COMMAND".to_owned(),
                    known => known.to_owned(),
                });
            Err(Wrong::new(
                "an action is `build`, `restart`, `signal:HUP`, `run:COMMAND` or `ignore`",
                nearest,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_as_people_type_them() {
        for (text, glob, action) in [
            ("*.sql=build", "*.sql", OnAction::Build),
            ("a=b/*=restart", "a=b/*", OnAction::Restart),
            (
                "config/*.toml=signal:hup",
                "config/*.toml",
                OnAction::Signal(Signal::SIGHUP),
            ),
            ("x=signal:10", "x", OnAction::Signal(Signal::SIGUSR1)),
            (
                "*.css=run:make A=build",
                "*.css",
                OnAction::Run("make A=build".into()),
            ),
            ("docs/**=ignore", "docs/**", OnAction::Ignore),
        ] {
            let expected = On {
                glob: glob.to_owned(),
                action,
            };
            assert_eq!(rule(text).expect(text), expected);
        }
        for text in [
            "",
            "x",
            "=build",
            "x=",
            "x=signal:",
            "x=signal:NO",
            "x=run: ",
            "x=restart:y",
        ] {
            rule(text).expect_err(text);
        }
        let wrong = rule("x=restrat").unwrap_err().to_string();
        assert!(wrong.contains("`restart`"), "{wrong}");
    }
}
