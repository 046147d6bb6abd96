//! Who comes to a gate, with the gate: verdict, act and record in one batch, and back to who is inside.

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{BootId, DeviceIx, Mono, PointIx, PointReading, Stamp, Trust, Value, Wall};
use jiff::tz::TimeZone;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value as Json;

use super::site::{BOARD, CLOSE_LIMIT, LOOP, OPEN_LIMIT, name, setup};
use crate::access::wiegand::{Card, Format};
use crate::access::{
    Access, AccessSpec, Answer, Change, Credential, CredentialId, CredentialKind, Decide, Flag, GateAccess, GatePolicy,
    GuessLimits, Header, LookupKey, Proof, Salt, SealKey, Snapshot, ZoneSpec, reason, snapshot,
};
use crate::catalog::PointRef;
use crate::command::{Outcome, Reception, Request, Source};
use crate::effect::{Act, Effect};
use crate::engine::{Admission, CardPoint, CardSource, Engine, KeySource, KeypadSpec, Output, ReaderSpec};
use crate::schedule::Calendar;
use crate::words::{Direction, HolderClass, RequestId};

/// The reader with a keypad.
pub(super) const PAD: DeviceIx = DeviceIx(9);

/// 2026-11-23T10:00:00Z.
const BEGIN: i64 = 1_795_428_000;

fn core_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

fn lookup() -> LookupKey {
    LookupKey::new(&[7; 32])
}

fn format() -> Format {
    Format::built_in()[0].clone()
}

pub(super) fn card(number: u64) -> Proof {
    Proof::Card { bits: format().encode(Card { facility: Some(7), number }).unwrap(), format: None }
}

fn card_id(number: u64) -> CredentialId {
    lookup().card("H10301-26", Card { facility: Some(7), number })
}

fn access(policy: &GatePolicy) -> Access {
    let gate = |gate: &str, zone: Option<&str>| GateAccess {
        gate: gate.to_owned(),
        zone: zone.map(str::to_owned),
        policy: policy.clone(),
    };
    Access::new(AccessSpec {
        site: "box-1".to_owned(),
        lookup: lookup(),
        core_keys: vec![core_key().public_key().as_ref().try_into().unwrap()],
        seal: SealKey::new(&[2; 32]),
        own_seed: None,
        pins: None,
        gates: vec![gate("entry", Some("cars")), gate("lobby", None)],
        zones: vec![ZoneSpec {
            name: "cars".to_owned(),
            capacity: Some(10),
            full_refuses: [].into(),
            full_refuses_unknown: false,
        }],
        formats: Vec::new(),
        guesses: GuessLimits::default(),
        calendar: Calendar::weekdays_only(),
        zone: TimeZone::UTC,
    })
}

/// The engine, and what it wants of each call.
pub(super) struct Box {
    pub(super) engine: Engine,
    pub(super) now: Stamp,
    pub(super) kept: BTreeMap<String, Vec<u8>>,
    pub(super) acts: Vec<Act>,
    pub(super) events: Vec<(&'static str, Json)>,
    pub(super) outputs: Vec<Output>,
}

impl Box {
    /// A box whose barrier is down, with the cards 1 and 2 of residents.
    pub(super) fn new(policy: Option<GatePolicy>) -> Self {
        let now = Stamp {
            boot: BootId(1),
            mono: Mono::from_millis(100_000),
            wall: Wall(BEGIN * 1_000_000),
            trust: Trust::Synchronised,
        };
        let mut setup = setup();
        let reader = |text: &str, gate: Option<&str>| ReaderSpec {
            name: name(text),
            gate: gate.map(name),
            direction: Direction::In,
            card: None,
            keypad: None,
        };
        let pad = |point: u16| PointRef { device: PAD, point: PointIx(point) };
        let shown = ReaderSpec {
            card: Some(CardSource { card: CardPoint::Text { at: pad(0), format: None }, count: Some(pad(1)) }),
            keypad: Some(KeypadSpec {
                source: KeySource::Points { keys: pad(2), count: pad(3) },
                length: None,
                pause: Duration::from_secs(5),
            }),
            ..reader("pad", Some("entry"))
        };
        setup.readers = vec![reader("drive", Some("entry")), reader("cellar", None), shown];
        let mut engine = Engine::new(&setup, 0).unwrap();
        if let Some(policy) = &policy {
            engine.set_access(access(policy));
        }
        let kept = BTreeMap::new();
        let mut new = Box { engine, now, kept, acts: Vec::new(), events: Vec::new(), outputs: Vec::new() };
        new.tell(|engine, now| engine.handle_start(now));
        new.tell(|engine, now| engine.handle_link(now, true));
        new.see([(OPEN_LIMIT, false), (CLOSE_LIMIT, true), (LOOP, false)]);
        new.snapshot();
        new
    }

    pub(super) fn tell<T>(&mut self, happened: impl FnOnce(&mut Engine, Stamp) -> T) -> T {
        let told = happened(&mut self.engine, self.now);
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Keep { key, value: Some(value) } => drop(self.kept.insert(key.into(), value.into())),
                Effect::Keep { key, value: None } => drop(self.kept.remove(&*key)),
                Effect::Event { event, .. } => {
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => self.acts.push(act),
            }
        }
        self.outputs.extend(std::iter::from_fn(|| self.engine.poll_output()));
        told
    }

    fn see(&mut self, flags: [(gatehouse_core::PointIx, bool); 3]) {
        self.now.mono = self.now.mono + std::time::Duration::from_secs(1);
        self.now.wall.0 += 1_000_000;
        let readings = flags.map(|(point, on)| PointReading::new(point, Ok(Value::Bool(on))));
        self.tell(|engine, now| engine.handle_sample(now, BOARD, now.mono, &readings));
    }

    fn snapshot(&mut self) {
        let second = u32::try_from(BEGIN).unwrap();
        let header = Header {
            format: snapshot::FORMAT.to_owned(),
            site: "box-1".to_owned(),
            lookup_key: lookup().id().to_owned(),
            version: 1,
            base_version: None,
            created: second - 3600,
            expires_at: second + 86_400,
            count: 0,
            groups: None,
            schedules: None,
            quotas: None,
        };
        let credential = |number: u64| Credential {
            id: card_id(number),
            kind: CredentialKind::Card,
            who: format!("p-{number}"),
            class: HolderClass::Resident,
            household: String::new(),
            gates: vec!["entry".to_owned()],
            groups: Vec::new(),
            from: None,
            until: None,
            schedule: String::new(),
            flags: Vec::new(),
            number: None,
        };
        let guarded = Credential { flags: vec![Flag::NeedsPin], ..credential(3) };
        let pin = |id: CredentialId, kind: CredentialKind, who: &str| Credential {
            id,
            kind,
            who: who.to_owned(),
            ..credential(1)
        };
        let of_card = pin(lookup().card_pin(card_id(3), "4711"), CredentialKind::CardPin, "p-3");
        let alone = pin(lookup().pin("80158015"), CredentialKind::Pin, "p-4");
        let all = [credential(1), credential(2), guarded, of_card, alone];
        let signed = Snapshot::sign(&header, all.map(Change::Put), &core_key());
        self.tell(|engine, now| {
            engine.handle_access(now, |access, now| {
                let verified = Snapshot::verify(&signed, &access.expected()).unwrap();
                access.handle_snapshot(now, verified, Salt([1; 16])).unwrap();
            })
        });
    }

    fn show(&mut self, reader: &str, proof: Proof) -> Option<Admission> {
        self.tell(|engine, now| engine.handle_presented(now, reader, proof))
    }

    pub(super) fn passages(&self) -> Vec<&Json> {
        self.events.iter().filter(|(kind, _)| *kind == "passage").map(|(_, json)| json).collect()
    }

    /// The core answers: it grants, or refuses for that reason.
    pub(super) fn hear(&mut self, request: RequestId, reason: &str) {
        let allowed = reason == "granted";
        let (reason, facts) = (reason.to_owned(), BTreeMap::new());
        let answer = Answer { allowed, reason, who: None, class: None, facts };
        self.tell(|engine, now| {
            engine.handle_access(now, |access, now| access.handle_answer(now, request, &answer, true))
        });
    }

    fn command(&mut self, action: &str, args: &str) -> Outcome {
        let time = |wall: i64| jiff::Timestamp::from_microsecond(wall).unwrap();
        let (issued, expires) = (time(self.now.wall.0), time(self.now.wall.0 + 10_000_000));
        let id = format!("c-{}-{}", action, self.events.len());
        let text = format!(
            r#"{{"v":1,"id":"{id}","target":"access","action":"{action}","args":{args},"issuer":"guard","issued_at":"{issued}","expires_at":"{expires}"}}"#
        );
        let request = Request::parse(text.as_bytes()).unwrap();
        let reception = self.tell(|engine, now| engine.handle_request(now, Source::Socket { uid: 0 }, false, request));
        match (reception, self.outputs.pop()) {
            (Reception::Ended(outcome), _) => outcome,
            (Reception::Pending, Some(Output::Answer(answer))) => answer.outcome,
            (Reception::Pending, other) => panic!("no outcome: {other:?}"),
        }
    }
}

fn decided(admission: Option<Admission>) -> (bool, String) {
    match admission {
        Some(Admission::Decided(verdict)) => (verdict.allowed, verdict.reason),
        other => panic!("not decided: {other:?}"),
    }
}

#[test]
fn a_known_card_opens_in_the_same_call_and_counts_as_inside_once_it_is_through() {
    let mut site = Box::new(Some(GatePolicy::default()));
    site.acts.clear();
    let admission = site.show("drive", card(1));
    assert_eq!(decided(admission), (true, "granted".to_owned()));
    assert_eq!(site.acts.len(), 1, "{:?}", site.acts);
    assert!(site.kept.keys().any(|key| key.starts_with("passage/")), "the passage under way is kept with it");
    let inside = |site: &Box| site.engine.access().unwrap().view().zones[0].1;
    assert_eq!(inside(&site), 0);
    site.see([(OPEN_LIMIT, true), (CLOSE_LIMIT, false), (LOOP, false)]);
    site.see([(OPEN_LIMIT, true), (CLOSE_LIMIT, false), (LOOP, true)]);
    site.see([(OPEN_LIMIT, true), (CLOSE_LIMIT, false), (LOOP, false)]);
    let passages = site.passages();
    assert_eq!(passages.len(), 1, "{passages:?}");
    assert_eq!((&passages[0]["who"], &passages[0]["verified"]), (&"p-1".into(), &true.into()), "{passages:?}");
    assert_eq!(inside(&site), 1);
}

#[test]
fn without_keys_readers_refuse_and_the_record_says_why() {
    let mut site = Box::new(None);
    site.acts.clear();
    assert_eq!(decided(site.show("drive", card(1))), (false, reason::NO_CREDENTIALS.to_owned()));
    assert!(site.acts.is_empty());
    assert_eq!(site.passages()[0]["reason"], reason::NO_CREDENTIALS);
    assert_eq!(site.show("attic", card(1)), None);
}

#[test]
fn the_core_is_asked_and_its_answer_opens_or_the_deadline_decides() {
    let policy = GatePolicy { decide: Decide::Core { deadline_ms: 800 }, ..GatePolicy::default() };
    let mut site = Box::new(Some(policy));
    site.acts.clear();
    let Some(Admission::Asked(request)) = site.show("drive", card(9)) else { panic!("the core is not asked") };
    let asked = site.outputs.iter().find_map(|output| if let Output::Ask(ask) = output { Some(ask) } else { None });
    assert_eq!(asked.map(|ask| (ask.request, ask.deadline_ms)), Some((request, 800)));
    site.hear(request, "granted");
    assert_eq!(site.acts.len(), 1, "{:?}", site.acts);

    // Another one: nobody answers, and the box knows the card.
    site.acts.clear();
    let Some(Admission::Asked(_)) = site.show("drive", card(2)) else { panic!("the core is not asked") };
    let due = site.engine.poll_timeout().unwrap();
    site.now.mono = site.now.mono.max(due) + std::time::Duration::from_secs(1);
    site.tell(|engine, now| engine.handle_timeout(now));
    let view = site.engine.gates().list(site.now.mono);
    assert!(
        !site.acts.is_empty() || format!("{view:?}").contains("Opening"),
        "the offline policy lets it in: {view:?}"
    );

    // There is no link to ask by: the box does not wait for the deadline.
    let Some(Admission::Asked(request)) = site.show("drive", card(8)) else { panic!("the core is not asked") };
    site.tell(|engine, now| engine.handle_access(now, |access, now| access.handle_unasked(now, request)));
    let last = site.passages().into_iter().next_back().unwrap();
    assert_eq!((&last["request"], &last["decision"]), (&request.0.into(), &"refused".into()), "{last}");
}

#[test]
fn a_guard_corrects_the_count_and_clears_who_is_inside() {
    let mut site = Box::new(Some(GatePolicy::default()));
    assert_eq!(site.command("count", r#"{"zone":"cars","count":"4"}"#), Outcome::Verified { read_back: None });
    assert_eq!(site.engine.access().unwrap().view().zones[0].1, 4);
    let refused = |outcome: Outcome| match outcome {
        Outcome::Refused { reason, .. } => String::from(reason),
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(refused(site.command("count", r#"{"zone":"roof","count":"4"}"#)), "unknown_zone");
    assert_eq!(refused(site.command("clear_anti_passback", r#"{"who":"p-1"}"#)), "not_inside");
    assert_eq!(refused(site.command("clear_anti_passback", "{}")), "bad_args");
    assert_eq!(refused(site.command("vanish", "{}")), "unknown_action");
}

#[test]
fn a_card_at_a_point_of_a_patrol_opens_nothing_and_says_whether_it_is_known() {
    let mut site = Box::new(Some(GatePolicy::default()));
    site.acts.clear();
    assert_eq!(site.show("cellar", card(1)), Some(Admission::Patrol { known: true }));
    assert_eq!(site.show("cellar", card(9)), Some(Admission::Patrol { known: false }));
    assert!(site.acts.is_empty() && site.passages().is_empty());
}
