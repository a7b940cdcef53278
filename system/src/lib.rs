//! What the agent and its update engine share of the operating system. It knows nothing of Homeport.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod bus;
pub mod clock;
pub mod file;
pub mod program;
pub mod service;
pub mod ticks;

pub use self::{backoff::Backoff, ticks::Ticks};
