//! The events that `--ui json` prints, one per line.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// An event, parsed as leniently as another program would parse it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    fields: Value,
}

impl Event {
    /// Parses a line. A line that is not a JSON object becomes an event named `text`.
    pub(crate) fn read(line: &str) -> Self {
        let fields = serde_json::from_str(line).ok().filter(Value::is_object);
        let fields = fields.unwrap_or_else(|| json!({ "event": "text", "text": line }));
        Self {
            at: Instant::now(),
            fields,
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.text("event")
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    /// The event's generation, or 0 if it has none.
    pub(crate) fn generation(&self) -> u64 {
        self.number("generation")
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_default()
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.fields[field].as_u64().unwrap_or_default()
    }

    /// How long the reported step took.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_secs_f64(self.fields["took_ms"].as_f64().unwrap_or_default() / 1000.0)
    }

    /// Whether any field contains this text.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.fields.to_string().contains(word)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fields.to_string())
    }
}
