//! What a controller recorded, from its status to the passage record: in one batch with how far it is taken in.

use gatehouse_core::{
    BootId, ControllerAnswer, ControllerAsk, ControllerEvent, Decimal, EventKind, LocalTime, Mono, PointReading, Stamp,
    Trust, Value, Wall,
};
use serde_json::{Value as Json, json};

use super::site::{BOARD, name, setup};
use crate::catalog::PointRef;
use crate::controller::{ControllerSpec, DoorSpec};
use crate::effect::Effect;
use crate::engine::{Engine, Output};
use crate::words::Direction;

/// A point of the board that the gates do not use.
const INDEX: gatehouse_core::PointIx = gatehouse_core::PointIx(6);

fn engine() -> Engine {
    let mut setup = setup();
    let gate = setup.gates[1].id.clone();
    setup.controllers = vec![ControllerSpec {
        id: name("board"),
        device: BOARD,
        index_at: PointRef { device: BOARD, point: INDEX },
        clock_at: None,
        doors: [Some(DoorSpec { gate, direction: Direction::In }), None, None, None],
        listens: false,
        cards: crate::controller::ListOwner::Own,
    }];
    Engine::new(&setup, 0).unwrap()
}

fn stamp(ms: u64) -> Stamp {
    Stamp { boot: BootId(1), mono: Mono::from_millis(ms), wall: Wall(0), trust: Trust::Unset }
}

/// What one call wants kept, and the events of it.
type Batch = (Vec<(String, Json)>, Vec<(&'static str, Json)>);

fn batch(engine: &mut Engine) -> Batch {
    let (mut kept, mut events) = (Vec::new(), Vec::new());
    while let Some(effect) = engine.poll_effect() {
        match effect {
            Effect::Keep { key, value: Some(value) } => {
                kept.push((key.to_string(), serde_json::from_slice(&value).unwrap()));
            }
            Effect::Keep { .. } | Effect::Act(_) => {}
            Effect::Event { event, .. } => events.push((event.kind, serde_json::from_str(&event.json).unwrap())),
        }
    }
    (kept, events)
}

fn status(engine: &mut Engine, index: i128, ms: u64) {
    let value = Ok(Value::Decimal(Decimal::whole(index)));
    engine.handle_sample(stamp(ms), BOARD, Mono::from_millis(ms), &[PointReading::new(INDEX, value)]);
}

fn answer(engine: &mut Engine, event: ControllerEvent, ms: u64) {
    let enquiry = std::iter::from_fn(|| engine.poll_output()).find_map(|output| match output {
        Output::Enquire(enquiry) => Some(enquiry),
        _ => None,
    });
    let enquiry = enquiry.unwrap();
    assert_eq!((enquiry.device, &enquiry.ask), (BOARD, &ControllerAsk::Event(event.index)));
    engine.handle_enquired(stamp(ms), enquiry.id, Ok(ControllerAnswer::Event(event)));
}

fn event(index: u32, kind: EventKind, door: u8) -> ControllerEvent {
    let at = LocalTime::new(2026, 11, 26, 9, 0, 0);
    ControllerEvent {
        index,
        kind,
        granted: index % 2 == 1,
        door,
        out: Some(true),
        card: gatehouse_core::CardNumber::new(7),
        at,
        reason: "no_privilege".into(),
    }
}

#[test]
fn a_passage_and_how_far_its_controller_is_taken_in_are_one_batch() {
    let mut engine = engine();
    engine.handle_start(stamp(1));
    status(&mut engine, 0, 10);
    batch(&mut engine);
    status(&mut engine, 3, 20);
    answer(&mut engine, event(1, EventKind::Card, 1), 30);
    let (kept, events) = batch(&mut engine);
    assert!(kept.iter().any(|(key, value)| key == "controller/board" && value["taken"] == 1), "{kept:?}");
    let [("passage", passage)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(passage["gate"], "lobby");
    let told = ["decision", "reason", "decided_by", "direction"].map(|key| passage[key].as_str().unwrap());
    assert_eq!(told, ["granted", "granted", "controller", "out"]);
    assert_eq!(passage["facts"], json!({ "controller": "board", "event": "1", "kind": "card" }));
    assert_eq!(
        (&passage["recorded"]["local"], &passage["recorded"]["trust"]),
        (&json!("2026-11-26T09:00:00"), &json!("unknown"))
    );

    answer(&mut engine, event(2, EventKind::Card, 1), 40);
    let (_, events) = batch(&mut engine);
    assert_eq!((&events[0].1["decision"], &events[0].1["reason"]), (&json!("refused"), &json!("no_privilege")));

    // A door that is no gate, and what is no passage, are told in the audit trail.
    answer(&mut engine, event(3, EventKind::Card, 4), 50);
    let (kept, events) = batch(&mut engine);
    assert!(kept.iter().any(|(key, value)| key == "controller/board" && value["taken"] == 3), "{kept:?}");
    let [("controller_event", told)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&told["door"], &told["gate"], &told["credential"]), (&json!(4), &Json::Null, &Json::Null));
}
