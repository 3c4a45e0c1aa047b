//! Tests hotrun in a pseudoterminal, and reads its screen through a terminal emulator.

mod exit;
mod flood;
mod paused;
mod picture;
mod plain;
mod screen;
mod scrollback;
mod session;
mod share;
mod suspend;
