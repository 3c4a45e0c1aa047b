//! hotrun on a terminal: the real program in a pseudo-terminal, and its screen through an emulator.

mod ends;
mod flood;
mod paused;
mod picture;
mod plain;
mod screen;
mod screens;
mod scrolled;
mod stops;
