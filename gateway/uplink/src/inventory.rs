//! What the box has: devices, points, units and labels, as the core is told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that the core is told about the site. Sent, retained, when it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The site's title.
    pub title: String,
    /// The site's IANA time zone.
    pub timezone: String,
    /// The site's labels.
    pub labels: BTreeMap<String, String>,
    /// The version of the software.
    pub software: String,
    /// The devices, in site order.
    pub devices: Vec<DeviceEntry>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeviceEntry {
    /// The device's permanent identity, as in records.
    pub device: String,
    /// Its title; may change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Its profile.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub profile: String,
    /// The bus that it hangs on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bus: String,
    /// Labels: building, floor, room, the core's own ids; may change.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its points.
    pub points: Vec<PointEntry>,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PointEntry {
    /// The point's name, as in `values`.
    pub point: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The unit of its values, for example `kWh`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What its values are: `bool`, `decimal`, `float` or `text`.
    pub kind: String,
    /// True when its readings travel in the billing lane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub billing: bool,
    /// How often it is polled, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// For bit fields: the name of each bit, by number from 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bits: BTreeMap<u8, String>,
}
