//! What the core sends to the daemon and what the daemon asks, against Debian's mosquitto and a broker played by hand.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::time::Duration;

use common::broker::{Box1, Core, Mosquitto, PATIENCE, until, without_mosquitto};
use common::{name, sample};
use gatehouse_core::Lane;
use gatehouse_uplink::schema::StatusMessage;
use gatehouse_uplink::{BackoffSettings, Broker, Inbound, Inventory, Message, Settings, UplinkEvent, Version};
use rumqttc::QoS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

fn settings(port: u16) -> Settings {
    let broker = Broker::parse(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    let quick = BackoffSettings { first: Duration::from_millis(50), last: Duration::from_millis(200) };
    Settings { backoff: quick, ..Settings::new(name("box-1"), vec![broker]) }
}

async fn message(site: &mut Box1) -> Message {
    match site.event(|event| matches!(event, UplinkEvent::Message(_))).await {
        UplinkEvent::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn listening(broker: &Mosquitto, version: Version) -> (Core, Box1) {
    let core = Core::start(broker.port);
    until("the core listens", || core.seen.borrow().connects == 1).await;
    let mut site = Box1::start(Settings { version, ..settings(broker.port) }, Inventory::default());
    site.up().await;
    // The broker takes packets in their order: with the status it has had the SUBSCRIBE.
    until("the status", || core.seen.borrow().other.contains_key("status")).await;
    (core, site)
}

#[tokio::test(flavor = "current_thread")]
async fn messages_of_the_core_come_with_their_topic_over_both_versions() {
    if without_mosquitto() {
        return;
    }
    for version in [Version::V5, Version::V311] {
        let work = async {
            let broker = Mosquitto::start("");
            let (core, mut site) = listening(&broker, version).await;
            let large = vec![b'x'; 100_000];
            for topic in Inbound::ALL {
                core.publish(topic.as_str(), if topic == Inbound::Credentials { &large[..] } else { b"{}" }).await;
                let message = message(&mut site).await;
                let size = message.payload.len();
                assert_eq!((message.topic, message.retained, message.authentic), (topic, false, false));
                assert_eq!(size, if topic == Inbound::Credentials { large.len() } else { 2 });
                site.uplink.settle(message.id);
            }
            let counters = site.uplink.status().counters;
            assert_eq!((counters.ignored, counters.dropped, counters.connects), (0, 0, 1));
        };
        LocalSet::new().run_until(work).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_broker_keeps_what_comes_while_the_daemon_settles_nothing() {
    if without_mosquitto() {
        return;
    }
    for version in [Version::V5, Version::V311] {
        let work = async {
            let broker = Mosquitto::start("");
            let (core, mut site) = listening(&broker, version).await;
            for n in 0..60u8 {
                core.publish("command", [n]).await;
            }
            // Receive maximum 16 under MQTT 5; mosquitto's own limit of 20 under 3.1.1.
            let unsettled = if version == Version::V5 { 16 } else { 20 };
            let mut first = Vec::new();
            for _ in 0..unsettled {
                first.push(message(&mut site).await);
            }
            // Answers have QoS 0: they pass by what is not settled.
            core.publish("answer", "{}").await;
            let answer = message(&mut site).await;
            assert_eq!(answer.topic, Inbound::Answer, "more than {unsettled} commands unsettled");
            site.uplink.settle(answer.id);
            for early in first.iter().rev() {
                site.uplink.settle(early.id);
            }
            let mut got: Vec<u8> = first.iter().map(|message| message.payload[0]).collect();
            while got.len() < 60 {
                let message = message(&mut site).await;
                got.extend_from_slice(&message.payload);
                site.uplink.settle(message.id);
            }
            assert!(got.is_sorted() && got.len() == 60, "each once and in order: {got:?}");
            assert_eq!(site.uplink.status().counters.dropped, 0);
        };
        LocalSet::new().run_until(work).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_the_broker_had_retained_is_marked_as_of_the_past() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let broker = Mosquitto::start("");
        let core = Core::start(broker.port);
        until("the core listens", || core.seen.borrow().connects == 1).await;
        core.client.publish("gatehouse/v1/box-1/command", QoS::AtLeastOnce, true, "{}").await.unwrap();
        until("the command is kept", || core.seen.borrow().other.contains_key("command")).await;
        let mut site = Box1::start(settings(broker.port), Inventory::default());
        let message = message(&mut site).await;
        assert_eq!((message.topic, message.retained), (Inbound::Command, true));
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_question_gets_its_answer_and_is_refused_while_the_link_is_down() {
    if without_mosquitto() {
        return;
    }
    for version in [Version::V5, Version::V311] {
        let work = async {
            let mut broker = Mosquitto::start("");
            let (core, mut site) = listening(&broker, version).await;
            assert!(site.uplink.ask(b"{\"request\":1}".to_vec()));
            until("the question", || core.seen.borrow().other.contains_key("ask")).await;
            assert_eq!(core.seen.borrow().other["ask"], b"{\"request\":1}");
            core.publish("answer", "{\"request\":1}").await;
            let answer = message(&mut site).await;
            assert_eq!((answer.topic, &answer.payload[..]), (Inbound::Answer, &b"{\"request\":1}"[..]));
            assert_eq!(site.uplink.status().counters.asked, 1);
            broker.kill();
            site.event(|event| matches!(event, UplinkEvent::LinkDown { .. })).await;
            assert!(!site.uplink.ask(b"{\"request\":2}".to_vec()));
        };
        LocalSet::new().run_until(work).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_status_says_how_the_site_stands() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let broker = Mosquitto::start("");
        let (core, mut site) = listening(&broker, Version::V5).await;
        let status = || {
            let seen = core.seen.borrow();
            serde_json::from_slice::<StatusMessage>(&seen.other["status"]).unwrap()
        };
        assert_eq!((status().state.as_str(), status().mode), ("online", None));
        site.uplink.set_mode("recovering");
        until("the mode", || status().mode.as_deref() == Some("recovering")).await;
        site.uplink.reconnect();
        site.up().await;
        site.uplink.set_mode("online");
        until("the next mode", || status().mode.as_deref() == Some("online")).await;
        site.uplink.drain(PATIENCE).await;
        until("the last status", || status().state == "stopped").await;
        assert_eq!(status().mode, None);
    };
    LocalSet::new().run_until(work).await;
}

/// The other end of one connection, which speaks MQTT 5 byte by byte.
struct ByHand {
    stream: TcpStream,
}

impl ByHand {
    /// Admits the box and answers its SUBSCRIBE with these codes.
    async fn admit(listener: &TcpListener, codes: &[u8]) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = ByHand { stream };
        assert_eq!(peer.packet().await.0, 0x10, "CONNECT");
        peer.stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
        let (kind, subscribe) = peer.packet().await;
        assert_eq!(kind, 0x82, "SUBSCRIBE");
        let mut suback = vec![0x90, 3 + codes.len() as u8, subscribe[0], subscribe[1], 0];
        suback.extend_from_slice(codes);
        peer.stream.write_all(&suback).await.unwrap();
        peer
    }

    /// The next packet: its first byte, and what follows the length.
    async fn packet(&mut self) -> (u8, Vec<u8>) {
        let kind = self.stream.read_u8().await.unwrap();
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.stream.read_u8().await.unwrap();
            length |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        (kind, body)
    }

    /// The packet ids of the next PUBACKs; other packets are passed over.
    async fn pubacks(&mut self, count: usize) -> Vec<u8> {
        let mut ids = Vec::new();
        while ids.len() < count {
            let (kind, body) = self.packet().await;
            if kind == 0x40 {
                ids.push(body[1]);
            }
        }
        ids
    }

    /// Sends a message to the box with QoS 1.
    async fn publish(&mut self, rest: &str, id: u8, payload: &[u8]) {
        let topic = format!("gatehouse/v1/box-1/{rest}");
        let mut packet = vec![0x32, (2 + topic.len() + 3 + payload.len()) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(&[0, id, 0]);
        packet.extend_from_slice(payload);
        self.stream.write_all(&packet).await.unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_puback_leaves_once_the_message_and_all_before_it_are_settled() {
    let work = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut site = Box1::start(settings(listener.local_addr().unwrap().port()), Inventory::default());
        let mut peer = ByHand::admit(&listener, &[1, 1, 1, 1, 1, 0]).await;
        peer.publish("command", 11, b"a").await;
        peer.publish("ticket", 12, b"b").await;
        peer.publish("ack", 13, b"{}").await;
        peer.publish("command", 11, b"a").await;
        peer.publish("command", 14, b"c").await;
        let mut came = Vec::new();
        for _ in 0..3 {
            came.push(message(&mut site).await);
        }
        let payloads: Vec<&[u8]> = came.iter().map(|message| &message.payload[..]).collect();
        assert_eq!(payloads, [b"a", b"b", b"c"], "a repetition is no new message");
        site.uplink.settle(came[1].id);
        site.uplink.settle(came[0].id);
        assert_eq!(peer.pubacks(3).await, [11, 12, 13]);

        // Another link: what came over the first one is no longer owed anything.
        drop(peer);
        let mut peer = ByHand::admit(&listener, &[1, 1, 1, 1, 1, 0]).await;
        peer.publish("command", 14, b"d").await;
        let again = message(&mut site).await;
        site.uplink.settle(came[2].id);
        peer.publish("command", 15, b"e").await;
        let last = message(&mut site).await;
        site.uplink.settle(last.id);
        site.store(Lane::Telemetry, sample("meter-1", 1, 0));
        loop {
            let (kind, body) = peer.packet().await;
            assert_ne!(kind, 0x40, "a message that is not settled got its PUBACK");
            if String::from_utf8_lossy(&body).contains("box-1/telemetry/live") {
                break;
            }
        }
        site.uplink.settle(again.id);
        assert_eq!(peer.pubacks(2).await, [14, 15]);
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_subscription_is_told_once_until_it_is_granted() {
    let work = async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut site = Box1::start(settings(listener.local_addr().unwrap().port()), Inventory::default());
        let refusal = |event: &UplinkEvent| matches!(event, UplinkEvent::SubscriptionRefused { .. });
        for (codes, told) in [
            (&[1, 1, 0x87, 1, 0x87, 0][..], &["command", "credentials"][..]),
            (&[1, 1, 0x87, 1, 1, 0], &[]),
            (&[1, 1, 1, 1, 0x87], &["credentials", "answer"]),
        ] {
            let mut peer = ByHand::admit(&listener, codes).await;
            peer.publish("answer", 1, b"{}").await;
            let before = site.told.len();
            message(&mut site).await;
            let topics: Vec<_> = site.told[before..].iter().filter(|event| refusal(event)).cloned().collect();
            let wanted = told.iter().map(|rest| format!("gatehouse/v1/box-1/{rest}"));
            let wanted: Vec<_> = wanted.map(|topic| UplinkEvent::SubscriptionRefused { topic }).collect();
            let mut sorted = wanted.clone();
            sorted.sort_by_key(|event| format!("{event:?}"));
            assert_eq!(topics, sorted);
        }
    };
    LocalSet::new().run_until(work).await;
}
