use std::path::Path;

use crate::cli::{Cli, OnRule};
use crate::error::Failure;
use crate::watch::{Rule, RuleAction};

/// The default rules, then those of `--on`. The last matching rule applies.
pub(super) fn all(cli: &Cli, workdir: &Path) -> Result<Vec<Rule>, Failure> {
    let mut rules = Vec::new();
    // `--watch` replaces all that is watched by default.
    if cli.watch.is_empty() {
        rules.push(Rule::file(workdir.join(".env"), RuleAction::Restart));
    }
    // The file is read at every start.
    let env_file = cli.env_file.iter().map(|file| workdir.join(file));
    rules.extend(env_file.map(|file| Rule::file(file, RuleAction::Restart)));
    for OnRule { glob, action } in &cli.on {
        let rule = Rule::new(workdir, glob, action.clone());
        rules.push(rule.map_err(|error| Failure::usage(format!("`--on`: {error}")))?);
    }
    Ok(rules.iter().map(Rule::normalised).collect())
}
