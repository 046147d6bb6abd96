//! What the box knows of a device at the time that its ticket is opened.

use gatehouse_core::DeviceIx;
use serde::{Deserialize, Serialize};

use super::text::{bounded, json_bytes};

/// Most bytes of all evidence together.
const EVIDENCE_BYTES: usize = 4_000;
/// Most bytes of a label or an id; a title has twice as many.
const LABEL_BYTES: usize = 64;
/// What a reading takes beside its texts: names of fields, and an age of 20 digits.
const READING_BYTES: usize = 55;
/// Most bytes of one value or frame.
const PIECE_BYTES: usize = 520;

/// Where a device is, by its labels; `""` where a label is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The building.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub building: String,
    /// The floor.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub floor: String,
    /// The room.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub room: String,
}

/// A device as a ticket names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketDevice {
    /// Its permanent identity.
    pub id: String,
    /// For people; `""` for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
}

impl Place {
    pub(super) fn bounded(self) -> Self {
        let short = |text: &str| bounded(text, LABEL_BYTES);
        Place { building: short(&self.building), floor: short(&self.floor), room: short(&self.room) }
    }
}

impl TicketDevice {
    pub(super) fn bounded(self) -> Self {
        TicketDevice { id: bounded(&self.id, LABEL_BYTES), title: bounded(&self.title, 2 * LABEL_BYTES) }
    }
}

/// The last reading of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceReading {
    /// The point's name.
    pub point: String,
    /// The value, or the reason for none, as text.
    pub value: String,
    /// How old it is, in seconds.
    pub age_s: u64,
}

/// What a ticket is told of devices.
pub trait Evidence {
    /// Where the device is.
    fn place(&self, device: DeviceIx) -> Place;
    /// The device's identity and title; `None` when the site has no such device.
    fn device(&self, device: DeviceIx) -> Option<TicketDevice>;
    /// Its last readings, the most telling ones first.
    fn readings(&self, device: DeviceIx) -> Vec<EvidenceReading>;
    /// The last frames on its line that concern it, the newest first, each as text.
    fn frames(&self, device: DeviceIx) -> Vec<String>;
}

/// The evidence that a ticket was opened with. Readings come first, then as many frames as there is room for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketEvidence {
    /// Last readings of the device.
    pub readings: Vec<EvidenceReading>,
    /// Last frames of its line, the newest first.
    pub frames: Vec<String>,
    /// True when there was more than a ticket holds.
    pub cut: bool,
}

impl TicketEvidence {
    /// What is known of a device now, as much of it as a ticket holds. Half of the room is for readings.
    pub(super) fn of(device: DeviceIx, evidence: &dyn Evidence) -> Self {
        let mut taken = TicketEvidence::default();
        let mut room = EVIDENCE_BYTES / 2;
        for reading in evidence.readings(device) {
            let (point, value) = (bounded(&reading.point, 64), bounded(&reading.value, PIECE_BYTES));
            let Some(left) = room.checked_sub(json_bytes(&point) + json_bytes(&value) + READING_BYTES) else {
                taken.cut = true;
                break;
            };
            room = left;
            taken.readings.push(EvidenceReading { point, value, age_s: reading.age_s });
        }
        room += EVIDENCE_BYTES / 2;
        for frame in evidence.frames(device) {
            let frame = bounded(&frame, PIECE_BYTES);
            let Some(left) = room.checked_sub(json_bytes(&frame) + 3) else {
                taken.cut = true;
                break;
            };
            room = left;
            taken.frames.push(frame);
        }
        taken
    }
}
