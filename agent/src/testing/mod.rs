//! What tests need of the world outside.

mod server;

pub(crate) use self::server::{Seen, Server};
