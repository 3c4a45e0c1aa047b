use super::row::{Row, Tint};

const KEYS: [(&str, &str); 9] = [
    ("r", "reload now, changed or not"),
    ("p", "pause: changes wait until p is pressed again"),
    ("u", "undo: go back to the previous generation"),
    ("e", "errors: all that the last build printed"),
    ("k", "kill what still drains"),
    ("c", "clear the screen"),
    ("Enter", "print a mark"),
    ("Ctrl-Z", "suspend, with the program; fg goes on"),
    ("q", "quit, as Ctrl-C does; twice: at once"),
];

/// What the keys do.
pub(super) fn rows(columns: usize) -> Vec<Row> {
    let key = |(key, what): &(&str, &str)| {
        let (key, what) = match columns {
            0..30 => (format!(" {key} "), (*what).to_owned()),
            _ => (format!("   {key:<8}"), (*what).to_owned()),
        };
        Row::default().with(Tint::Bold, key).with(Tint::Plain, what)
    };
    KEYS.iter().map(key).collect()
}
