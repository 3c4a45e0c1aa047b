use std::fs::File;
use std::io;

/// Does nothing: [`is_in_use`] cannot tell.
///
/// # Errors
/// None here.
pub const fn mark_in_use(_: &File) -> io::Result<()> {
    Ok(())
}

/// Locks of open files are not portable.
///
/// # Errors
/// Always.
pub fn is_in_use(_: &File) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}
