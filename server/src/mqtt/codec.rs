//! MQTT 3.1.1 and 5 as this server speaks them: packets to and from bytes, over `mqtt-proto`.
//!
//! The crate reads a body, and its caller has to make sure that the body is exactly one packet. So this module frames a packet first. It
//! checks the size before it keeps anything of the packet, and refuses a body with bytes left over.

use bytes::Bytes;
use mqtt_proto::{Error, Pid, Protocol, QoS, QosPid, TopicFilter, TopicName, v3, v5};

/// The place of the first packet in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// First byte of the fixed header: type and flags.
    head: u8,
    /// Length of the fixed header, in bytes.
    header_len: usize,
    /// Length of the packet, in bytes.
    pub(super) len: usize,
}

/// Why bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PacketError {
    /// Longer than the present limit.
    #[error("a packet of {len} bytes is over the limit of {limit}")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The present limit.
        limit: usize,
    },
    /// Not a packet.
    #[error("malformed packet: {0}")]
    Malformed(String),
    /// A packet in the wrong place or the wrong direction.
    #[error("unexpected packet: {0}")]
    Protocol(&'static str),
    /// Neither 3.1.1 nor 5.
    #[error("MQTT of a version other than 3.1.1 and 5")]
    Version,
}

/// The version that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V3,
    V5,
}

/// The parts of CONNECT that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client_id: String,
    /// In seconds; 0 for none.
    pub(super) keep_alive: u16,
    /// Publishes that the client accepts before it acknowledges the first.
    pub(super) receive_maximum: u16,
    /// Largest packet that the client accepts, in bytes.
    pub(super) max_packet: usize,
    /// The client asks to keep a session when the connection ends.
    pub(super) wants_session: bool,
    /// The client wants to authenticate with AUTH packets.
    pub(super) wants_auth: bool,
}

/// A packet from a connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Publish(Publish),
    Puback(Pid),
    Subscribe {
        id: Pid,
        filters: Vec<(TopicFilter, QoS)>,
    },
    Unsubscribe {
        id: Pid,
        filters: Vec<TopicFilter>,
    },
    Ping,
    Disconnect,
}

/// See [`Packet::Publish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) id: QosPid,
    pub(super) retain: bool,
    /// Uses a topic alias, which we do not offer.
    pub(super) alias: bool,
    pub(super) topic: TopicName,
    pub(super) payload: Bytes,
}

/// Finds the first packet in `bytes`. `None` if its header is incomplete.
pub(super) fn frame(bytes: &[u8], limit: usize) -> Result<Option<Frame>, PacketError> {
    let Some((&head, length)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut remaining = 0;
    for (index, &byte) in length.iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 != 0 {
            continue;
        }
        let header_len = 2 + index;
        let len = header_len + remaining;
        if len > limit {
            return Err(PacketError::TooLarge { len, limit });
        }
        return Ok(Some(Frame {
            head,
            header_len,
            len,
        }));
    }
    match length.len() {
        0..4 => Ok(None),
        _ => Err(PacketError::Malformed("its length does not end".into())),
    }
}

/// Reads the first packet of a connection.
pub(super) fn decode_connect(frame: Frame, bytes: &[u8]) -> Result<Connect, PacketError> {
    const CONNECT: u8 = 0x10;

    if frame.head != CONNECT {
        return Err(PacketError::Protocol("the first is not CONNECT"));
    }
    let body = frame.body(bytes)?;
    let mut offset = 0;
    let protocol = Protocol::decode(body, &mut offset).map_err(|error| match error {
        Error::InvalidProtocol(..) => PacketError::Version,
        error => malformed(&error),
    })?;
    let connect = match protocol {
        Protocol::V310 => return Err(PacketError::Version),
        Protocol::V311 => {
            let packet = v3::Connect::decode_buffer_with_protocol(body, &mut offset, protocol)
                .map_err(|error| malformed(&error))?;
            Connect {
                version: Version::V3,
                client_id: packet.client_id.to_string(),
                keep_alive: packet.keep_alive,
                receive_maximum: u16::MAX,
                max_packet: usize::MAX,
                wants_session: !packet.clean_session,
                wants_auth: false,
            }
        }
        Protocol::V500 => {
            let header = frame.header_v5()?;
            let packet = v5::Connect::decode_buffer_with_protocol(body, &mut offset, header, protocol)
                .map_err(|error| malformed(&error))?;
            let properties = packet.properties;
            if properties.receive_max == Some(0) || properties.max_packet_size == Some(0) {
                return Err(PacketError::Protocol("a maximum of zero"));
            }
            Connect {
                version: Version::V5,
                client_id: packet.client_id.to_string(),
                keep_alive: packet.keep_alive,
                receive_maximum: properties.receive_max.unwrap_or(u16::MAX),
                max_packet: properties
                    .max_packet_size
                    .and_then(|size| size.try_into().ok())
                    .unwrap_or(usize::MAX),
                wants_session: properties
                    .session_expiry_interval
                    .is_some_and(|seconds| seconds > 0),
                wants_auth: properties.auth_method.is_some(),
            }
        }
    };
    whole(body, offset)?;
    Ok(connect)
}

/// Reads a packet of a connected client.
pub(super) fn decode(frame: Frame, bytes: &[u8], version: Version) -> Result<Packet, PacketError> {
    let body = frame.body(bytes)?;
    match version {
        Version::V3 => decode_v3(frame, body),
        Version::V5 => decode_v5(frame, body),
    }
}

/// Appends a packet to `out`.
pub(super) fn encode_v3(packet: &v3::Packet, out: &mut Vec<u8>) {
    match packet.encode() {
        Ok(bytes) => out.extend_from_slice(bytes.as_ref()),
        Err(error) => unencodable(&error),
    }
}

/// Appends a packet to `out`.
pub(super) fn encode_v5(packet: &v5::Packet, out: &mut Vec<u8>) {
    match packet.encode() {
        Ok(bytes) => out.extend_from_slice(bytes.as_ref()),
        Err(error) => unencodable(&error),
    }
}

/// Appends a SUBACK of 3.1.1 with at most 125 return codes: `mqtt-proto` 0.4 writes the code for failure as 3 instead of 0x80.
pub(super) fn encode_suback_v3(
    id: Pid,
    granted: impl ExactSizeIterator<Item = Option<QoS>>,
    out: &mut Vec<u8>,
) {
    const SUBACK: u8 = 0x90;
    const FAILURE: u8 = 0x80;
    const LONGEST: usize = 125;

    let granted = granted.take(LONGEST);
    out.push(SUBACK);
    out.extend(u8::try_from(2 + granted.len()));
    out.extend(id.value().to_be_bytes());
    out.extend(granted.map(|qos| qos.map_or(FAILURE, |qos| qos as u8)));
}

/// Reads `bytes` as the packets of a connection, in both versions.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    const LIMIT: usize = 4 * 1024;

    for version in [Version::V3, Version::V5] {
        let mut rest = bytes;
        while let Ok(Some(frame)) = frame(rest, LIMIT) {
            assert!(frame.len <= LIMIT, "a packet over the limit");
            let Some((packet, behind)) = rest.split_at_checked(frame.len) else {
                break;
            };
            if decode_connect(frame, packet).is_err() && decode(frame, packet, version).is_err() {
                break;
            }
            rest = behind;
        }
    }
}

fn decode_v3(frame: Frame, body: &[u8]) -> Result<Packet, PacketError> {
    use v3::PacketType;

    let header =
        v3::Header::new_with(frame.head, frame.remaining()?, 0).map_err(|error| malformed(&error))?;
    let mut offset = 0;
    let packet = match header.typ {
        PacketType::Publish => v3::Publish::decode(body, &mut offset, header).map(|packet| {
            Packet::Publish(Publish {
                id: packet.qos_pid,
                // In 3.1.1 the server cannot refuse it, so it ignores the flag.
                retain: false,
                alias: false,
                topic: packet.topic_name,
                payload: packet.payload,
            })
        }),
        PacketType::Puback => {
            let id = <[u8; 2]>::try_from(body)
                .map_err(|_| PacketError::Malformed("PUBACK is not 2 bytes long".into()))?;
            offset = id.len();
            Pid::try_from(u16::from_be_bytes(id)).map(Packet::Puback)
        }
        PacketType::Subscribe => {
            v3::Subscribe::decode(body, &mut offset, header).map(|packet| Packet::Subscribe {
                id: packet.pid,
                filters: packet.topics,
            })
        }
        PacketType::Unsubscribe => {
            v3::Unsubscribe::decode(body, &mut offset, header).map(|packet| Packet::Unsubscribe {
                id: packet.pid,
                filters: packet.topics,
            })
        }
        PacketType::Pingreq => Ok(Packet::Ping),
        PacketType::Disconnect => Ok(Packet::Disconnect),
        _ => return Err(PacketError::Protocol("not one that a client sends")),
    };
    let packet = packet.map_err(|error| malformed(&error))?;
    whole(body, offset)?;
    Ok(packet)
}

fn decode_v5(frame: Frame, body: &[u8]) -> Result<Packet, PacketError> {
    use v5::PacketType;

    let header = frame.header_v5()?;
    let mut offset = 0;
    let packet = match header.typ {
        PacketType::Publish => v5::Publish::decode(body, &mut offset, header).map(|packet| {
            Packet::Publish(Publish {
                id: packet.qos_pid,
                retain: packet.retain,
                alias: packet.properties.topic_alias.is_some(),
                topic: packet.topic_name,
                payload: packet.payload,
            })
        }),
        PacketType::Puback => {
            v5::Puback::decode(body, &mut offset, header).map(|packet| Packet::Puback(packet.pid))
        }
        PacketType::Subscribe => {
            v5::Subscribe::decode(body, &mut offset, header).map(|packet| Packet::Subscribe {
                id: packet.pid,
                filters: packet
                    .topics
                    .into_iter()
                    .map(|(filter, options)| (filter, options.max_qos))
                    .collect(),
            })
        }
        PacketType::Unsubscribe => {
            v5::Unsubscribe::decode(body, &mut offset, header).map(|packet| Packet::Unsubscribe {
                id: packet.pid,
                filters: packet.topics,
            })
        }
        PacketType::Disconnect => {
            v5::Disconnect::decode(body, &mut offset, header).map(|_| Packet::Disconnect)
        }
        PacketType::Pingreq => Ok(Packet::Ping),
        _ => return Err(PacketError::Protocol("not one that a client sends")),
    };
    let packet = packet.map_err(|error| malformed(&error))?;
    whole(body, offset)?;
    Ok(packet)
}

fn whole(body: &[u8], read: usize) -> Result<(), PacketError> {
    if body.len() == read {
        Ok(())
    } else {
        Err(PacketError::Malformed(format!(
            "{} bytes long, but its content is {read}",
            body.len()
        )))
    }
}

fn malformed(error: &impl std::fmt::Display) -> PacketError {
    PacketError::Malformed(error.to_string())
}

fn unencodable(error: &Error) {
    // The makers of packets check their lengths.
    debug_assert!(false, "cannot encode a packet: {error}");
    tracing::error!(%error, "cannot encode an MQTT packet");
}

// === impl Frame ===

impl Frame {
    fn body(self, bytes: &[u8]) -> Result<&[u8], PacketError> {
        bytes
            .get(self.header_len..self.len)
            .ok_or_else(|| PacketError::Malformed("it is not complete".into()))
    }

    fn remaining(self) -> Result<u32, PacketError> {
        u32::try_from(self.len - self.header_len).map_err(|error| malformed(&error))
    }

    fn header_v5(self) -> Result<v5::Header, PacketError> {
        v5::Header::new_with(self.head, self.remaining()?, 0).map_err(|error| malformed(&error))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1024;

    fn read(bytes: &[u8], version: Version) -> Result<Packet, PacketError> {
        let frame = frame(bytes, LIMIT)?.ok_or(PacketError::Protocol("incomplete"))?;
        decode(frame, bytes, version)
    }

    fn read_connect(bytes: &[u8]) -> Result<Connect, PacketError> {
        let frame = frame(bytes, LIMIT)?.ok_or(PacketError::Protocol("incomplete"))?;
        decode_connect(frame, bytes)
    }

    fn samples() -> Vec<(Version, Vec<u8>)> {
        let id = Pid::try_from(7).unwrap();
        let filter = || TopicFilter::try_from("hp1/a/command").unwrap();
        let topic = || TopicName::try_from("hp1/a/report").unwrap();
        let mut packets = Vec::new();
        let v3: Vec<v3::Packet> = vec![
            v3::Publish::new(QosPid::Level1(id), topic(), Bytes::from_static(b"payload")).into(),
            v3::Publish::new(QosPid::Level0, topic(), Bytes::new()).into(),
            v3::Packet::Puback(id),
            v3::Subscribe::new(id, vec![(filter(), QoS::Level1), (filter(), QoS::Level0)]).into(),
            v3::Unsubscribe::new(id, vec![filter()]).into(),
            v3::Packet::Pingreq,
            v3::Packet::Disconnect,
        ];
        for packet in v3 {
            let mut bytes = Vec::new();
            encode_v3(&packet, &mut bytes);
            packets.push((Version::V3, bytes));
        }
        let mut publish = v5::Publish::new(QosPid::Level1(id), topic(), Bytes::from_static(b"payload"));
        publish.properties.message_expiry_interval = Some(3);
        publish.properties.content_type = Some("application/cbor".into());
        let v5: Vec<v5::Packet> = vec![
            publish.into(),
            v5::Puback::new_success(id).into(),
            v5::Puback::new(id, v5::PubackReasonCode::UnspecifiedError).into(),
            v5::Subscribe::new(id, vec![(filter(), v5::SubscriptionOptions::new(QoS::Level1))]).into(),
            v5::Unsubscribe::new(id, vec![filter()]).into(),
            v5::Packet::Pingreq,
            v5::Disconnect::new_normal().into(),
        ];
        for packet in v5 {
            let mut bytes = Vec::new();
            encode_v5(&packet, &mut bytes);
            packets.push((Version::V5, bytes));
        }
        packets
    }

    fn connects() -> Vec<Vec<u8>> {
        let mut old = v3::Connect::new("a".into(), 60);
        old.username = Some("user".into());
        old.password = Some(Bytes::from_static(b"password"));
        let mut new = v5::Connect::new("a".into(), 60);
        new.properties.receive_max = Some(3);
        new.properties.max_packet_size = Some(1000);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        encode_v3(&old.into(), &mut a);
        encode_v5(&new.into(), &mut b);
        vec![a, b]
    }

    #[test]
    fn packets_are_read_in_both_versions() {
        for (version, bytes) in samples() {
            read(&bytes, version).unwrap();
        }
        let connects: Vec<_> = connects()
            .iter()
            .map(|bytes| read_connect(bytes).unwrap())
            .collect();
        assert_eq!(connects[0].version, Version::V3);
        assert_eq!(connects[1].version, Version::V5);
        assert_eq!(connects[1].receive_maximum, 3);
        assert_eq!(connects[1].max_packet, 1000);
    }

    #[test]
    fn a_packet_in_pieces_is_waited_for() {
        let (_, bytes) = samples().remove(0);
        assert_eq!(frame(&[], LIMIT).unwrap(), None);
        assert_eq!(frame(&bytes[..1], LIMIT).unwrap(), None);
        let framed = frame(&bytes[..2], LIMIT).unwrap().unwrap();
        assert_eq!(framed.len, bytes.len());
        assert_eq!(frame(&[0x30, 0xff, 0xff, 0x80], LIMIT).unwrap(), None);
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_header() {
        let too_large = frame(&[0x30, 0xff, 0xff, 0xff, 0x7f], LIMIT);
        assert!(matches!(
            too_large,
            Err(PacketError::TooLarge { len: 268_435_460, .. })
        ));
        let endless = frame(&[0x30, 0xff, 0xff, 0xff, 0xff], LIMIT);
        assert!(matches!(endless, Err(PacketError::Malformed(_))));
    }

    #[test]
    fn malformed_packets_are_refused() {
        let bad_v3: [&[u8]; 11] = [
            b"\x32\x07\x00\x03a/b\x00\x00",     // packet id 0
            b"\x30\x05\x00\x03a/+",             // wildcard in the topic
            b"\x30\x05\x00\x03a/#",             // wildcard in the topic
            b"\x30\x05\x00\x03a\x00b",          // NUL in the topic
            b"\x30\x05\x00\x03a\xff\xfe",       // not UTF-8
            b"\x30\x05\x00\x09a/b",             // string longer than the packet
            b"\x36\x07\x00\x03a/b\x00\x01",     // QoS 3
            b"\x82\x02\x00\x01",                // SUBSCRIBE without a filter
            b"\x80\x08\x00\x01\x00\x03a/b\x01", // SUBSCRIBE with wrong flags
            b"\x40\x03\x00\x01\x00",            // PUBACK with a byte too many
            b"\xc0\x01\x00",                    // PINGREQ with a body
        ];
        for bytes in bad_v3 {
            let result = read(bytes, Version::V3);
            assert!(
                matches!(result, Err(PacketError::Malformed(_))),
                "{bytes:?}: {result:?}"
            );
        }
        let bad_v5: [&[u8]; 4] = [
            b"\x30\x08\x00\x03a/b\x02\x01\x02",         // payload format indicator 2
            b"\x30\x0a\x00\x03a/b\x04\x01\x00\x01\x00", // the same property twice
            b"\x30\x07\x00\x03a/b\x01\x7f",             // unknown property
            b"\x30\x06\x00\x03a/b\x09",                 // properties longer than the packet
        ];
        for bytes in bad_v5 {
            let result = read(bytes, Version::V5);
            assert!(
                matches!(result, Err(PacketError::Malformed(_))),
                "{bytes:?}: {result:?}"
            );
        }
        for bytes in [b"\x20\x02\x00\x00".as_slice(), b"\x50\x02\x00\x01"] {
            assert!(matches!(read(bytes, Version::V3), Err(PacketError::Protocol(_))));
        }
        assert!(matches!(
            read(b"\x50\x02\x00\x01", Version::V5),
            Err(PacketError::Protocol(_))
        ));
    }

    #[test]
    fn only_connect_comes_first_and_only_in_known_versions() {
        assert!(matches!(read_connect(b"\xc0\x00"), Err(PacketError::Protocol(_))));
        let old = b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a";
        assert_eq!(read_connect(old), Err(PacketError::Version));
        let future = b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x01a";
        assert_eq!(read_connect(future), Err(PacketError::Version));
        let mut trailing = connects().remove(0);
        trailing[1] += 1;
        trailing.push(0);
        assert!(matches!(read_connect(&trailing), Err(PacketError::Malformed(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes, Version::V3);
            let _ = read(&bytes, Version::V5);
            let _ = read_connect(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(
            sample in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut all: Vec<_> = samples().into_iter().map(|(_, bytes)| bytes).collect();
            all.extend(connects());
            let mut bytes = sample.get(&all).clone();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
                let _ = read(bytes, Version::V3);
                let _ = read(bytes, Version::V5);
                let _ = read_connect(bytes);
            }
        }
    }
}
