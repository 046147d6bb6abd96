//! What the box has: devices, points, units and labels, as the core is told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the inventory comes from. It is asked whenever a message is made, so that nothing needs to be held twice.
pub trait InventorySource {
    /// The site.
    fn site(&self) -> SiteEntry;

    /// The device at a position in site order; `None` behind the last.
    fn device(&self, ix: usize) -> Option<DeviceEntry>;
}

/// An inventory that is simply held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The site.
    pub site: SiteEntry,
    /// The devices, in site order.
    pub devices: Vec<DeviceEntry>,
}

impl InventorySource for Inventory {
    fn site(&self) -> SiteEntry {
        self.site.clone()
    }

    fn device(&self, ix: usize) -> Option<DeviceEntry> {
        self.devices.get(ix).cloned()
    }
}

/// The site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteEntry {
    /// Its title.
    pub title: String,
    /// Its IANA time zone.
    pub timezone: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The version of the software.
    pub software: String,
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
