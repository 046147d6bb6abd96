//! A conversation with an OSDP reader that says anything: in the clear, signed with the right key, or nothing at all.

use std::time::Duration;

use gatehouse_core::driver::{Action, Argument};
use gatehouse_core::{Decoded, Driver, Mono, Name, PointIx, StepId, Value};
use gatehouse_drivers::osdp::frame::{Block, Found, Framing, encode, find};
use gatehouse_drivers::osdp::secure::{Handshake, SecureChannel};
use gatehouse_drivers::osdp::{Command, Key, Keys, OsdpPoint, OsdpReader, ReaderSettings, Secrets};

use crate::script::Script;

const ADDRESS: u8 = 5;
/// So many exchanges are a conversation.
const EXCHANGES: usize = 64;

/// Runs an input: settings, then one byte for each exchange and what the reader says in it.
///
/// # Panics
/// When the driver panics, or does not go on.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let chosen = script.byte();
    let keyed = chosen & 1 != 0;
    let own = Key::new([7; 16]);
    let keys = Keys {
        own: keyed.then(|| own.clone()),
        kept: if chosen & 64 != 0 { vec![Key::new([8; 16])] } else { Vec::new() },
        before: (chosen & 2 != 0).then(|| Key::new([9; 16])),
        commissioning: chosen & 4 != 0,
    };
    let settings = ReaderSettings { address: ADDRESS, crc: chosen & 8 == 0, mark: chosen & 16 != 0, keyed };
    let peer_key = if chosen & 32 != 0 { Key::DEFAULT } else { own };
    let mut talk = Talk {
        reader: OsdpReader::with_secrets(
            settings,
            points(),
            &[(0..12).map(PointIx).collect()],
            Secrets { keys, seed: [1; 16] },
        ),
        peer: Peer { key: peer_key, crc: chosen & 8 == 0, handshake: None, channel: None },
        now: Mono::from_millis(1000),
        steps: Vec::new(),
    };
    for _ in 0..EXCHANGES {
        if script.is_over() {
            return;
        }
        talk.exchange(&mut script);
    }
}

fn points() -> Vec<OsdpPoint> {
    vec![
        OsdpPoint::Card,
        OsdpPoint::Cards,
        OsdpPoint::Dropped,
        OsdpPoint::Keys,
        OsdpPoint::KeyCount,
        OsdpPoint::Tamper,
        OsdpPoint::Input(0),
        OsdpPoint::Output(31),
        OsdpPoint::Connected,
        OsdpPoint::Secure,
        OsdpPoint::Display,
        OsdpPoint::Light(0),
    ]
}

struct Talk {
    reader: OsdpReader,
    peer: Peer,
    now: Mono,
    /// The steps of the action at hand that are left.
    steps: Vec<StepId>,
}

/// The other end, as far as a conversation needs it to get anywhere.
struct Peer {
    key: Key,
    crc: bool,
    handshake: Option<Handshake>,
    channel: Option<SecureChannel>,
}

impl Talk {
    fn exchange(&mut self, script: &mut Script<'_>) {
        let chosen = script.byte();
        self.now = self.now + Duration::from_millis(if chosen & 0x80 == 0 { 100 } else { 2500 });
        if chosen & 0x40 != 0 && self.steps.is_empty() {
            self.begin(script.byte());
        }
        let step = self.steps.first().copied().unwrap_or(StepId(0));
        self.reader.prepare(step, self.now);
        let mut request = Vec::new();
        self.reader.encode(step, 0, &mut request);
        let (before, reply) = self.peer.reply(&request, chosen & 7, script);
        let heard = if chosen & 8 == 0 { reply } else { [before, reply].concat() };
        let (mut from, mut answered, mut refused) = (0, false, false);
        while from < heard.len() && !answered {
            let mut readings = Vec::new();
            match self.reader.decode(step, 0, &heard[from..], &mut readings) {
                Decoded::Incomplete { missing } => {
                    assert!(missing > 0, "it waits for nothing");
                    break;
                }
                Decoded::Skip { bytes, .. } => {
                    assert!((1..=heard.len() - from).contains(&bytes));
                    from += bytes;
                }
                Decoded::Reply { bytes } | Decoded::Nothing { bytes } => {
                    assert!((1..=heard.len() - from).contains(&bytes));
                    answered = true;
                }
                Decoded::Exception { bytes, code } => {
                    assert!((1..=heard.len() - from).contains(&bytes));
                    self.reader.denial(code);
                    (answered, refused) = (true, true);
                }
            }
        }
        self.reader.settled(step, self.now, answered);
        self.go_on(step, answered, refused);
    }

    /// What the line does once an exchange of an action is over.
    fn go_on(&mut self, step: StepId, answered: bool, refused: bool) {
        if self.steps.is_empty() || !answered {
            return;
        }
        let mut more = Vec::new();
        self.reader.follow_up(step, &mut more);
        self.steps.splice(..1, more);
        if self.steps.is_empty() || refused {
            self.steps.clear();
            self.reader.end();
        }
    }

    fn begin(&mut self, chosen: u8) {
        let call = |name: &str| {
            let command = Name::new(name).ok()?;
            Some(Action::Call { command, channel: Some(0), argument: Argument::Units(5) })
        };
        let action = match chosen & 7 {
            0 => Some(Action::Write(PointIx(7), Value::Bool(true))),
            1 => Some(Action::Write(PointIx(10), Value::Text("come in".into()))),
            2 => Some(Action::Identify),
            3 => Some(Action::Read(Vec::new())),
            4 => call("pulse"),
            5 => call("beep"),
            6 => call("flash_green"),
            _ => None,
        };
        if let Some(action) = action {
            let _ = self.reader.begin(&action, &mut self.steps);
        }
    }
}

impl Peer {
    /// What comes before a reply, and the reply to a request.
    fn reply(&mut self, request: &[u8], kind: u8, script: &mut Script<'_>) -> (Vec<u8>, Vec<u8>) {
        let noise = script.piece().to_vec();
        let Found::Frame { frame, .. } = find(request) else { panic!("the driver sent no frame: {request:02x?}") };
        if frame.sequence == 0 || frame.code == CHALLENGE {
            self.channel = None;
        }
        let asked = self.channel.as_ref().map(|channel| channel.command_mac(frame.signed));
        let reply = match (kind, Command::decode(frame.code, frame.data)) {
            // An honest reader, as far as a Secure Channel.
            (1..=3, Some(Command::Challenge(random))) => {
                let handshake = Handshake::new(&self.key, random, [3; 8]);
                let data = [&[0; 8][..], &[3; 8], &handshake.reader_cryptogram()].concat();
                self.handshake = Some(handshake);
                self.framed(frame.sequence, Some(0x12), 0x76, &data, None)
            }
            (1..=3, Some(Command::Cryptogram(_))) if self.handshake.is_some() => {
                let handshake = self.handshake.take();
                let mac = handshake.as_ref().map(Handshake::initial_mac).unwrap_or_default();
                self.channel = handshake.map(Handshake::into_channel);
                self.framed(frame.sequence, Some(0x14), 0x78, &mac, None)
            }
            (2, _) => self.framed(frame.sequence, None, 0x40, &[], asked),
            (1 | 3, _) => {
                let data = script.piece().to_vec();
                self.framed(frame.sequence, None, script.byte(), &data, asked)
            }
            (4, _) => {
                let data = script.piece().to_vec();
                self.framed(frame.sequence, None, script.byte(), &data, None)
            }
            (5, _) => self.framed(frame.sequence, None, 0x41, &[script.byte()], None),
            (6, _) => self.framed(0, None, 0x79, &[], None),
            (7, _) => script.piece().to_vec(),
            _ => Vec::new(),
        };
        (noise, reply)
    }

    fn framed(&mut self, sequence: u8, kind: Option<u8>, code: u8, data: &[u8], asked: Option<[u8; 16]>) -> Vec<u8> {
        let framing = Framing { address: 0x80 | ADDRESS, sequence, crc: self.crc, mark: false };
        let mut data = data.to_vec();
        let mut whole = None;
        let mut out = Vec::new();
        // Both ends make the same MACs: a reply goes on from that of the command.
        let signer = asked.zip(self.channel.clone()).map(|(asked, mut channel)| {
            channel.advance(asked);
            channel
        });
        let block = match &signer {
            Some(_) if data.is_empty() => Some(Block { kind: 0x16, data: &[] }),
            Some(channel) => {
                channel.seal(&mut data);
                Some(Block { kind: 0x18, data: &[] })
            }
            None => kind.map(|kind| Block { kind, data: &[1] }),
        };
        let sign = |signed: &[u8]| {
            let mac = signer.as_ref().map(|channel| channel.command_mac(signed)).unwrap_or_default();
            whole = Some(mac);
            [mac[0], mac[1], mac[2], mac[3]]
        };
        encode(framing, block, (code, &data), sign, &mut out);
        if let (Some(channel), Some(mac), true) = (&mut self.channel, whole, asked.is_some()) {
            channel.advance(mac);
        }
        out
    }
}

const CHALLENGE: u8 = 0x76;
