//! What happens to `bind` and `listen` of a program that opens its sockets by itself.
//!
//! The program keeps its own socket, with its options and wherever it is registered already: hotrun binds it, and
//! makes it listen, on a duplicate of its descriptor ([`os::seccomp`](crate::os::seccomp)), and makes it a slot of the
//! group of its address. So another generation of the program can have the same address beside it, while the
//! program gets the answers that it would get if it were alone.
//!
//! What is answered is decided in `decision.rs`, from what is known and from nothing else. A thread for each generation
//! does it (`worker.rs`): a call waits for its answer, and so shall not wait for anything that hotrun does besides.

mod call;
mod claim;
mod decision;
mod event;
mod holders;
mod known;
mod verdict;
mod worker;

pub use event::InterceptEvent;
pub use worker::Interceptor;
