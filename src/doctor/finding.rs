/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It works.
    Works,
    /// It could be better, but everything that the README promises is available.
    Note,
    /// Something that the README promises is not available.
    Fails,
}

/// The result of a check and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The result.
    pub severity: Severity,
    /// What was checked, at most [`Finding::NAME`] characters.
    pub name: &'static str,
    /// The details, in a few words.
    pub text: String,
    /// What to do. `None` if it works, or if the hint of an earlier check applies.
    pub hint: Option<String>,
}

impl Finding {
    /// The maximum length of a name, in characters.
    pub const NAME: usize = 13;

    fn new(severity: Severity, name: &'static str, text: impl Into<String>) -> Self {
        Self {
            severity,
            name,
            text: text.into(),
            hint: None,
        }
    }

    pub(super) fn works(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Works, name, text)
    }

    pub(super) fn note(
        name: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            hint: Some(hint.into()),
            ..Self::new(Severity::Note, name, text)
        }
    }

    /// A check that depends on an earlier one, whose hint applies.
    pub(super) fn dependent(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(Severity::Note, name, text)
    }

    pub(super) fn fails(
        name: &'static str,
        text: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            hint: Some(hint.into()),
            ..Self::new(Severity::Fails, name, text)
        }
    }
}
