//! Devices over MQTT: the server ends their connections itself.
//!
//! Everything flows between one device and the server, so nothing is routed and nothing is stored here. Up: messages go
//! to a [`Handler`], and PUBACK is sent when it has committed them. Down: [`Registry::send`] gives commands to devices
//! that are connected now; the rows behind them are the handler's, who sends again what a device has missed.

use std::{future::Future, net::SocketAddr};

use homeport_protocol::{Command, DeviceId, Report, Sequenced, deployment::Progress, senml::Pack};

use crate::ca::Fingerprint;

mod close;
mod codec;
mod connection;
mod listener;
mod registry;
mod session;

pub use self::{listener::serve, registry::Registry};

/// Why a message was not taken. The device keeps it and sends it again.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The message can never be taken. It is acknowledged with a reason code, so that the device does not send it for ever.
    #[error("message refused: {0}")]
    Refused(String),
    /// There is no room for it now: the device has used up its budget, or the disk is nearly full. Telemetry stays with the device, which
    /// sends it again later on the same connection; for everything else the connection is closed.
    #[error("no room for the message: {0}")]
    Quota(&'static str),
    /// It could not be stored now. The connection is closed; the device comes back and sends it again.
    #[error("cannot store the message: {0}")]
    Unavailable(String),
}

/// What the fleet does with what devices say.
///
/// For one device, `connected`, `disconnected`, `telemetry` and `report` are never called concurrently, and in the order in which
/// things happened: also across a takeover, where `connected` is called again without `disconnected` in between. A future may be dropped
/// before it is done when the connection ends; the message then comes again.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Whose certificate this is. Active certificates only; from memory, called during every TLS handshake.
    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId>;

    /// The device has connected with `certificate` from `peer`. `false`: the certificate is no longer active, and the connection must end.
    fn connected(
        &self,
        device: &DeviceId,
        certificate: &Fingerprint,
        peer: SocketAddr,
    ) -> impl Future<Output = bool> + Send;

    /// The device's connection has ended, and there is no newer one.
    fn disconnected(&self, device: &DeviceId) -> impl Future<Output = ()> + Send;

    /// Takes a telemetry batch. Resolves after the commit; a repeat is `Ok`.
    fn telemetry(
        &self,
        device: &DeviceId,
        batch: Sequenced<Pack>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Takes a report. Resolves after the commit, to the commands that the device is to be sent now; a repeat is `Ok`.
    fn report(
        &self,
        device: &DeviceId,
        report: Sequenced<Report>,
    ) -> impl Future<Output = Result<Vec<Command>, HandlerError>> + Send;

    /// Takes news on an update's progress. Must not block.
    fn progress(&self, device: &DeviceId, progress: Progress);
}
