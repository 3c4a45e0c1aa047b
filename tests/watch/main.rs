//! The watch on real files: each editor's way to save, and what must not count.

mod directories;
mod editors;
mod script;
mod scripts;
mod trees;
mod watched;
