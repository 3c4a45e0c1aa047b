//! The 503 response to HTTP requests while no server is running: the reason, as text or as a page that reloads itself once
//! the program is back.
//!
//! Connections of other protocols wait. [`Request::parse`] tells them apart.

mod page;
mod reason;
mod request;
mod response;

pub use reason::Reason;
pub use request::Request;
pub use response::Responder;
