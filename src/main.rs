//! The `hotrun` command.

fn main() {}
