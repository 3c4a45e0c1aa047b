//! The real program in a pseudoterminal, with its screen read through an emulator.

mod exit;
mod flood;
mod paused;
mod picture;
mod plain;
mod screen;
mod scrollback;
mod session;
mod suspend;
