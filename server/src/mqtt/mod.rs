//! Devices over MQTT: the server ends their connections itself.
//!
//! Messages flow only between one device and the server, so this module routes and stores nothing. Up: messages go to a [`Handler`], and
//! the server sends PUBACK when the handler has committed them. Down: [`Registry::send`] gives commands to devices that are connected now.
//! The handler owns the rows behind them, and resends what a device has missed.

use std::{future::Future, net::SocketAddr};

use homeport_protocol::{DeviceId, Report, Sequenced, command::Envelope, deployment::Progress, senml::Pack};

use crate::ca::Fingerprint;

mod close;
mod codec;
mod connection;
mod listener;
mod registry;
mod session;

#[cfg(any(test, fuzzing))]
pub(crate) use self::codec::fuzz;
pub use self::{listener::serve, registry::Registry};

/// Why a message was not accepted. The device keeps it and sends it again.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The message can never be accepted. The server acknowledges it with a reason code, so that the device does not send it for ever.
    #[error("message refused: {0}")]
    Refused(String),
    /// There is no room for it now: the device has used up its budget, or the disk is nearly full. The device keeps telemetry, and sends it
    /// again later on the same connection. For everything else the server closes the connection.
    #[error("no room for the message: {0}")]
    Quota(&'static str),
    /// The message could not be stored now. The server closes the connection; the device reconnects and sends it again.
    #[error("cannot store the message: {0}")]
    Unavailable(String),
}

/// Handles the messages of devices.
///
/// For one device, calls of `connected`, `disconnected`, `telemetry` and `report` are never concurrent, and come in the order of events.
/// This also holds across a takeover, where `connected` is called again without `disconnected` in between. When the connection ends, a
/// future may be dropped before it is done; the message then comes again.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The device that holds this certificate, if it is active. From memory, because every TLS handshake calls it.
    fn identify(&self, certificate: &Fingerprint) -> Option<DeviceId>;

    /// The device has connected with `certificate` from `peer`. `false` if the certificate is no longer active: then the connection must
    /// end.
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

    /// Takes a report. Resolves after the commit, to the commands that the server sends to the device now. A repeat is `Ok`.
    fn report(
        &self,
        device: &DeviceId,
        report: Sequenced<Report>,
    ) -> impl Future<Output = Result<Vec<Envelope>, HandlerError>> + Send;

    /// Takes a progress message of an update. Must not block.
    fn progress(&self, device: &DeviceId, progress: Progress);
}
