//! Homeport's update engine: state machine, backends, health gate, bundle relay.
//!
//! [`Engine`] runs inside the agent's daemon and owns the life of an update; [`boot_check`] runs as a process of its own
//! after every boot and decides whether a new system may stay. `docs/usage/updates.md` draws the state machine.

#![forbid(unsafe_code)]

pub mod backend;
pub mod boot_check;
mod config;
mod durable;
pub mod engine;
mod relay;
pub mod run_files;
mod sink;
mod state;
mod systemd;
#[cfg(test)]
mod testing;
mod upstream;
mod version;

pub use self::{
    backend::{Backend, BackendError},
    config::{BootCheckConfig, EngineConfig},
    engine::{Engine, EngineHandle, EngineStatus},
    sink::ReportSink,
    upstream::Upstream,
};
