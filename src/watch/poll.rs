use std::time::Duration;

/// Whether to look for changes instead of being told of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Poll {
    /// Where nobody tells.
    #[default]
    IfNeeded,
    /// Everywhere, as often as is cheap.
    Always,
    /// Everywhere, with a pause of this length between two looks.
    Every(Duration),
}
