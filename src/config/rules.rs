//! What changes of some files do.

use std::path::Path;

use crate::cli::{Cli, On, OnAction};
use crate::error::Failure;
use crate::watch::{Rule, RuleAction};

/// Those that go without saying first: what the user says wins.
pub(super) fn all(cli: &Cli, workdir: &Path) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    // Who says what to watch means nothing else.
    if cli.watch.is_empty() {
        rules.push(Rule::file(workdir.join(".env"), RuleAction::Restart));
    }
    // It is read at every start, so a start is what its changes need.
    let env_file = cli.env_file.iter().map(|file| workdir.join(file));
    rules.extend(env_file.map(|file| Rule::file(file, RuleAction::Restart)));
    for On { glob, action } in &cli.on {
        let rule = Rule::new(workdir, glob, meant(action));
        rules.push(rule.map_err(|error| Failure::usage(format!("`--on`: {error}")))?);
    }
    Ok(rules.iter().map(Rule::normalised).collect())
}

fn meant(action: &OnAction) -> RuleAction {
    match action {
        OnAction::Build => RuleAction::Build,
        OnAction::Restart => RuleAction::Restart,
        OnAction::Signal(signal) => RuleAction::Signal(*signal as i32),
        OnAction::Run(line) => RuleAction::Run(line.clone()),
        OnAction::Ignore => RuleAction::Ignore,
    }
}
