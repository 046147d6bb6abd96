//! The messages as serde structs: for receivers, tests and the JSON Schemas in `docs/schemas/`.
//!
//! The box itself writes records with [`crate::payload`], which tests hold against these.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::DeviceEntry;

/// `<lane>/live` and `<lane>/backfill`: consecutive records of one lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordsMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The box's permanent identity.
    #[serde(rename = "box")]
    pub box_id: String,
    /// Changes only when the box could not carry its sequences on.
    pub epoch: u64,
    /// `passages`, `tickets`, `alarms`, `audit`, `billing` or `telemetry`.
    pub lane: String,
    /// The number of the first record.
    pub seq: u64,
    /// The records, ascending; at least one.
    pub records: Vec<RecordEntry>,
}

/// One record: a sample (`device`), an event (`event`) or a gap (`gap`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordEntry {
    /// The record's number in its lane: (box, epoch, lane, seq) is unique for ever.
    pub seq: u64,
    /// When it happened, RFC 3339 in UTC.
    pub time: String,
    /// How far `time` may be believed: `unset`, `free-running`; absent: synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// The box's kernel run, where the time is not synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Nanoseconds since that boot, where the time is not synchronised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mono: Option<u64>,
    /// Of a sample: the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Of a sample: values by point. Numbers in telemetry, decimal strings in billing; flags and text in both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeMap<String, serde_json::Value>>,
    /// Of a sample: why points have no value, for example `timeout` or `exception_2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<BTreeMap<String, String>>,
    /// Of an event: its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Of an event: its fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// Of a gap: what is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<GapEntry>,
}

/// The numbers from the record's `seq` to `last` hold nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GapEntry {
    /// The last number of the gap.
    pub last: u64,
    /// How many stored records are gone; 0 when the numbers were never given out.
    pub lost: u64,
    /// Why: `bounded`, `damaged`, `unclean_stop`, `refused` or `thinned`.
    pub reason: String,
}

/// `status`, retained: whether the box is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The box.
    #[serde(rename = "box")]
    pub box_id: String,
    /// `online`; `stopped` after a clean end; `lost` as the broker says it by the last will.
    pub state: String,
    /// How the site stands: `online`, `degraded` or `recovering`; only in `online`, and once the box knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The version of the software; not in `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Since when, as the box's clock says; not in `lost`, nor while the clock is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The epoch of the records that follow; not in `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// For each lane the newest record at that moment; not in `lost`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub newest: BTreeMap<String, u64>,
}

/// `inventory`, retained: the site and its devices; each device's points are in `inventory/<device>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InventoryMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The box.
    #[serde(rename = "box")]
    pub box_id: String,
    /// The site's title.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The site's IANA time zone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timezone: String,
    /// The site's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The version of the software.
    pub software: String,
    /// The devices of the site, in site order. A retained `inventory/<device>` of any other is out of date.
    pub devices: Vec<String>,
}

/// `inventory/<device>`, retained: one device and its points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The box.
    #[serde(rename = "box")]
    pub box_id: String,
    /// The device.
    pub about: DeviceEntry,
}

/// `ack`, from the core, best retained: what it has for good. Intervals of numbers, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AckMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The epoch of the numbers; another than the box's own is ignored.
    pub epoch: u64,
    /// Intervals by lane, for example `{"billing": [[1, 1200], [1300, 1310]]}`.
    pub have: BTreeMap<String, Vec<(u64, u64)>>,
}

/// `time`, from the core, never retained: what time it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The time when this was sent, RFC 3339 with an offset.
    pub time: String,
    /// How far off that may be, in milliseconds, the way to the box not included.
    pub accuracy_ms: u64,
}

/// `command`, from the core, never retained: one thing that the box is to do, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// 1 to 64 letters, digits, dots, underscores or dashes: names this command for ever.
    pub id: String,
    /// What it is about: `gate:ID`, `device:ID`, `alarm:CLASS/SOURCE`, `ticket:N`, `access` or `site`.
    pub target: String,
    /// What is to be done, for example `open`. Either this or `point`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Of a device: the point to write. Needs `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// What to write there, as text: `"on"`, `"12.5"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Who wants it, for the audit trail.
    pub issuer: String,
    /// Why it is wanted: a name such as `ambulance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// Since when it is wanted, RFC 3339 with an offset.
    pub issued_at: String,
    /// Not begun by then, it is refused as expired; RFC 3339 with an offset.
    pub expires_at: String,
    /// What the action needs to know besides: at most 16 texts by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// The ed25519 signature in base64url without padding, where the site asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// `ticket`, from the core: what it changed in a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The ticket's number on the box.
    pub ticket: u64,
    /// Names this update for ever: a repeat changes nothing.
    pub update: String,
    /// Counts the core's updates of this ticket from 1; an older one than the last that was applied changes nothing.
    pub rev: u64,
    /// The last `box_rev` of the ticket that the core had seen: a state by which it finishes a ticket is left out when
    /// the fault came back after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_box_rev: Option<u64>,
    /// The new state, where it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The core's own number of the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_number: Option<String>,
    /// Who takes care of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
}

/// `ask`, from the box: may somebody pass?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The number of the request; comes back in the answer.
    pub request: u64,
    /// The gate.
    pub gate: String,
    /// `in` or `out`.
    pub direction: String,
    /// A pseudonym or a keyed hash of what was presented.
    pub credential: String,
    /// `card`, `plate` or `code`.
    pub kind: String,
    /// How long the box waits for the answer, in milliseconds since it asked.
    pub deadline_ms: u64,
}

/// `answer`, from the core, never retained: whether that somebody may pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// The number of the request, as it was asked.
    pub request: u64,
    /// Whether it may pass.
    pub allow: bool,
    /// Why: `granted`, or a stable reason.
    pub reason: String,
    /// Further facts for the passage record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// `credentials`, from the core: one part of a signed snapshot or delta.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialsMessage {
    /// The version of this format: 1.
    pub v: u32,
    /// Names the snapshot or delta that this is a part of; another id than before begins anew.
    pub id: String,
    /// Which part this is, from 1.
    #[schemars(range(min = 1, max = 4096))]
    pub part: u32,
    /// How many parts there are, at most 4096; together they have at most 32 MiB.
    #[schemars(range(min = 1, max = 4096))]
    pub of: u32,
    /// The bytes of this part, in base64 with padding (RFC 4648, section 4).
    pub data: String,
}

/// The schemas by file name.
pub fn schemas() -> [(&'static str, schemars::Schema); 11] {
    [
        ("records.json", schemars::schema_for!(RecordsMessage)),
        ("status.json", schemars::schema_for!(StatusMessage)),
        ("inventory.json", schemars::schema_for!(InventoryMessage)),
        ("device.json", schemars::schema_for!(DeviceMessage)),
        ("ack.json", schemars::schema_for!(AckMessage)),
        ("time.json", schemars::schema_for!(TimeMessage)),
        ("command.json", schemars::schema_for!(CommandMessage)),
        ("ticket.json", schemars::schema_for!(TicketMessage)),
        ("ask.json", schemars::schema_for!(AskMessage)),
        ("answer.json", schemars::schema_for!(AnswerMessage)),
        ("credentials.json", schemars::schema_for!(CredentialsMessage)),
    ]
}
