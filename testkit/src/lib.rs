//! What tests of several crates need of the world outside: an authority, TLS, and a device that speaks MQTT.
//!
//! It knows the protocol and none of the crates that use it, so that their unit tests can use it too. What only one crate's tests need
//! stays with that crate. Everything panics when it fails, as a test does.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail like tests"
)]

mod authority;
mod device;
#[cfg(feature = "manual")]
pub mod manual;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod tls;

use std::time::Duration;

pub use self::{
    authority::{Authority, DeviceKey, Identity, YEAR},
    device::Device,
};

/// Longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `future`, but not for ever.
pub async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("waited for too long")
}
