//! What a system tells of the directories that are watched.

use std::path::PathBuf;

/// Something that the system tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something happened at this path, which may be gone by now.
    Happened(PathBuf, How),
    /// More happened than there was room for: nobody knows where.
    Overflow,
    /// From now on nothing more is told; the system's own words.
    Deaf(String),
}

/// What happened, as far as it says whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Whoever wrote it has closed it, or it was put in its place as a whole.
    Whole,
    /// It was written to, and it will be told when it is closed. Only where the system tells that.
    Written,
    /// It was made, moved away or removed; or nobody can say.
    Other,
}
