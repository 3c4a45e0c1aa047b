use std::hash::{DefaultHasher, Hash, Hasher};

/// Why no server is running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// One line: the generation and its failure.
    pub summary: String,
    /// The output of the compiler or the program: text with line breaks and no other control characters.
    pub details: Vec<String>,
}

impl Reason {
    /// Differs between reasons.
    pub(super) fn mark(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.summary, &self.details).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}
