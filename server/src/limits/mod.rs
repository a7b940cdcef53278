//! Limits for strangers, devices and people: places, deadlines, attempts and budgets, for both ports.
//!
//! docs/SPECIFICATION.md lists the numbers, and docs/development/decisions/limits.md gives the reasons.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::net::TcpStream;

pub(crate) mod attempts;
pub(crate) mod bodies;
pub(crate) mod budget;
pub(crate) mod files;
pub(crate) mod places;

/// Event streams that one person may have open: tabs of the page, and the command line.
pub(crate) const STREAMS_BY_PERSON: usize = 16;

/// Places and deadlines of one port.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Concurrent connections that have proven nothing: no active certificate, no login.
    pub strangers: usize,
    /// Most of them from one IPv4 address or IPv6 network of 64 bits.
    pub strangers_by_network: usize,
    /// Connections of one certificate.
    pub by_device: usize,
    /// Connections of one person.
    pub by_person: usize,
    /// Longest TLS handshake.
    pub handshake: Duration,
    /// Longest time from the handshake to the end of CONNECT, on MQTT.
    pub connect: Duration,
    /// Longest time from the handshake to the end of the first request's head, on HTTPS.
    pub first_request: Duration,
    /// Longest time between two requests.
    pub idle: Duration,
    /// Time by which a request's body, or an MQTT packet that has begun, may be late.
    pub body_grace: Duration,
    /// Rate that makes up for being late, in bytes a second.
    pub body_rate: u32,
    /// Longest time in which a client may read nothing of an answer, or a device nothing of what the server sends.
    pub stall: Duration,
    /// Longest time that a device may take to acknowledge a command. MQTT forbids to resend it on the same connection, so the server closes
    /// the connection.
    pub acknowledge: Duration,
    /// How often the server checks the deadlines of open connections.
    pub check: Duration,
}

/// The network that one customer has: an IPv4 address, or an IPv6 network of 64 bits.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    let canonical = address.to_canonical();
    match canonical {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        IpAddr::V4(_) => canonical,
    }
}

/// Lets the kernel end the connection when the other end has vanished with bytes on their way to it.
pub(crate) fn give_up_after(tcp: &TcpStream, silence: Duration) {
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = setsockopt(tcp, TcpUserTimeout, &milliseconds) {
        tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT");
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            strangers: 1024,
            strangers_by_network: 128,
            by_device: 8,
            by_person: 64,
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            first_request: Duration::from_secs(20),
            idle: Duration::from_secs(60),
            body_grace: Duration::from_secs(30),
            body_rate: 1024,
            // The kernel accepts more bytes once a third of its buffer is free, which may be a megabyte: the client has to read 2 kB/s.
            stall: Duration::from_secs(600),
            acknowledge: Duration::from_secs(30),
            check: Duration::from_secs(1),
        }
    }
}
