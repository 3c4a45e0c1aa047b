use super::row::{Row, Tint};

/// How many are more important, and what they do.
const KEYS: [(usize, &str, &str); 9] = [
    (0, "r", "reload now, changed or not"),
    (1, "p", "pause: changes wait until p is pressed again"),
    (3, "u", "undo: go back to the previous generation"),
    (2, "e", "errors: all that the last build printed"),
    (5, "k", "kill what still drains"),
    (7, "c", "clear the screen"),
    (8, "Enter", "print a mark"),
    (6, "Ctrl-Z", "suspend, with the program; fg goes on"),
    (4, "q", "quit, as Ctrl-C does; twice: at once"),
];

/// What the keys do, in so many rows at most.
pub(super) fn rows(columns: usize, most: usize) -> Vec<Row> {
    let row = |(_, key, what): &(usize, &str, &str)| {
        let (key, what) = match columns {
            0..30 => (format!(" {key} "), (*what).to_owned()),
            _ => (format!("   {key:<8}"), (*what).to_owned()),
        };
        Row::default().with(Tint::Bold, key).with(Tint::Plain, what)
    };
    let shown = KEYS.iter().filter(|(before, ..)| *before < most);
    shown.map(row).collect()
}
