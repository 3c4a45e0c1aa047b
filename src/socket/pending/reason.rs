/// Why nothing serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// In one line: which generation, and how it failed.
    pub what: String,
    /// What the compiler or the program said, in its own words: text with line ends, and nothing else that a terminal
    /// would act upon.
    pub said: Vec<String>,
}

impl Reason {
    /// Something that differs where the reason does. It has no meaning otherwise.
    pub(super) fn mark(&self) -> String {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&self.what, &self.said).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}
