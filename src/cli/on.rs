use super::values;
use crate::value::InvalidValue;
use crate::watch::RuleAction;

/// A value of `--on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRule {
    /// Matches the files.
    pub glob: String,
    /// What to do when they change.
    pub action: RuleAction,
}

const ACTIONS: [&str; 5] = ["build", "restart", "signal:", "run:", "ignore"];

/// Parses `GLOB=ACTION`. Both may contain a `=`, so the first one that is followed by an action separates them.
pub(super) fn rule(text: &str) -> Result<OnRule, InvalidValue> {
    let starts_action = |at: &usize| {
        let rest = &text[at + 1..];
        ACTIONS.iter().any(|action| rest.starts_with(action))
    };
    let places: Vec<usize> = text.match_indices('=').map(|(at, _)| at).collect();
    let separator = places.iter().find(|at| starts_action(at));
    let Some(&at) = separator.or(places.last()) else {
        let reason = "a rule is a glob, a `=` and an action, as in `config/*.toml=signal:HUP`";
        return Err(InvalidValue::new(reason));
    };
    if at == 0 {
        return Err(InvalidValue::new("there is no glob before the `=`"));
    }
    Ok(OnRule {
        glob: text[..at].to_owned(),
        action: action(&text[at + 1..])?,
    })
}

fn action(text: &str) -> Result<RuleAction, InvalidValue> {
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    match (word, rest) {
        ("build", "") => Ok(RuleAction::Build),
        ("restart", "") => Ok(RuleAction::Restart),
        ("ignore", "") => Ok(RuleAction::Ignore),
        ("signal", name) => values::signal(name).map(|signal| RuleAction::Signal(signal as i32)),
        ("run", line) if !line.trim().is_empty() => Ok(RuleAction::Run(line.to_owned())),
        _ => Err(InvalidValue::new(
            "an action is `build`, `restart`, `signal:HUP`, `run:COMMAND` or `ignore`",
        )
        .suggest(nearest(word))),
    }
}

fn nearest(word: &str) -> Option<String> {
    let similarity = |known: &&str| strsim::jaro_winkler(known.trim_end_matches(':'), word);
    let nearest = ACTIONS
        .into_iter()
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)))
        .filter(|known| similarity(known) > 0.7);
    nearest.map(|known| match known {
        "signal:" => "signal:HUP".to_owned(),
        "run:" => "run:COMMAND".to_owned(),
        known => known.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_a_glob_and_an_action() {
        for (text, glob, action) in [
            ("*.sql=build", "*.sql", RuleAction::Build),
            ("a=b/*=restart", "a=b/*", RuleAction::Restart),
            (
                "config/*.toml=signal:hup",
                "config/*.toml",
                RuleAction::Signal(libc::SIGHUP),
            ),
            ("x=signal:10", "x", RuleAction::Signal(10)),
            (
                "*.css=run:make A=build",
                "*.css",
                RuleAction::Run("make A=build".into()),
            ),
            ("docs/**=ignore", "docs/**", RuleAction::Ignore),
        ] {
            let glob = glob.to_owned();
            assert_eq!(rule(text).expect(text), OnRule { glob, action });
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
        let error = rule("x=restrat").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("restart"));
    }
}
