//! Checks the vocabulary: terms that earlier versions used, and phrases that read as translated, must not come back.

use regex::Regex;

use crate::files::{Source, root, rust_files};

/// Words that nobody outside the project would understand, and what to write instead.
const WORDS: &[(&str, &str)] = &[
    (r"slots?", "listener"),
    (r"disown(s|ed)?", "orphan"),
    (r"rosters?", "reuseport index"),
    (r"census", "connection owners"),
    (r"strays?", "orphan"),
    (r"lineage", "subreaper"),
    (r"(last|its) wish(es)?|wish(es|ed)?", "request"),
    (r"attendants?", "process monitor"),
    (r"remed(y|ies)", "hint"),
    (r"relay(s|ed|ing)?", "forward"),
    (r"sweeper", "reaper"),
];

/// Phrases that read as translated, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    (r"whoever", "a client, a process"),
    (r"(is|are|was|were) told", "is reported, is notified"),
    (r"who(ever)? (connects|waits|asks|comes)", "a client that …"),
    (r"of its own accord", "itself"),
    (r"anew", "again"),
    (r"how-many", "which"),
    (r"nobody serves", "no generation is live"),
    (r"so (much|many|long) of", "as much"),
    (r"is none (of|that)", "is not"),
];

type Rules = Vec<(Regex, &'static str)>;

fn rules(list: &[(&str, &'static str)]) -> Rules {
    let rule = |word| Regex::new(&format!(r"(?i)\b(?:{word})\b")).unwrap();
    list.iter()
        .map(|(word, better)| (rule(word), *better))
        .collect()
}

fn found(text: &str, rules: &Rules) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        // Parts of names count as words.
        let line = line.replace('_', " ");
        for (rule, better) in rules {
            if let Some(word) = rule.find(&line) {
                found.push((at + 1, format!("`{}`: {better}", word.as_str())));
            }
        }
    }
    found
}

fn texts() -> Vec<Source> {
    let mut all = rust_files("src");
    all.extend(rust_files("tests"));
    all.retain(|source| !source.path.ends_with("tidy/words.rs"));
    for name in ["README.md", ".github/CONTRIBUTING.md"] {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        all.push(Source { path, text });
    }
    for entry in std::fs::read_dir(root().join("src/guide")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        all.push(Source { path, text });
    }
    all
}

#[test]
fn the_old_vocabulary_is_gone() {
    let rules = rules(&[WORDS, PHRASES].concat());
    let mut wrong = Vec::new();
    for source in texts() {
        let places = found(&source.text, &rules).into_iter();
        wrong.extend(places.map(|(at, what)| format!("{}:{at}: {what}", source.name())));
    }
    assert!(
        wrong.is_empty(),
        "{} places:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_word_is_found_inside_a_name() {
    let (words, phrases) = (rules(WORDS), rules(PHRASES));
    assert_eq!(found("let x = open_slot();", &words).len(), 1);
    assert_eq!(found("// a slotted line", &words).len(), 0);
    assert_eq!(found("/// It is told so.", &phrases).len(), 1);
}
