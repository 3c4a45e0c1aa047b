//! Which changes matter.
