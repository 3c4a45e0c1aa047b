//! Intercepts `bind` and `listen` of a program that opens its own sockets, so that the next generation can listen on the
//! same address beside it.
//!
//! The program keeps its socket, with its options and wherever it is registered already. hotrun binds it and makes it
//! listen through a duplicate of the descriptor ([`os::seccomp`](crate::os::seccomp)), and adds it to the group of its
//! address. The program gets the results that it would get if it were alone.
//!
//! `decision.rs` decides how to reply. `worker.rs` carries that out, in a thread for each generation: the program waits
//! for the reply, so the thread must not wait for the driver.

mod binding;
mod caller;
mod decision;
mod event;
mod holders;
mod outcome;
mod worker;

pub use event::InterceptEvent;
pub use worker::Interceptor;
