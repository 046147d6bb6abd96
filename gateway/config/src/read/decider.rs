//! Gates where a controller decides by a list of its own: `access = { decide = "controller", device = "...", door = 1 }`,
//! with `cards = "box"` where the box keeps that list.
//!
//! One decides at a gate. Whoever else would is refused here.

use gatehouse_core::{DeviceIx, PointIx};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys};
use gatehouse_drivers::uhppote::Field;
use gatehouse_rules::PointRef;
use gatehouse_rules::controller::{ControllerSpec, DoorSpec, ListOwner};

use super::Context;
use super::gate::GateEntry;
use super::reader::ReaderEntry;
use super::reference::Devices;
use crate::code;
use crate::site::{Device, Station};

/// Who may keep the list of a controller's cards.
const OWNERS: [(&str, ListOwner); 2] = [("own", ListOwner::Own), ("box", ListOwner::Box)];

/// The door of a controller that a gate is.
#[derive(Debug)]
pub(super) struct AtController {
    device: Found<String>,
    door: Found<u8>,
    /// Who keeps the list of its cards, and where the file says so.
    cards: Found<ListOwner>,
}

/// Reads which controller decides, and at which of its doors.
pub(super) fn read(keys: &mut Keys<'_, '_>, decides: bool) -> Option<AtController> {
    let device = keys.text("device");
    let door = keys.integer("door", 1..=4);
    let cards = keys.choice("cards", &OWNERS);
    if let (false, Some(cards)) = (decides, &cards) {
        let message = "`cards` goes with decide = \"controller\"";
        keys.error(Rule::Conflict, cards.span.clone(), message, "write decide = \"controller\", or take it out");
    }
    for (key, help) in [
        ("device", "the controller, for example device = \"doors\""),
        ("door", "the number of the door at the controller, 1 to 4"),
    ] {
        if decides && !keys.has(key) {
            keys.missing(key, help);
        } else if !decides && keys.has(key) {
            let message = format!("`{key}` goes with decide = \"controller\"");
            keys.error(Rule::Conflict, keys.span_of(key), message, "write decide = \"controller\", or take it out");
        }
    }
    let (device, door) = device.zip(door).filter(|_| decides)?;
    let door = Found { value: u8::try_from(door.value).ok()?, span: door.span };
    let cards = cards.unwrap_or(Found { value: ListOwner::Own, span: door.span.clone() });
    Some(AtController { device: Found { value: device.value.to_owned(), span: device.span }, door, cards })
}

/// The controllers that decide themselves, with the gates that their doors are. `absent`: the site has no `[access]`.
pub(super) fn controllers(
    context: &mut Context<'_>,
    gates: &[GateEntry],
    devices: Devices<'_>,
    absent: bool,
) -> Vec<ControllerSpec> {
    let mut controllers: Vec<ControllerSpec> = Vec::new();
    for gate in gates {
        let Some(at) = &gate.access.controller else { continue };
        let Some((ix, device)) = devices.device(context, &at.device.value, &at.device.span) else { continue };
        if !controllers.iter().any(|known| known.device == ix) {
            controllers.extend(controller(context, at, ix, device));
        }
        let Some(controller) = controllers.iter_mut().find(|known| known.device == ix) else { continue };
        if controller.cards != at.cards.value {
            let message = format!("`{}` has one list of cards, and another of its gates says other of it", device.id);
            let help = "write the same `cards` at each gate of a controller; without it, it is \"own\"";
            context.sink.error(code::CONFLICT, at.cards.span.clone(), message, help);
        } else if at.cards.value == ListOwner::Box && absent {
            let message =
                format!("the box is to keep the list of `{}`, and has no credentials to make it of", device.id);
            let help = "add [access] with core_keys, lookup_key and seal_key, or take `cards` out";
            context.sink.error(code::CONFLICT, at.cards.span.clone(), message, help);
        }
        let slot = usize::from(at.door.value).checked_sub(1).and_then(|door| controller.doors.get_mut(door));
        match slot {
            Some(Some(other)) => {
                let message = format!("door {} of `{}` is the gate `{}` already", at.door.value, device.id, other.gate);
                context.sink.error(code::CONFLICT, at.door.span.clone(), message, "a door is one gate");
            }
            Some(free) => {
                *free = Some(DoorSpec { gate: gate.spec.id.clone(), direction: gate.spec.direction });
            }
            None => {}
        }
    }
    controllers
}

fn controller(context: &mut Context<'_>, at: &AtController, ix: DeviceIx, device: &Device) -> Option<ControllerSpec> {
    let Station::Uhppote(station) = &device.station else {
        let message = format!("`{}` is no controller that decides by a list of its own", device.id);
        let help = "name a device of the profile uhppote-4door";
        context.sink.error(code::CONFLICT, at.device.span.clone(), message, help);
        return None;
    };
    let point = |field: Field| {
        let mut points = (0u16..).map(PointIx).zip(&device.points);
        let found = points.find(|(_, point)| point.spec.uhppote() == Some(field));
        found.map(|(point, _)| PointRef { device: ix, point })
    };
    let Some(index_at) = point(Field::EventIndex) else {
        let message =
            format!("`{}` has no point with field = \"event_index\": its events would not be noticed", device.id);
        let help = "add event_index to `points`; `clock` as well, so that its times can be trusted";
        context.sink.error(code::CONFLICT, at.device.span.clone(), message, help);
        return None;
    };
    Some(ControllerSpec {
        id: device.id.clone(),
        device: ix,
        index_at,
        clock_at: point(Field::Clock),
        doors: Default::default(),
        listens: station.settings.listener.is_some(),
        cards: at.cards.value,
    })
}

/// Notes readers at gates where a controller decides: the box would be a second one who does.
pub(super) fn check_readers(context: &mut Context<'_>, readers: &[ReaderEntry], controllers: &[ControllerSpec]) {
    for reader in readers {
        let Some(gate) = &reader.spec.gate else { continue };
        let decides = |controller: &&ControllerSpec| controller.doors.iter().flatten().any(|door| door.gate == *gate);
        if let Some(controller) = controllers.iter().find(decides) {
            let message = format!(
                "at the gate `{gate}` the controller `{}` decides: the box must not decide as well",
                controller.id
            );
            let help = "take the reader out, or let the box decide: access = { decide = \"local\" }";
            context.sink.error(code::CONFLICT, reader.name.span.clone(), message, help);
        }
    }
}
