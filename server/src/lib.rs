//! Homeport's server: devices, people and bundles in one process.
//!
//! ```text
//!  device ── mqtt ───┐                      ┌── store
//!         ── est ────┼── a capability ──────┼── fleet (what capabilities share, and what follows a commit)
//!  person ── http ───┘   (mod, http, rows)  └── events ── page, CLI
//! ```
//!
//! Each thing that a user knows has a folder with its rules, its routes and its queries.

#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

pub mod access;
pub mod api;
mod audit;
pub mod backup;
pub mod blob;
pub mod bundles;
pub mod ca;
mod commands;
pub mod config;
mod deployments;
pub mod devices;
pub mod disk;
mod error;
pub mod est;
pub mod files;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod groups;
pub mod http;
pub mod https;
mod ingest;
pub mod limits;
pub mod log;
pub mod mqtt;
pub mod pairing;
mod passwords;
pub mod people;
mod projects;
pub mod server;
pub mod store;
pub mod telemetry;
mod text;
pub mod tls;
mod web;

/// Milliseconds since 1970-01-01T00:00:00Z.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "no system that runs this lacks it, and nothing here is safe without it"
    )]
    getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
    bytes
}
