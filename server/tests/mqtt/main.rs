//! The MQTT port as devices see it, over real TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod admission;
mod clients;
mod deadlines;
mod messages;
mod support;
