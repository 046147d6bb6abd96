mod keys;

use std::time::Duration;

use gatehouse_core::driver::Argument;
use gatehouse_core::{Name, NoData};

use super::*;
use crate::osdp::command::{self, Command};
use crate::osdp::frame::{Block, Framing, encode};
use crate::osdp::reply::code;
use crate::osdp::secure::{Handshake, Key, SecureChannel};

const OWN: Key = Key::new([7; 16]);
const OLD: Key = Key::new([9; 16]);
const POINTS: [OsdpPoint; 7] = [
    OsdpPoint::Card,
    OsdpPoint::Cards,
    OsdpPoint::Dropped,
    OsdpPoint::Connected,
    OsdpPoint::Secure,
    OsdpPoint::Tamper,
    OsdpPoint::Output(0),
];
const CARD: &[u8] = &[0x50, 0, 1, 26, 0, 0xBD, 0xD9, 0x37, 0x40];

/// A reader, as far as these stories need one: what it keeps, its key, and the last reply, which it repeats.
struct Peer {
    key: Key,
    kept: Vec<Vec<u8>>,
    last: Option<(Vec<u8>, Vec<u8>)>,
    handshake: Option<Handshake>,
    secure: Option<Mirror>,
    obeyed: Vec<Command>,
    busy: u8,
}

/// The reader's end of a Secure Channel: both ends make the same MACs.
struct Mirror {
    channel: SecureChannel,
}

impl Peer {
    fn new(key: Key) -> Self {
        Peer { key, kept: Vec::new(), last: None, handshake: None, secure: None, obeyed: Vec::new(), busy: 0 }
    }

    fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        if let Some((asked, reply)) = &self.last
            && asked == request
        {
            return reply.clone();
        }
        let Found::Frame { frame, .. } = find(request) else { panic!("no frame: {request:02X?}") };
        assert!(!frame.from_reader && frame.address == 5);
        if self.busy > 0 {
            self.busy -= 1;
            return reply_frame(0, None, &[code::BUSY], None);
        }
        if frame.sequence == 0 {
            (self.secure, self.handshake) = (None, None);
        }
        let mut data = frame.data.to_vec();
        // A challenge begins anew, whatever there was.
        self.secure.take_if(|_| frame.code == command::code::CHLNG);
        let asked = self.secure.as_ref().map(|mirror| mirror.channel.command_mac(frame.signed));
        if let (Some(mirror), Some(whole)) = (&self.secure, asked) {
            assert_eq!(frame.mac.unwrap(), whole[..4], "the reader finds the MAC right");
            if frame.block.unwrap().is_sealed() {
                mirror.channel.open_command(&mut data);
            }
        }
        let command = Command::decode(frame.code, &data).unwrap();
        let (kind, plain) = self.obey(&command);
        let reply = match (&mut self.secure, asked) {
            (Some(mirror), Some(asked)) if kind.is_none() => {
                let reply = reply_frame(frame.sequence, None, &plain, Some((&mirror.channel, asked)));
                let Found::Frame { frame, .. } = find(&reply) else { panic!("own reply") };
                let whole = mirror.channel.reply_mac(frame.signed, asked, frame.mac.unwrap()).unwrap();
                mirror.channel.advance(whole);
                reply
            }
            _ => reply_frame(frame.sequence, kind, &plain, None),
        };
        if let Some(handshake) = self.handshake.take_if(|_| matches!(command, Command::Cryptogram(_))) {
            self.secure = Some(Mirror { channel: handshake.into_channel() });
        }
        self.last = Some((request.to_vec(), reply.clone()));
        reply
    }

    fn obey(&mut self, command: &Command) -> (Option<u8>, Vec<u8>) {
        match command {
            Command::Id => (None, vec![code::PDID, 1, 2, 3, 4, 5, 6, 0, 0, 0, 1, 2, 3]),
            Command::Capabilities => (None, vec![code::PDCAP, 9, 1, 0]),
            Command::LocalStatus => (None, vec![code::LSTATR, 0, 0]),
            Command::OutputStatus => (None, vec![code::OSTATR, 1]),
            Command::Challenge(random) => {
                self.secure = None;
                let handshake = Handshake::new(&self.key, *random, [3; 8]);
                let mut reply = vec![code::CCRYPT, 0, 0, 0, 0, 0, 0, 0, 0];
                reply.extend([3; 8]);
                reply.extend(handshake.reader_cryptogram());
                self.handshake = Some(handshake);
                (Some(0x12), reply)
            }
            Command::Cryptogram(cryptogram) => {
                let handshake = self.handshake.as_ref().unwrap();
                assert_eq!(*cryptogram, handshake.panel_cryptogram());
                (Some(0x14), [&[code::RMAC_I][..], &handshake.initial_mac()].concat())
            }
            Command::SetKey(key) => {
                assert!(self.secure.is_some(), "a key never travels in the clear");
                self.key = Key::new(*key);
                (None, vec![code::ACK])
            }
            Command::Poll if !self.kept.is_empty() => (None, self.kept.remove(0)),
            Command::Poll => (None, vec![code::ACK]),
            other => {
                self.obeyed.push(other.clone());
                (None, vec![code::ACK])
            }
        }
    }
}

fn reply_frame(sequence: u8, kind: Option<u8>, plain: &[u8], secure: Option<(&SecureChannel, [u8; 16])>) -> Vec<u8> {
    let framing = Framing { address: 0x85, sequence, crc: true, mark: false };
    let (code, data) = plain.split_first().unwrap();
    let mut data = data.to_vec();
    let block = match (secure, kind) {
        (Some(_), _) if data.is_empty() => Some(Block { kind: 0x16, data: &[] }),
        (Some((channel, asked)), _) => {
            channel.seal_reply(asked, &mut data);
            Some(Block { kind: 0x18, data: &[] })
        }
        (None, Some(kind)) => Some(Block { kind, data: &[1] }),
        (None, None) => None,
    };
    let mac = |signed: &[u8]| secure.map_or([0; 4], |(channel, asked)| channel.mac_after(asked, signed));
    let mut out = Vec::new();
    encode(framing, block, (*code, &data), mac, &mut out);
    out
}

/// A driver and the time that passes with each exchange.
struct Story {
    reader: OsdpReader,
    now: Mono,
}

impl Story {
    fn new(keys: Keys) -> Self {
        let settings = ReaderSettings { address: 5, crc: true, mark: true, keyed: keys.own.is_some() };
        let points: Vec<PointIx> = (0..7).map(PointIx).collect();
        let secrets = Secrets { keys, seed: [1; 16] };
        Story { reader: OsdpReader::with_secrets(settings, POINTS, &[points], secrets), now: Mono::from_millis(1000) }
    }

    fn ask(&mut self, step: StepId) -> Vec<u8> {
        self.now = self.now + Duration::from_millis(100);
        self.reader.prepare(step, self.now);
        let mut request = Vec::new();
        self.reader.encode(step, 0, &mut request);
        request
    }

    fn hear(&mut self, step: StepId, reply: &[u8]) -> (Decoded, Vec<PointReading>) {
        let mut readings = Vec::new();
        let verdict = self.reader.decode(step, 0, reply, &mut readings);
        let answered = matches!(verdict, Decoded::Reply { .. } | Decoded::Exception { .. });
        self.reader.settled(step, self.now, answered);
        (verdict, readings)
    }

    fn poll(&mut self, peer: &mut Peer) -> Vec<String> {
        let request = self.ask(StepId(0));
        let reply = peer.answer(&request);
        let (verdict, readings) = self.hear(StepId(0), &reply);
        assert_eq!(verdict, Decoded::Reply { bytes: reply.len() });
        texts(&readings)
    }

    fn polls(&mut self, peer: &mut Peer, count: usize) -> Vec<String> {
        (1..count).for_each(|_| drop(self.poll(peer)));
        self.poll(peer)
    }

    fn missed(&mut self) -> Vec<u8> {
        let request = self.ask(StepId(0));
        self.reader.settled(StepId(0), self.now, false);
        request
    }

    /// Sends an action as the line does; the exception that ended it, if one did.
    fn act(&mut self, peer: &mut Peer, action: &Action) -> Option<u8> {
        let mut steps = Vec::new();
        self.reader.begin(action, &mut steps).unwrap();
        let mut at = 0;
        let mut refused = None;
        while let Some(&step) = steps.get(at) {
            let request = self.ask(step);
            let reply = peer.answer(&request);
            if let (Decoded::Exception { code, .. }, _) = self.hear(step, &reply) {
                refused = Some(code);
                break;
            }
            let mut more = Vec::new();
            self.reader.follow_up(step, &mut more);
            at += 1;
            steps.splice(at..at, more);
        }
        self.reader.end();
        refused
    }
}

fn texts(readings: &[PointReading]) -> Vec<String> {
    let text = |reading: &PointReading| match &reading.value {
        Ok(value) => value.to_string(),
        Err(NoData::NotAvailable) => "-".to_owned(),
        Err(other) => panic!("{other}"),
    };
    readings.iter().map(text).collect()
}

fn own() -> Keys {
    Keys { own: Some(OWN), ..Keys::default() }
}

fn pulse() -> Action {
    let command = Name::new("pulse").unwrap();
    Action::Call { command, channel: Some(0), argument: Argument::Units(10) }
}

#[test]
fn a_reader_without_a_key_starts_up_and_shows_its_cards_once_each() {
    let (mut story, mut peer) = (Story::new(Keys::default()), Peer::new(OWN));
    assert_eq!(story.poll(&mut peer)[3], "false", "ID");
    story.polls(&mut peer, 3);
    assert_eq!(story.poll(&mut peer), ["", "0", "0", "true", "false", "false", "true"]);
    peer.kept.push(CARD.to_vec());
    assert_eq!(story.poll(&mut peer)[..3], ["26:2F764DD", "1", "0"]);
    assert_eq!(story.poll(&mut peer)[..3], ["26:2F764DD", "1", "0"]);
    peer.kept.push(CARD.to_vec());
    assert_eq!(story.poll(&mut peer)[..3], ["26:2F764DD", "2", "0"]);
}

#[test]
fn a_secure_channel_is_set_up_and_cards_come_sealed() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    assert_eq!(story.polls(&mut peer, 7)[3..], ["true", "true", "false", "true"]);
    peer.kept.push(CARD.to_vec());
    assert_eq!(story.poll(&mut peer)[..3], ["26:2F764DD", "1", "0"]);
}

#[test]
fn a_request_is_repeated_byte_for_byte_and_a_card_in_a_lost_reply_counts_once() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    peer.kept.push(CARD.to_vec());
    let request = story.ask(StepId(0));
    peer.answer(&request);
    story.reader.settled(StepId(0), story.now, false);
    assert_eq!(story.missed(), request);
    assert_eq!(story.poll(&mut peer)[..3], ["26:2F764DD", "1", "0"]);
    assert_eq!(story.poll(&mut peer)[1], "1");
}

#[test]
fn after_eight_misses_the_connection_begins_anew_and_what_the_reader_kept_is_dropped() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let poll = story.missed();
    for _ in 1..8 {
        assert_eq!(story.missed(), poll);
    }
    peer.kept.extend([CARD.to_vec(), CARD.to_vec()]);
    assert_eq!(story.poll(&mut peer)[3], "false");
    let shown = story.polls(&mut peer, 7);
    assert_eq!(shown[..4], ["-", "-", "2", "false"]);
    assert_eq!(story.poll(&mut peer)[..4], ["", "0", "2", "true"]);
    peer.kept.push(CARD.to_vec());
    assert_eq!(story.poll(&mut peer)[..4], ["26:2F764DD", "1", "2", "true"]);
}

#[test]
fn a_card_that_waited_longer_than_two_seconds_is_dropped_without_a_new_connection() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    story.now = story.now + Duration::from_secs(3);
    peer.kept.push(CARD.to_vec());
    assert_eq!(story.poll(&mut peer)[..4], ["-", "-", "1", "false"]);
    assert_eq!(story.poll(&mut peer)[..4], ["", "0", "1", "true"]);
    assert!(peer.secure.is_some());
}

#[test]
fn after_eight_seconds_the_reader_has_forgotten_and_all_begins_with_number_0() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    story.now = story.now + Duration::from_secs(8);
    let request = story.ask(StepId(0));
    let Found::Frame { frame, .. } = find(&request) else { panic!() };
    assert_eq!((frame.code, frame.sequence), (command::code::ID, 0));
}

#[test]
fn a_wrong_mac_ends_the_channel_and_is_acted_upon_by_nobody() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    peer.kept.push(CARD.to_vec());
    let request = story.ask(StepId(0));
    let mut reply = peer.answer(&request);
    let at = reply.len() - 3;
    reply[at] ^= 1;
    let body = reply.len() - 2;
    let crc = crate::osdp::frame::crc(&reply[..body]).to_le_bytes();
    reply[body..].copy_from_slice(&crc);
    let (verdict, readings) = story.hear(StepId(0), &reply);
    assert_eq!(verdict, Decoded::Exception { bytes: reply.len(), code: BAD_MAC });
    assert!(readings.is_empty());
    assert_eq!(story.poll(&mut peer)[3..5], ["false", "false"], "it begins anew");
    assert_eq!(story.polls(&mut peer, 8)[..4], ["", "0", "0", "true"]);
}

#[test]
fn a_card_in_the_clear_is_not_heard_within_a_secure_channel() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let request = story.ask(StepId(0));
    let Found::Frame { frame, .. } = find(&request) else { panic!() };
    let forged = reply_frame(frame.sequence, None, CARD, None);
    let (verdict, readings) = story.hear(StepId(0), &forged);
    assert!(matches!(verdict, Decoded::Skip { .. }) && readings.is_empty());
    assert_eq!(story.poll(&mut peer)[1], "0");
}

#[test]
fn a_reader_that_lost_its_keys_is_started_up_again_at_once() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let request = story.ask(StepId(0));
    let Found::Frame { frame, .. } = find(&request) else { panic!() };
    story.hear(StepId(0), &reply_frame(frame.sequence, None, &[code::NAK, 6], None));
    assert_eq!(story.polls(&mut peer, 8)[3..5], ["true", "true"]);
}

#[test]
fn an_action_begins_the_connection_where_there_is_none_and_a_busy_reader_is_asked_again() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    assert_eq!(story.act(&mut peer, &pulse()), None);
    peer.busy = 1;
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    let request = story.ask(steps[0]);
    let busy = peer.answer(&request);
    let (verdict, _) = story.hear(steps[0], &busy);
    assert_eq!(verdict, Decoded::Exception { bytes: busy.len(), code: BUSY });
    assert_eq!(story.ask(steps[0]), request, "the same again");
    let reply = peer.answer(&request);
    assert!(matches!(story.hear(steps[0], &reply).0, Decoded::Reply { .. }));
    story.reader.end();
    assert_eq!(peer.obeyed.len(), 2);
}

#[test]
fn an_action_that_was_given_up_does_not_go_out_later() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    story.ask(steps[0]);
    story.reader.settled(steps[0], story.now, false);
    story.reader.end();
    story.polls(&mut peer, 20);
    assert!(peer.obeyed.is_empty());
}

#[test]
fn an_act_whose_answer_was_lost_ends_as_unknown_once_its_connection_is_gone() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    let lost = story.ask(steps[0]);
    peer.answer(&lost);
    story.reader.settled(steps[0], story.now, false);
    story.now = story.now + Duration::from_secs(9);
    let request = story.ask(steps[0]);
    let reply = peer.answer(&request);
    let (verdict, _) = story.hear(steps[0], &reply);
    assert_eq!(verdict, Decoded::Exception { bytes: reply.len(), code: DOUBTFUL });
    assert_eq!(story.reader.denial(DOUBTFUL), Denial::NoAnswer, "which the line tells as unknown");
    story.reader.end();
    story.polls(&mut peer, 20);
    assert_eq!(peer.obeyed.len(), 1, "and it is not sent again");
    assert_eq!(story.act(&mut peer, &pulse()), None, "the next one is another");
}

#[test]
fn an_act_whose_answer_came_to_a_poll_is_done_and_not_sent_again() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    let lost = story.ask(steps[0]);
    peer.answer(&lost);
    story.reader.settled(steps[0], story.now, false);
    story.poll(&mut peer);
    let request = story.ask(steps[0]);
    let reply = peer.answer(&request);
    assert_eq!(story.hear(steps[0], &reply).0, Decoded::Reply { bytes: reply.len() });
    story.reader.end();
    assert_eq!(peer.obeyed.len(), 1);
}

#[test]
fn a_busy_reader_whose_answer_was_lost_before_may_have_obeyed() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    story.ask(steps[0]);
    story.reader.settled(steps[0], story.now, false);
    story.ask(steps[0]);
    let busy = reply_frame(0, None, &[code::BUSY], None);
    assert_eq!(story.hear(steps[0], &busy).0, Decoded::Exception { bytes: busy.len(), code: DOUBTFUL });
}

#[test]
fn a_refusal_without_a_reason_is_no_success() {
    let (mut story, mut peer) = (Story::new(Keys::default()), Peer::new(OWN));
    story.polls(&mut peer, 5);
    let mut steps = Vec::new();
    story.reader.begin(&pulse(), &mut steps).unwrap();
    let request = story.ask(steps[0]);
    let Found::Frame { frame, .. } = find(&request) else { panic!() };
    let no = reply_frame(frame.sequence, None, &[code::NAK], None);
    assert_eq!(story.hear(steps[0], &no).0, Decoded::Exception { bytes: no.len(), code: 0 });
}

#[test]
fn a_number_that_went_astray_in_the_handshake_begins_it_anew_at_once_but_not_for_ever() {
    for answered in [2, 3] {
        let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
        story.polls(&mut peer, answered);
        let request = story.ask(StepId(0));
        let Found::Frame { frame, .. } = find(&request) else { panic!() };
        assert_eq!(frame.code, [command::code::CHLNG, command::code::SCRYPT][answered - 2]);
        story.hear(StepId(0), &reply_frame(frame.sequence, None, &[code::NAK, 4], None));
        assert_eq!(story.polls(&mut peer, 8)[3..5], ["true", "true"], "a second later, not ten minutes");
    }
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    let mut challenges = 0;
    for _ in 0..100 {
        let request = story.ask(StepId(0));
        let Found::Frame { frame, .. } = find(&request) else { panic!() };
        let is_challenge = frame.code == command::code::CHLNG;
        challenges += usize::from(is_challenge);
        let no = reply_frame(frame.sequence, None, &[code::NAK, 4], None);
        let reply = if is_challenge { no } else { peer.answer(&request) };
        story.hear(StepId(0), &reply);
    }
    assert_eq!(challenges, 4, "then it counts as refused");
}

#[test]
fn a_wrong_mac_that_the_line_did_not_take_does_not_end_the_channel() {
    let (mut story, mut peer) = (Story::new(own()), Peer::new(OWN));
    story.polls(&mut peer, 7);
    peer.kept.push(CARD.to_vec());
    let request = story.ask(StepId(0));
    let reply = peer.answer(&request);
    let mut forged = reply.clone();
    let (at, body) = (reply.len() - 3, reply.len() - 2);
    forged[at] ^= 1;
    let crc = crate::osdp::frame::crc(&forged[..body]).to_le_bytes();
    forged[body..].copy_from_slice(&crc);
    let verdict = story.reader.decode(StepId(0), 0, &forged, &mut Vec::new());
    assert_eq!(verdict, Decoded::Exception { bytes: forged.len(), code: BAD_MAC });
    let (_, readings) = story.hear(StepId(0), &reply);
    assert_eq!(texts(&readings)[..2], ["26:2F764DD", "1"]);
    assert_eq!(story.poll(&mut peer)[3..5], ["true", "true"]);
}

#[test]
fn a_command_is_known_as_a_request_and_a_reply_is_not() {
    let (mut story, mut peer) = (Story::new(Keys::default()), Peer::new(OWN));
    let request = story.ask(StepId(0));
    assert!(story.reader.is_request(&[&[0x53, 0x00][..], &request].concat()), "behind a false start");
    assert!(!story.reader.is_request(&peer.answer(&request)));
    assert!(!story.reader.is_request(&request[..request.len() - 1]));
}

#[test]
fn points_are_written_as_far_as_they_can_hold_the_value() {
    let (mut story, mut peer) = (Story::new(Keys::default()), Peer::new(OWN));
    story.polls(&mut peer, 5);
    assert_eq!(story.act(&mut peer, &Action::Write(PointIx(6), Value::Bool(true))), None);
    assert_eq!(peer.obeyed.len(), 1);
    let mut steps = Vec::new();
    let refused = story.reader.begin(&Action::Write(PointIx(0), Value::Bool(true)), &mut steps);
    assert_eq!(refused, Err(ActionError::ReadOnly));
    let name = Name::new("set_communication").unwrap();
    for (channel, baud) in [(Some(127), 9600), (None, 9600), (Some(1), 9601)] {
        let call = Action::Call { command: name.clone(), channel, argument: Argument::Value(baud) };
        assert!(story.reader.begin(&call, &mut steps).is_err());
    }
}
