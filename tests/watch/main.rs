//! Tests the watch with real files: how editors save, and which changes must not count.

mod directories;
mod editors;
mod script;
mod scripts;
mod trees;
mod watched;
