//! What to build, and what to start from it.
