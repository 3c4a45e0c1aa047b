//! Tests the watch with real files: saves by various editors, and changes that must not count.

mod directories;
mod editors;
mod links;
mod own_files;
mod script;
mod scripts;
mod trees;
mod watched;
