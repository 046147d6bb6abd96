//! The whole machine, with a shell that keeps what it is told to keep, and a core that signs.

mod codes;
mod listing;
mod model;
mod snapshots;
mod stories;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{BootId, Mono, Stamp, Trust, Wall};
use jiff::tz::TimeZone;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

use super::wiegand::{Bits, Card, Format};
use super::*;
use crate::effect::Effect;
use crate::schedule::Calendar;
use crate::words::{Condition, DecidedBy, Direction, HolderClass, Mode, Passed, RequestId, Verdict};

/// Monday, 4 January 2027, 12:00 UTC.
const NOON: i64 = 1_799_064_000;

fn core_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

fn lookup() -> LookupKey {
    LookupKey::new(&[7; 32])
}

fn seconds(unix: i64) -> u32 {
    u32::try_from(unix).unwrap()
}

/// A full snapshot's header, or a delta's.
fn header(version: u64, base_version: Option<u64>) -> Header {
    Header {
        format: snapshot::FORMAT.to_owned(),
        site: "riverside".to_owned(),
        lookup_key: lookup().id().to_owned(),
        version,
        base_version,
        created: seconds(NOON - 3600),
        expires_at: seconds(NOON + 30 * 24 * 3600),
        count: 0,
        groups: base_version
            .is_none()
            .then(|| [("garage".to_owned(), vec!["entry".to_owned(), "exit".to_owned()])].into()),
        schedules: base_version.is_none().then(|| {
            [
                ("work".to_owned(), "mon-fri 08:00-18:00".parse().unwrap()),
                ("night".to_owned(), "daily 22:00-06:00".parse().unwrap()),
            ]
            .into()
        }),
        quotas: base_version.is_none().then(|| {
            [("cars".to_owned(), Quota { each: Some(2), households: [("h-one".to_owned(), 1)].into() })].into()
        }),
    }
}

/// A resident's credential for the garage.
fn credential(id: CredentialId, kind: CredentialKind, who: &str) -> Credential {
    Credential {
        id,
        kind,
        who: who.to_owned(),
        class: HolderClass::Resident,
        household: String::new(),
        gates: Vec::new(),
        groups: vec!["garage".to_owned()],
        from: None,
        until: None,
        schedule: String::new(),
        flags: Vec::new(),
        number: None,
    }
}

fn plate_id(text: &str) -> CredentialId {
    lookup().plate(&plate::Plate::read(text).unwrap())
}

fn plate_credential(text: &str, who: &str) -> Credential {
    credential(plate_id(text), CredentialKind::Plate, who)
}

fn card_bits(number: u64) -> Bits {
    Format::built_in()[0].encode(Card { facility: Some(7), number }).unwrap()
}

fn card_id(number: u64) -> CredentialId {
    lookup().card("H10301-26", Card { facility: Some(7), number })
}

fn plate(text: &str) -> Proof {
    Proof::Plate { text: text.to_owned(), confidence: 95, colour: None }
}

fn card(number: u64) -> Proof {
    Proof::Card { bits: card_bits(number), format: None }
}

fn code(text: &str) -> Proof {
    Proof::Code(text.to_owned())
}

fn gate(name: &str, zone: Option<&str>, policy: GatePolicy) -> GateAccess {
    GateAccess { gate: name.to_owned(), zone: zone.map(str::to_owned), policy }
}

/// Three gates: the garage's entry and exit with the zone `cars`, and a lobby that takes visitors' PINs.
fn gates(policy: &GatePolicy) -> Vec<GateAccess> {
    let lobby = GatePolicy { visitor_pins: true, ..policy.clone() };
    vec![
        gate("entry", Some("cars"), policy.clone()),
        gate("exit", Some("cars"), policy.clone()),
        gate("lobby", None, lobby),
    ]
}

/// The machine and its world.
struct Bench {
    policy: GatePolicy,
    capacity: Option<u32>,
    access: Access,
    now: Stamp,
    mode: Mode,
    kept: BTreeMap<String, Vec<u8>>,
    file: Option<Vec<u8>>,
    salt: u8,
    request: u64,
    events: Vec<(&'static str, Value)>,
    verdicts: Vec<Verdict>,
    asks: Vec<Ask>,
    conditions: Vec<Condition>,
    /// Verdicts whose passage has not been told.
    passing: Vec<Verdict>,
}

impl Bench {
    fn new(policy: GatePolicy) -> Bench {
        let now = Stamp {
            boot: BootId(1),
            mono: Mono::from_millis(1_000_000),
            wall: Wall(NOON * 1_000_000),
            trust: Trust::Synchronised,
        };
        Bench {
            access: access(&policy, None),
            policy,
            capacity: None,
            now,
            mode: Mode::Online,
            kept: BTreeMap::new(),
            file: None,
            salt: 0,
            request: 0,
            events: Vec::new(),
            verdicts: Vec::new(),
            asks: Vec::new(),
            conditions: Vec::new(),
            passing: Vec::new(),
        }
    }

    /// A bench whose first snapshot, version 1, holds these.
    fn with(policy: GatePolicy, credentials: Vec<Credential>) -> Bench {
        let mut bench = Bench::new(policy);
        bench.snapshot(&header(1, None), credentials.into_iter().map(Change::Put).collect()).unwrap();
        bench.write_image();
        bench
    }

    fn with_capacity(mut self, capacity: u32) -> Bench {
        self.capacity = Some(capacity);
        self.restart();
        self
    }

    fn key(&self) -> SealKey {
        SealKey::new(&[2; 32])
    }

    fn salt(&mut self) -> Salt {
        self.salt = self.salt.wrapping_add(1);
        Salt([self.salt; 16])
    }

    fn snapshot(&mut self, header: &Header, changes: Vec<Change>) -> Result<Applied, ApplyError> {
        let verified =
            Snapshot::verify(&Snapshot::sign(header, changes, &core_key()), &self.access.expected()).unwrap();
        let salt = self.salt();
        let applied = self.access.handle_snapshot(self.now, verified, salt);
        self.drain();
        applied
    }

    fn write_image(&mut self) {
        let image = self.access.image().unwrap();
        let salt = self.salt();
        self.file = Some(image.seal(&self.key(), salt));
        self.access.handle_image_written(self.now, image.version());
        self.drain();
    }

    /// Kills the process and starts it again.
    fn restart(&mut self) {
        self.access = access(&self.policy, self.capacity);
        for (key, value) in &self.kept {
            self.access.restore(key, value).unwrap();
        }
        let image = self.file.as_deref().map(|file| Image::open(&self.key(), file).unwrap());
        let _opened = self.access.open(image.as_ref());
    }

    /// The box loses power for a minute.
    fn reboot(&mut self) {
        self.now = Stamp { boot: BootId(self.now.boot.0 + 1), mono: Mono::from_millis(5_000), ..self.now };
        self.now.wall.0 += 60_000_000;
        self.restart();
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(due) = self.access.poll_timeout().filter(|due| *due <= end) {
            self.step_to(due);
            self.access.handle_timeout(self.now);
            self.drain();
        }
        self.step_to(end);
    }

    fn step_to(&mut self, at: Mono) {
        let passed = at.since(self.now.mono);
        self.now.wall.0 += i64::try_from(passed.as_micros()).unwrap();
        self.now.mono = self.now.mono + passed;
    }

    fn present(&mut self, gate: &str, direction: Direction, proof: Proof) -> (RequestId, Taken) {
        self.request += 1;
        let request = RequestId(self.request);
        let via = format!("{gate}-reader");
        let presented = Presented { gate: gate.to_owned(), via, direction, proof };
        let taken = self.access.handle_presented(self.now, request, &presented, self.mode);
        self.drain();
        (request, taken)
    }

    /// Presents something that is decided at once, after any earlier presentation is forgotten.
    fn decide(&mut self, gate: &str, direction: Direction, proof: Proof) -> Verdict {
        self.wait(Duration::from_secs(31));
        let (request, taken) = self.present(gate, direction, proof);
        assert_eq!(taken, Taken::Decided);
        let verdict = self.verdicts.last().unwrap().clone();
        assert_eq!(verdict.request, request);
        verdict
    }

    fn reason(&mut self, gate: &str, direction: Direction, proof: Proof) -> String {
        self.decide(gate, direction, proof).reason
    }

    /// Comes in by the garage's entry, and goes through.
    fn enter(&mut self, proof: Proof) -> Verdict {
        let verdict = self.decide("entry", Direction::In, proof);
        self.pass(&verdict, Some(true));
        verdict
    }

    fn pass(&mut self, verdict: &Verdict, verified: Option<bool>) {
        let passed = Passed { verdict: verdict.clone(), verified, at: self.now };
        self.access.handle_passed(self.now, &passed);
        self.drain();
    }

    fn inside(&self) -> u32 {
        self.access.view().zones[0].1
    }

    fn answer(&mut self, request: RequestId, allowed: bool, reason: &str) -> Heard {
        let answer = Answer { allowed, reason: reason.to_owned(), who: None, class: None, facts: BTreeMap::new() };
        let heard = self.access.handle_answer(self.now, request, &answer, true);
        self.drain();
        heard
    }

    fn drain(&mut self) {
        while let Some(effect) = self.access.poll_effect() {
            match effect {
                Effect::Keep { key, value } => {
                    assert!(key.len() <= 256 && value.as_ref().is_none_or(|value| value.len() <= 12 * 1024), "{key}");
                    match value {
                        Some(value) => self.kept.insert(key.into(), value.into()),
                        None => self.kept.remove(&*key),
                    };
                }
                Effect::Event { event, .. } => {
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => panic!("access moves nothing: {act:?}"),
            }
        }
        self.verdicts.extend(std::iter::from_fn(|| self.access.poll_verdict()));
        self.asks.extend(std::iter::from_fn(|| self.access.poll_ask()));
        self.conditions.extend(std::iter::from_fn(|| self.access.poll_condition()));
    }
}

fn access(policy: &GatePolicy, capacity: Option<u32>) -> Access {
    Access::new(AccessSpec {
        site: "riverside".to_owned(),
        lookup: lookup(),
        core_keys: vec![core_key().public_key().as_ref().try_into().unwrap()],
        seal: SealKey::new(&[2; 32]),
        own_seed: Some([3; 32]),
        pins: Some(PinSecret::new(&[4; 32])),
        gates: gates(policy),
        zones: vec![ZoneSpec {
            name: "cars".to_owned(),
            capacity,
            full_refuses: [HolderClass::Resident, HolderClass::Visitor].into(),
            full_refuses_unknown: true,
        }],
        formats: Vec::new(),
        guesses: GuessLimits::default(),
        calendar: Calendar::weekdays_only(),
        zone: TimeZone::UTC,
    })
}

fn core_policy() -> GatePolicy {
    GatePolicy { decide: Decide::Core { deadline_ms: 800 }, ..GatePolicy::default() }
}
