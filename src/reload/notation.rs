//! Events, effects and notices as text, for `--log FILE` and for the traces in the tests: one line for each event.
//!
//! ```text
//! time since the start  event  ->  effects | notices
//! 12.5ms begin -> build 1 | building 1 begin
//! 4.2s build-ended 1 built a1 kept -> start 1 a1 | built 1 4.1875s, starting 1 begin
//! ```
//!
//! The words are the names in [`Event`], [`Effect`](super::Effect) and [`Notice`](super::Notice). If an event, effect
//! or notice concerns one generation, the number after the first word is that of the generation.

use std::fmt::Debug;

use super::{Event, Reaction, Time};

/// The line for an event that happened at `now` and the machine's reaction to it.
pub fn line(now: Time, event: &Event, reaction: &Reaction) -> String {
    let (now, event) = (now.0, text(event));
    format!("{now:?} {event} -> {}", reaction_text(reaction))
}

/// `effect, effect | notice, notice`, or `nothing`.
pub fn reaction_text(reaction: &Reaction) -> String {
    let effects: Vec<String> = reaction.effects.iter().map(text).collect();
    let notices: Vec<String> = reaction.notices.iter().map(text).collect();
    match (effects.join(", "), notices.join(", ")) {
        (effects, notices) if notices.is_empty() && effects.is_empty() => "nothing".into(),
        (effects, notices) if notices.is_empty() => effects,
        (effects, notices) if effects.is_empty() => format!("| {notices}"),
        (effects, notices) => format!("{effects} | {notices}"),
    }
}

/// Abbreviates the output of `Debug`: `Generation(GenId(2), Exited { ended: Code(0), survivors: true })` becomes
/// `exited 2 code 0 survivors`. A field is named only if its value is `true` or `Some`.
pub fn text(value: &impl Debug) -> String {
    let debug = format!("{value:?}").replace("ArtifactId(", "a");
    let (mut words, mut field) = (Vec::new(), "");
    for word in debug.split([' ', ',', '(', ')', '{', '}']) {
        match word {
            "" | "Generation" | "GenId" | "false" | "None" => {}
            "true" | "Some" => words.push(kebab_case(field)),
            word => match word.strip_suffix(':') {
                Some(name) => field = name,
                None => words.push(kebab_case(word)),
            },
        }
    }
    if debug.starts_with("Generation(") {
        words.swap(0, 1);
    }
    words.join(" ")
}

fn kebab_case(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
