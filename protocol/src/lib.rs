//! What crosses the wire between the Homeport agent and server: topics, messages, limits. No I/O.
//!
//! Transport is MQTT over mutual TLS. Every payload is one CBOR item (RFC 8949). Telemetry is SenML in its CBOR
//! form (RFC 8428). Enrolment is EST (RFC 7030) and bundles are fetched over HTTPS; neither is described here, except
//! for the pairing token that starts it all ([`PairingToken`]).
//!
//! # Compatibility
//! - The first element of every topic is the protocol's major version ([`topic::PREFIX`]).
//! - Unknown map keys are ignored. Keys are only added, never given a new meaning.
//! - A message whose kind is unknown decodes to `Unknown { kind }`: the receiver answers it or skips it, and lives on.

#![forbid(unsafe_code)]

pub mod builtin;
mod codec;
pub mod command;
pub mod deployment;
pub mod device;
pub mod limits;
pub mod pairing;
pub mod report;
pub mod senml;
pub mod series;
pub mod topic;

pub use self::{
    codec::DecodeError,
    command::Command,
    deployment::{BundleOffer, DeploymentState, FailureCode, Reason},
    device::{CommandOffer, Inventory, Policy, Slot},
    pairing::PairingToken,
    report::{Report, Sequenced},
    senml::Record,
    topic::{DeviceId, Topic},
};
