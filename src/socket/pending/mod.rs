//! What hotrun answers in the place of a program that can't: an HTTP request gets `503` with the reason, as text or as a
//! page that loads itself again once the program is back.
//!
//! Nothing of another protocol is answered: it waits ([`Heard::Other`]). What begins an
//! HTTP/1 request and what does not is [`Request::read`]'s to say; how the answer looks is in `page.rs`.

mod page;
mod reason;
mod request;
mod response;

use std::fmt;

pub use reason::Reason;
pub use request::Request;

use crate::socket::{Answerer, Heard};

/// Responder requests with a reason, which is asked for anew for each: there may be more to say by now.
pub struct Responder(Box<dyn Fn() -> Reason + Send + Sync>);

impl Responder {
    /// Responder with what this gives.
    pub fn new(reason: impl Fn() -> Reason + Send + Sync + 'static) -> Self {
        Self(Box::new(reason))
    }
}

impl Answerer for Responder {
    fn answer(&self, heard: &[u8], last: bool) -> Heard {
        match Request::read(heard, last) {
            Request::Unsure => Heard::Unsure,
            Request::Other => Heard::Other,
            Request::Whole { page, body } => {
                Heard::Answer(response::response(&(self.0)(), page, body))
            }
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}
