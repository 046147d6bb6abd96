//! The documents that the API hands out. Times are RFC 3339 in UTC; durations are seconds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /api/v1/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The box's name towards the core.
    #[serde(rename = "box")]
    pub box_id: String,
    /// The site's title.
    pub title: String,
    /// The daemon's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime_s: f64,
    /// The site file.
    pub config: String,
    /// The box's clock.
    pub clock: Clock,
    /// Buses, in the order of the site file.
    pub buses: Vec<Bus>,
    /// Devices without their values, in the order of the site file.
    pub devices: Vec<DeviceBrief>,
    /// What is held for the core.
    pub spool: Spool,
    /// The link to the core; absent without `[uplink]`.
    pub uplink: Option<Uplink>,
    /// What somebody at the site has to see to, the most urgent first: what escalations put here, and P0.
    #[serde(default)]
    pub guard: Vec<GuardMessage>,
    /// Supplies that are to be given back and are not yet.
    #[serde(default)]
    pub wishes: Vec<Wish>,
    /// Controllers that decide at their doors themselves.
    #[serde(default)]
    pub controllers: Vec<Controller>,
    /// What is wrong right now, each in one sentence.
    pub troubles: Vec<String>,
}

/// A wish to give a supply back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wish {
    /// The device behind which the supply is.
    pub device: String,
    /// `permit`: the resident switches on; `connect`: at once.
    pub how: String,
    /// Who wishes it.
    pub issuer: String,
    /// True once the device was told, until it is known what became of that.
    pub asked: bool,
    /// How often the device has refused.
    pub refusals: u32,
    /// When the wish ends unfulfilled.
    pub until: String,
}

/// A controller that decides at its doors itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Controller {
    /// Its device.
    pub controller: String,
    /// The number of the last event taken in; absent when it was never seen.
    pub taken: Option<u32>,
    /// Events that are known to wait.
    pub waiting: u32,
    /// Events that nobody will see, since the daemon started.
    pub lost: u64,
    /// Questions that failed in a row.
    pub failures: u32,
    /// The list of its cards; absent where somebody else keeps it.
    pub cards: Option<CardList>,
}

/// The list of a controller's cards.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CardList {
    /// `unsaid`, `away`, `walking`, `putting_right`, `equal` or `unequal`.
    pub state: String,
    /// Why nothing can be said of it.
    pub why: Option<String>,
    /// The version of the credentials that it is made of.
    pub version: Option<u64>,
    /// Cards that it is to have.
    pub cards: u64,
    /// Cards of these that are known to be there.
    pub listed: u64,
    /// Cards that the controller does not take.
    pub refused: u64,
    /// Cards that are to leave and that it does not let go.
    pub stay: u64,
    /// The place that is looked at.
    pub place: Option<u32>,
    /// Cards that it cannot have, or not with all their doors, by the reason.
    pub not_expressible: BTreeMap<String, u32>,
}

/// A ticket on the guard's status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GuardMessage {
    /// Its number.
    pub ticket: u64,
    /// `p0` to `p3`.
    pub priority: String,
    /// Its title.
    pub title: String,
    /// What happened.
    pub message: String,
    /// What to do; `""` for nothing known.
    pub instruction: String,
    /// Building, floor and room, as far as they are known.
    pub place: String,
    /// When it was opened, as the box's clock said.
    pub since: String,
    /// Not to be worked on.
    pub drill: bool,
}

/// The box's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Clock {
    /// What it says.
    pub time: String,
    /// `unset`, `free-running` or `synchronised`.
    pub trust: String,
    /// The kernel's boot id.
    pub boot: String,
}

/// One bus.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bus {
    /// Its id.
    pub id: String,
    /// Its port, as the site file says it.
    pub port: String,
    /// True while the port is open.
    pub open: bool,
    /// Seconds in this state.
    pub since_s: f64,
    /// Why it is not open.
    pub error: Option<String>,
    /// Busy share of the line over the last minute, percent.
    pub load_percent: f64,
    /// Requests sent.
    pub transactions: u64,
    /// Requests that nothing answered in time.
    pub timeouts: u64,
    /// Replies that were not taken, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Replies that came after their deadline.
    pub late: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Polls that were skipped for want of time.
    pub skipped: u64,
    /// Times that the port was opened.
    pub opened: u64,
}

/// One device, without values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceBrief {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its bus; `""` for the box itself.
    pub bus: String,
    /// Unit address of a Modbus device.
    pub unit: Option<u8>,
    /// The address as the site file says it, whatever the protocol; `""` for the box itself.
    pub address: String,
    /// `online`, `offline` or `unknown`.
    pub state: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// Why it is offline.
    pub reason: Option<String>,
    /// Samples taken.
    pub samples: u64,
}

/// `GET /api/v1/devices/{device}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device {
    /// The device without its values.
    pub device: DeviceBrief,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Points with their latest readings.
    pub points: Vec<Point>,
}

/// One point with its latest reading.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// Its name.
    pub name: String,
    /// The value as text, with the meter's digits; absent when there is none.
    pub value: Option<String>,
    /// Why there is no value: `never_read`, or a reason such as `timeout`.
    pub missing: Option<String>,
    /// Its unit.
    pub unit: String,
    /// Seconds since the reading; absent when never read.
    pub age_s: Option<f64>,
    /// Names of the bits that are set, for bit fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bits: Vec<String>,
    /// True when it can be written.
    pub writable: bool,
    /// True when bills are made of it.
    pub billing: bool,
}

/// `GET /api/v1/spool`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spool {
    /// Changes only when sequences could not be carried on.
    pub epoch: u64,
    /// Bytes held on disk and in the tail.
    pub bytes: u64,
    /// Bytes allowed.
    pub max_bytes: u64,
    /// Bytes free on the disk.
    pub free_bytes: Option<u64>,
    /// Lanes.
    pub lanes: Vec<LaneDoc>,
}

/// One lane of the spool.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaneDoc {
    /// Its name.
    pub lane: String,
    /// Records that the core has not acknowledged.
    pub held: u64,
    /// When the oldest of them was taken.
    pub oldest: Option<String>,
    /// Newest number given.
    pub newest: u64,
    /// Records lost since the daemon started, all told in gap records.
    pub lost: u64,
}

/// The link to the core.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Uplink {
    /// `connecting`, `up`, `waiting`, ...
    pub state: String,
    /// The broker in use or tried last.
    pub broker: String,
    /// Seconds in this state.
    pub since_s: f64,
    /// The last error.
    pub error: Option<String>,
    /// Messages sent.
    pub messages: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Payload bytes sent.
    pub bytes: u64,
    /// Messages in flight.
    pub in_flight: u64,
    /// Connections made.
    pub connects: u64,
}

/// `GET /health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// False when the box cannot do its job: a bus without its port, or a store that does not store.
    pub healthy: bool,
    /// What is wrong right now, each in one sentence.
    pub troubles: Vec<String>,
}

/// `POST .../registers`: registers as they stand, be they points or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistersAnswer {
    /// The device.
    pub device: String,
    /// `holding` or `input`.
    pub table: String,
    /// The address of the first, as sent on the wire.
    pub first: u16,
    /// What they hold; none where there is a reason.
    pub registers: Vec<u16>,
    /// Why they were not read: the device refuses, is silent, or must not be asked for them.
    pub missing: Option<String>,
}

/// `POST .../read`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadAnswer {
    /// The device.
    pub device: String,
    /// What was read, in the order of the device's points.
    pub points: Vec<Point>,
}

/// `POST .../load`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadAnswer {
    /// The device.
    pub device: String,
    /// Its records, as it gave them; none where it has no record of that time or later.
    pub records: Vec<LoadRecord>,
}

/// What a meter recorded at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadRecord {
    /// The moment by the meter's own clock, in the site's zone: `2026-11-26T00:15`.
    pub at: String,
    /// Its values; none has an age.
    pub points: Vec<Point>,
}

/// `POST .../write`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WriteAnswer {
    /// The device.
    pub device: String,
    /// The point.
    pub point: String,
    /// `verified`, `acknowledged`, `failed`, `refused`, `expired` or `unknown`.
    pub outcome: String,
    /// More about it.
    pub detail: Option<String>,
    /// What the point read afterwards.
    pub read_back: Option<String>,
}

/// `POST .../identify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdentifyAnswer {
    /// The device.
    pub device: String,
    /// What it says of itself: `vendor`, `product_code`, `revision`, ...
    pub objects: BTreeMap<String, String>,
}

/// `GET /api/v1/buses/BUS/frames`: what was on the wires lately.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frames {
    /// The bus.
    pub bus: String,
    /// The number of the last frame: `since` of the next question.
    pub last: u64,
    /// Frames after `since` that have left the ring already.
    pub lost: u64,
    /// Frames, the oldest first.
    pub frames: Vec<Frame>,
}

/// One frame on the wires, or what stood in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Frame {
    /// Its number since the bus began.
    pub seq: u64,
    /// Microseconds since 1970: when it was handed to the port, or judged.
    pub at_us: i64,
    /// True for what the box sent.
    pub sent: bool,
    /// The device that was asked; `None` for bytes that nobody waited for.
    pub device: Option<String>,
    /// What the line made of it: `request`, `reply`, `exception 2`, `late`, `timed out`, ...
    pub verdict: String,
    /// Its length in bytes.
    pub length: usize,
    /// Its bytes, in hexadecimal with blanks; of a very long one the first.
    pub bytes: String,
    /// Wireshark's dissector for it; `""` for none.
    pub dissector: String,
    /// Its fields, in the order of its bytes.
    pub fields: Vec<Field>,
}

/// One field of a frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Field {
    /// The protocol's name for it.
    pub name: String,
    /// What it says.
    pub text: String,
    /// Its first byte, counted from 0.
    pub from: usize,
    /// The byte after its last.
    pub to: usize,
}

impl Frame {
    /// Its bytes. What is no hexadecimal is left out.
    pub fn raw(&self) -> Vec<u8> {
        self.bytes.split(' ').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
    }
}
