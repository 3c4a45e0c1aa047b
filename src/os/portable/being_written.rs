//! Whether somebody writes a file.

use std::path::Path;

/// Whether somebody has this file open for writing. Nobody says that here, nor that a file is written.
pub fn is_being_written(_: &Path) -> bool {
    false
}
