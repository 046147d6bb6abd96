//! MQTT packets of both versions, through rumqttc's codecs, as the few things that the uplink says and hears.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc as v4;
use rumqttc::v5::mqttbytes::QoS as Qos5;
use rumqttc::v5::mqttbytes::v5;

use crate::fault::Fault;
use crate::inbound::RECEIVE_MAX;
use crate::settings::Version;

/// The largest packet taken from the broker, in bytes, where the settings name no larger one to send; larger ones are
/// skipped. An `ack` message is far below.
pub(crate) const INCOMING_MAX: u32 = 64 * 1024;

/// What a CONNECT says.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) keep_alive: u16,
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// Topic and payload of the retained last will.
    pub(crate) will: Option<(&'a Bytes, Vec<u8>)>,
}

/// What a CONNACK allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) receive_max: u16,
    pub(crate) max_packet: u32,
    pub(crate) keep_alive: Option<u16>,
}

/// What the broker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    Admitted(Admission),
    Refused(Fault),
    PubAck {
        id: u16,
        reason: u8,
    },
    Publish {
        topic: Bytes,
        id: u16,
        payload: Bytes,
        retained: bool,
    },
    Subscribed {
        /// Whether each topic was granted, in the order of the SUBSCRIBE.
        granted: Vec<bool>,
    },
    PingResponse,
    Disconnect {
        reason: u8,
    },
    /// A packet above the limit was skipped.
    Skipped,
}

/// Packets of one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packets {
    version: Version,
    /// The largest packet taken, in bytes.
    incoming_max: u32,
    /// Bytes of an oversized packet that are still to be skipped.
    skip: usize,
}

fn malformed(why: impl std::fmt::Display) -> Fault {
    Fault::Malformed { why: why.to_string() }
}

impl Packets {
    /// Takes packets of [`INCOMING_MAX`] bytes, or of `largest` where that is more.
    pub(crate) fn new(version: Version, largest: u32) -> Self {
        Packets { version, incoming_max: largest.max(INCOMING_MAX), skip: 0 }
    }

    pub(crate) fn connect(&self, out: &mut BytesMut, connect: Connect<'_>) -> Result<(), Fault> {
        let written = match self.version {
            Version::V5 => {
                // No session expiry: the broker's session ends with the connection, as the ledger of this side does.
                let properties = v5::ConnectProperties {
                    max_packet_size: Some(self.incoming_max),
                    receive_maximum: Some(RECEIVE_MAX),
                    ..v5::ConnectProperties::new()
                };
                let packet = v5::Connect {
                    keep_alive: connect.keep_alive,
                    client_id: connect.client_id.to_owned(),
                    clean_start: true,
                    properties: Some(properties),
                };
                let will = connect.will.map(|(topic, message)| v5::LastWill {
                    topic: topic.clone(),
                    message: message.into(),
                    qos: Qos5::AtLeastOnce,
                    retain: true,
                    properties: None,
                });
                let login = connect.login.map(|(name, password)| v5::Login::new(name, password));
                packet.write(&will, &login, out).map_err(|error| error.to_string())
            }
            Version::V311 => {
                let mut packet = v4::Connect::new(connect.client_id);
                packet.keep_alive = connect.keep_alive;
                packet.last_will = connect.will.map(|(topic, message)| {
                    v4::LastWill::new(String::from_utf8_lossy(topic), message, v4::QoS::AtLeastOnce, true)
                });
                if let Some((name, password)) = connect.login {
                    packet.set_login(name, password);
                }
                packet.write(out).map_err(|error| error.to_string())
            }
        };
        written.map(drop).map_err(malformed)
    }

    /// Appends a PUBLISH with QoS 1, or with QoS 0 where `id` is 0. Gives the payload's buffer back.
    pub(crate) fn publish(
        &self,
        out: &mut BytesMut,
        (topic, id): (&Bytes, u16),
        payload: Vec<u8>,
        retain: bool,
    ) -> Result<Vec<u8>, Fault> {
        let payload = Bytes::from(payload);
        let once = id == 0;
        let (written, payload) = match self.version {
            Version::V5 => {
                let packet = v5::Publish {
                    dup: false,
                    qos: if once { Qos5::AtMostOnce } else { Qos5::AtLeastOnce },
                    retain,
                    topic: topic.clone(),
                    pkid: id,
                    payload,
                    properties: None,
                };
                (packet.write(out).map_err(|error| error.to_string()), packet.payload)
            }
            Version::V311 => {
                let topic = String::from_utf8_lossy(topic);
                let qos = if once { v4::QoS::AtMostOnce } else { v4::QoS::AtLeastOnce };
                let mut packet = v4::Publish::from_bytes(topic, qos, payload);
                (packet.pkid, packet.retain) = (id, retain);
                (packet.write(out).map_err(|error| error.to_string()), packet.payload)
            }
        };
        written.map_err(malformed)?;
        Ok(payload.into())
    }

    /// Appends a SUBSCRIBE to topics, each with QoS 1 (true) or 0.
    pub(crate) fn subscribe<'a>(
        &self,
        out: &mut BytesMut,
        id: u16,
        topics: impl Iterator<Item = (&'a str, bool)>,
    ) -> Result<(), Fault> {
        let written = match self.version {
            Version::V5 => {
                let qos = |kept| if kept { Qos5::AtLeastOnce } else { Qos5::AtMostOnce };
                let filters = topics.map(|(topic, kept)| v5::Filter::new(topic, qos(kept)));
                let mut packet = v5::Subscribe::new_many(filters, None);
                packet.pkid = id;
                packet.write(out).map_err(|error| error.to_string())
            }
            Version::V311 => {
                let qos = |kept| if kept { v4::QoS::AtLeastOnce } else { v4::QoS::AtMostOnce };
                let filters = topics.map(|(topic, kept)| v4::SubscribeFilter::new(topic.to_owned(), qos(kept)));
                let mut packet = v4::Subscribe::new_many(filters);
                packet.pkid = id;
                packet.write(out).map_err(|error| error.to_string())
            }
        };
        written.map(drop).map_err(malformed)
    }

    pub(crate) fn puback(&self, out: &mut BytesMut, id: u16) {
        // The same four bytes in both versions: MQTT 5, 3.4.2.1 lets a success go without reason and properties.
        out.extend_from_slice(&[0x40, 2]);
        out.extend_from_slice(&id.to_be_bytes());
    }

    pub(crate) fn ping(&self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xC0, 0]);
    }

    /// Appends a DISCONNECT. With `will`, the broker is to publish the last will: only MQTT 5 can say so, and a 3.1.1
    /// client simply hangs up.
    pub(crate) fn disconnect(&self, out: &mut BytesMut, will: bool) {
        match (self.version, will) {
            (Version::V5, true) => out.extend_from_slice(&[0xE0, 1, 0x04]),
            (_, false) => out.extend_from_slice(&[0xE0, 0]),
            (Version::V311, true) => {}
        }
    }

    /// Takes the next packet from the front of `bytes`; `None` when it is not complete yet.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for what MQTT does not allow.
    pub(crate) fn read(&mut self, bytes: &mut BytesMut) -> Result<Option<Incoming>, Fault> {
        if self.skip > 0 {
            let now = self.skip.min(bytes.len());
            bytes.advance(now);
            self.skip -= now;
            return Ok((self.skip == 0).then_some(Incoming::Skipped));
        }
        // What a broker may say, with the flags that MQTT 5, 2.1.3 reserves: anything else is no MQTT at all.
        match bytes.first() {
            None | Some(0x20 | 0x30..=0x3F | 0x40 | 0x90 | 0xD0 | 0xE0) => {}
            Some(byte) => return Err(malformed(format!("a packet that begins with 0x{byte:02x}"))),
        }
        let Some((header, length)) = frame(bytes)? else { return Ok(None) };
        if length > self.incoming_max as usize {
            self.skip = header + length;
            return self.read(bytes);
        }
        if bytes.len() < header + length {
            return Ok(None);
        }
        let kind = bytes[0] >> 4;
        let body = &bytes[header..header + length];
        let simple = match (kind, body) {
            (4, [high, low]) => Some(Incoming::PubAck { id: u16::from_be_bytes([*high, *low]), reason: 0 }),
            (4, [high, low, reason, ..]) => {
                Some(Incoming::PubAck { id: u16::from_be_bytes([*high, *low]), reason: *reason })
            }
            (13, []) => Some(Incoming::PingResponse),
            (14, body) => Some(Incoming::Disconnect { reason: body.first().copied().unwrap_or(0) }),
            // A broker of 3.1.1 answers a CONNECT of MQTT 5 in its own form, without properties.
            (2, [_, code]) if self.version == Version::V5 => Some(Incoming::Refused(match code {
                1 | 0x84 => Fault::Version { ours: "5" },
                code => Fault::Refused { why: format!("reason 0x{code:02x}") },
            })),
            (2 | 3 | 9, _) => None,
            (kind, _) => return Err(malformed(format!("a packet of type {kind} and {length} bytes"))),
        };
        if let Some(incoming) = simple {
            bytes.advance(header + length);
            return Ok(Some(incoming));
        }
        match self.version {
            Version::V5 => read_v5(bytes, self.incoming_max).map(Some),
            Version::V311 => read_v4(bytes, self.incoming_max).map(Some),
        }
    }
}

/// The bytes of the packet at the front of `bytes`, which is whole.
pub(crate) fn first_len(bytes: &[u8]) -> usize {
    frame(bytes).ok().flatten().map_or(bytes.len(), |(header, length)| bytes.len().min(header + length))
}

/// The lengths of fixed header and rest, once both are known (MQTT 5, 2.1.4).
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>, Fault> {
    let mut length = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 2, length)));
        }
    }
    if bytes.len() >= 5 { Err(malformed("a length of more than four bytes")) } else { Ok(None) }
}

fn read_v5(bytes: &mut BytesMut, largest: u32) -> Result<Incoming, Fault> {
    Ok(match v5::Packet::read(bytes, Some(largest)).map_err(malformed)? {
        v5::Packet::ConnAck(ack) if ack.code == v5::ConnectReturnCode::Success => {
            let (mut receive_max, mut max_packet, mut keep_alive) = (None, None, None);
            if let Some(properties) = ack.properties {
                receive_max = properties.receive_max;
                max_packet = properties.max_packet_size;
                keep_alive = properties.server_keep_alive;
            }
            // Absent, the maximum is 65,535 messages (3.2.2.3.3) and any size (3.2.2.3.6).
            Incoming::Admitted(Admission {
                receive_max: receive_max.unwrap_or(u16::MAX),
                max_packet: max_packet.unwrap_or(u32::MAX),
                keep_alive,
            })
        }
        v5::Packet::ConnAck(ack) => {
            use v5::ConnectReturnCode as Code;
            let said = ack.properties.and_then(|properties| properties.reason_string);
            let why = said.map_or_else(|| format!("{:?}", ack.code), |said| format!("{:?}: {said}", ack.code));
            Incoming::Refused(match ack.code {
                Code::BadUserNamePassword
                | Code::NotAuthorized
                | Code::ClientIdentifierNotValid
                | Code::Banned
                | Code::BadAuthenticationMethod => Fault::Credentials { why },
                Code::UnsupportedProtocolVersion => Fault::Version { ours: "5" },
                _ => Fault::Refused { why },
            })
        }
        v5::Packet::Publish(publish) => {
            let id = if publish.qos == Qos5::AtLeastOnce { publish.pkid } else { 0 };
            Incoming::Publish { topic: publish.topic, id, payload: publish.payload, retained: publish.retain }
        }
        v5::Packet::SubAck(ack) => {
            let granted = |code: &v5::SubscribeReasonCode| matches!(code, v5::SubscribeReasonCode::Success(_));
            Incoming::Subscribed { granted: ack.return_codes.iter().map(granted).collect() }
        }
        _ => return Err(malformed("a packet that only clients send")),
    })
}

fn read_v4(bytes: &mut BytesMut, largest: u32) -> Result<Incoming, Fault> {
    Ok(match v4::Packet::read(bytes, largest as usize).map_err(malformed)? {
        v4::Packet::ConnAck(ack) => {
            use v4::ConnectReturnCode as Code;
            let why = format!("{:?}", ack.code);
            match ack.code {
                Code::Success => {
                    Incoming::Admitted(Admission { receive_max: u16::MAX, max_packet: u32::MAX, keep_alive: None })
                }
                Code::RefusedProtocolVersion => Incoming::Refused(Fault::Version { ours: "3.1.1" }),
                Code::BadClientId | Code::BadUserNamePassword | Code::NotAuthorized => {
                    Incoming::Refused(Fault::Credentials { why })
                }
                Code::ServiceUnavailable => Incoming::Refused(Fault::Refused { why }),
            }
        }
        v4::Packet::Publish(publish) => {
            let id = if publish.qos == v4::QoS::AtLeastOnce { publish.pkid } else { 0 };
            let topic = Bytes::from(publish.topic.into_bytes());
            Incoming::Publish { topic, id, payload: publish.payload, retained: publish.retain }
        }
        v4::Packet::SubAck(ack) => {
            let granted = |code: &v4::SubscribeReasonCode| *code != v4::SubscribeReasonCode::Failure;
            Incoming::Subscribed { granted: ack.return_codes.iter().map(granted).collect() }
        }
        _ => return Err(malformed("a packet that only clients send")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(version: Version, bytes: &[u8]) -> Result<Vec<Incoming>, Fault> {
        let (mut packets, mut buffer) = (Packets::new(version, INCOMING_MAX), BytesMut::new());
        let mut found = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            while let Some(incoming) = packets.read(&mut buffer)? {
                found.push(incoming);
            }
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn no_bytes_from_the_broker_make_it_panic(
            kind: u8, mut body in prop::collection::vec(any::<u8>(), 0..60), v5: bool, lie in -2i32..3,
        ) {
            let length = (i32::try_from(body.len()).unwrap() + lie).clamp(0, 127);
            body.splice(0..0, [kind, u8::try_from(length).unwrap()]);
            let _ = all(if v5 { Version::V5 } else { Version::V311 }, &body);
        }
    }

    #[test]
    fn a_packet_that_is_too_large_is_skipped_and_the_next_one_read() {
        for version in [Version::V5, Version::V311] {
            let mut bytes = vec![0x30, 0xFF, 0xFF, 0x7F];
            bytes.resize(4 + 2_097_151, 0);
            bytes.extend_from_slice(&[0x40, 2, 0, 7]);
            assert_eq!(all(version, &bytes), Ok(vec![Incoming::Skipped, Incoming::PubAck { id: 7, reason: 0 }]));
        }
    }

    #[test]
    fn a_puback_with_a_reason_that_nobody_defined_is_still_an_answer() {
        assert_eq!(all(Version::V5, &[0x40, 3, 0, 1, 0xAB]), Ok(vec![Incoming::PubAck { id: 1, reason: 0xAB }]));
        assert_eq!(all(Version::V5, &[0x40, 4, 0, 1, 0x10, 0]), Ok(vec![Incoming::PubAck { id: 1, reason: 0x10 }]));
    }

    #[test]
    fn a_broker_of_the_other_version_is_told_apart_from_a_broken_one() {
        let refused = all(Version::V5, &[0x20, 2, 0, 1]);
        assert_eq!(refused, Ok(vec![Incoming::Refused(Fault::Version { ours: "5" })]));
        let refused = all(Version::V311, &[0x20, 2, 0, 1]);
        assert_eq!(refused, Ok(vec![Incoming::Refused(Fault::Version { ours: "3.1.1" })]));
        let http = all(Version::V5, b"HTTP/1.1 400 Bad Request\r\n");
        assert!(matches!(http, Err(Fault::Malformed { .. })), "{http:?}");
    }

    #[test]
    fn a_connack_tells_what_the_broker_allows() {
        let bytes = [0x20, 14, 0, 0, 11, 0x21, 0, 20, 0x27, 0, 0, 0x10, 0, 0x13, 0, 60];
        let admission = Admission { receive_max: 20, max_packet: 4096, keep_alive: Some(60) };
        assert_eq!(all(Version::V5, &bytes), Ok(vec![Incoming::Admitted(admission)]));
    }
}
