//! A device that speaks MQTT packet by packet.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use homeport_protocol::{Command, DeviceId, command::Envelope};
use mqtt_proto::{Pid, QoS, QosPid, TopicFilter, TopicName, v3, v5};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{PATIENCE, patiently};

/// The pause between two bytes of a device that trickles.
const TRICKLE: Duration = Duration::from_millis(50);

/// A connection of a device.
#[derive(Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

// === impl Device ===

impl Device {
    /// TLS to `address`, but no CONNECT yet. The server's certificate is for `localhost`.
    pub async fn reach(address: SocketAddr, tls: Arc<ClientConfig>, id: DeviceId) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = patiently(TlsConnector::from(tls).connect(name, tcp)).await?;
        Ok(Self {
            id,
            stream,
            received: Vec::new(),
        })
    }

    /// CONNECT of MQTT 5, which the server accepts.
    pub async fn connect(&mut self, keep_alive: u16) {
        self.send(v5::Connect::new(self.id.as_str().into(), keep_alive))
            .await;
        let connack = self.connack().await;
        assert_eq!(connack.reason_code, v5::ConnectReasonCode::Success);
    }

    /// A topic of its own.
    pub fn topic(&self, channel: &str) -> TopicName {
        TopicName::try_from(format!("hp1/{}/{channel}", self.id).as_str()).unwrap()
    }

    /// Sends a packet of MQTT 5.
    pub async fn send(&mut self, packet: impl Into<v5::Packet>) {
        let bytes = packet.into().encode().unwrap();
        self.send_bytes(bytes.as_ref()).await;
    }

    /// Sends a packet of MQTT 3.1.1.
    pub async fn send_v3(&mut self, packet: impl Into<v3::Packet>) {
        let bytes = packet.into().encode().unwrap();
        self.send_bytes(bytes.as_ref()).await;
    }

    /// Sends bytes that may be anything.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Publishes with QoS 1.
    pub async fn publish(&mut self, channel: &str, id: u16, payload: Vec<u8>) {
        let topic = self.topic(channel);
        self.send(v5::Publish::new(QosPid::Level1(pid(id)), topic, payload.into()))
            .await;
    }

    /// Subscribes to its commands.
    pub async fn subscribe(&mut self) {
        let filter = TopicFilter::try_from(&*self.topic("command")).unwrap();
        let options = v5::SubscriptionOptions::new(QoS::Level1);
        self.send(v5::Subscribe::new(pid(99), vec![(filter, options)]))
            .await;
        match self.receive().await {
            Some(v5::Packet::Suback(suback)) => {
                assert_eq!(suback.topics, [v5::SubscribeReasonCode::GrantedQoS1]);
            }
            other => panic!("not SUBACK: {other:?}"),
        }
    }

    /// The next packet; `None` when the server has closed.
    pub async fn receive(&mut self) -> Option<v5::Packet> {
        loop {
            if let Some(packet) = v5::Packet::decode(&self.received).unwrap() {
                let length = packet.encode_len().unwrap();
                self.received.drain(..length);
                return Some(packet);
            }
            if !self.receive_bytes().await {
                return None;
            }
        }
    }

    /// The next packet of MQTT 3.1.1; `None` when the server has closed.
    pub async fn receive_v3(&mut self) -> Option<v3::Packet> {
        loop {
            if let Some(packet) = v3::Packet::decode(&self.received).unwrap() {
                let length = packet.encode_len().unwrap();
                self.received.drain(..length);
                return Some(packet);
            }
            if !self.receive_bytes().await {
                return None;
            }
        }
    }

    /// The next packet, which is a CONNACK.
    pub async fn connack(&mut self) -> v5::Connack {
        match self.receive().await {
            Some(v5::Packet::Connack(connack)) => connack,
            other => panic!("not CONNACK: {other:?}"),
        }
    }

    /// The packet id and reason of the next packet, which is a PUBACK.
    pub async fn puback(&mut self) -> (u16, v5::PubackReasonCode) {
        match self.receive().await {
            Some(v5::Packet::Puback(puback)) => (puback.pid.value(), puback.reason_code),
            other => panic!("not PUBACK: {other:?}"),
        }
    }

    /// The next packet, which is a command.
    pub async fn command(&mut self) -> (QosPid, Command) {
        match self.receive().await {
            Some(v5::Packet::Publish(publish)) => {
                assert_eq!(publish.topic_name, self.topic("command"));
                (
                    publish.qos_pid,
                    Envelope::decode(&publish.payload).unwrap().command,
                )
            }
            other => panic!("not PUBLISH: {other:?}"),
        }
    }

    /// Waits until the server closes, and returns the reason that it gave.
    pub async fn closed(&mut self) -> Option<v5::DisconnectReasonCode> {
        let reason = match self.receive().await {
            Some(v5::Packet::Disconnect(disconnect)) => Some(disconnect.reason_code),
            Some(other) => panic!("not DISCONNECT: {other:?}"),
            None => return None,
        };
        assert_eq!(self.receive().await, None);
        reason
    }

    /// Sends `bytes` one by one until the server has closed.
    pub async fn trickle(&mut self, bytes: &[u8]) {
        let end = Instant::now() + PATIENCE;
        for byte in bytes {
            assert!(Instant::now() < end, "waited for too long");
            let sent = self.stream.write_all(&[*byte]).await;
            match timeout(TRICKLE, self.receive()).await {
                Err(_) if sent.is_ok() => {}
                Err(_) | Ok(None | Some(v5::Packet::Disconnect(_))) => return,
                Ok(Some(other)) => panic!("not DISCONNECT: {other:?}"),
            }
        }
        panic!("the server has waited for all of it");
    }

    /// Sends `bytes` again and again and reads nothing, until the server has closed.
    pub async fn flood(&mut self, bytes: &[u8]) {
        // The kernel keeps little for us.
        setsockopt(self.stream.get_ref().0, RcvBuf, &4096).unwrap();
        while patiently(self.stream.write_all(bytes)).await.is_ok() {}
    }

    async fn receive_bytes(&mut self) -> bool {
        let read = patiently(self.stream.read_buf(&mut self.received)).await;
        matches!(read, Ok(count) if count > 0)
    }
}

fn pid(id: u16) -> Pid {
    Pid::try_from(id).unwrap()
}
