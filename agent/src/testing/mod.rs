//! What tests need of the world outside.

mod authority;
mod server;

pub(crate) use self::{
    authority::Authority,
    server::{Seen, Server},
};
