/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It works.
    Works,
    /// It could be better, and all that the README promises holds.
    Could,
    /// Something that the README promises does not hold here.
    Fails,
}

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub sign: Sign,
    /// What it is about, at most [`Finding::NAME`] characters.
    pub name: &'static str,
    /// What was found, in a few words.
    pub text: String,
    /// What to do about it, unless it works, or what helps one of those before helps it too.
    pub remedy: Option<String>,
}

impl Finding {
    /// How long a name may be, in characters.
    pub const NAME: usize = 13;

    pub(super) fn works(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            sign: Sign::Works,
            name,
            text: text.into(),
            remedy: None,
        }
    }

    pub(super) fn could(
        name: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            sign: Sign::Could,
            name,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }

    /// It could be better, once one of those before is.
    pub(super) fn follows(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            sign: Sign::Could,
            ..Self::works(name, text)
        }
    }

    pub(super) fn fails(
        name: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            sign: Sign::Fails,
            name,
            text: text.into(),
            remedy: Some(remedy.into()),
        }
    }
}
