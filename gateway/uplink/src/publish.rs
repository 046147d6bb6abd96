//! The retained messages: status and inventory, sent when they changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use bytes::Bytes;
use gatehouse_core::{Lane, Stamp, Trust};

use crate::inventory::InventorySource;
use crate::json::Times;
use crate::outbox::Outbox;
use crate::schema::{DeviceMessage, InventoryMessage, StatusMessage};
use crate::settings::Settings;
use crate::topics::Topics;

struct Item {
    /// `None`: the index of all devices.
    device: Option<String>,
    /// The position in the source; `None`: the device is gone, and its retained message with it.
    ix: Option<usize>,
    /// What the broker has, or refused.
    published: Option<u64>,
}

/// Makes the inventory's messages on demand and knows which of them the broker has.
pub(crate) struct InventoryMessages {
    source: Rc<dyn InventorySource>,
    items: Vec<Item>,
}

impl InventoryMessages {
    pub(crate) fn new(source: Rc<dyn InventorySource>) -> Self {
        let mut messages = InventoryMessages { source, items: Vec::new() };
        messages.list();
        messages
    }

    fn list(&mut self) {
        let old = std::mem::take(&mut self.items);
        let devices = (0..).map_while(|ix| self.source.device(ix).map(|entry| (Some(entry.device), Some(ix))));
        let mut items: Vec<Item> = std::iter::once((None, None))
            .chain(devices)
            .map(|(device, ix)| Item { device, ix, published: None })
            .collect();
        for was in old {
            match items.iter_mut().find(|item| item.device == was.device) {
                Some(item) => item.published = was.published,
                None if was.published.is_some() => items.push(Item { ix: None, ..was }),
                None => {}
            }
        }
        self.items = items;
    }

    pub(crate) fn replace(&mut self, source: Rc<dyn InventorySource>) {
        self.source = source;
        self.list();
    }

    /// Another broker has nothing of it yet.
    pub(crate) fn forget(&mut self) {
        self.items.retain(|item| item.device.is_none() || item.ix.is_some());
        for item in &mut self.items {
            item.published = None;
        }
    }

    /// The messages that the broker does not have.
    pub(crate) fn changed(&self, settings: &Settings) -> Vec<usize> {
        let differs = |&number: &usize| self.items[number].published != Some(hash(&self.payload(number, settings)));
        (0..self.items.len()).filter(differs).collect()
    }

    pub(crate) fn topic(&self, number: usize, topics: &Topics) -> Bytes {
        topics.inventory(self.items.get(number).and_then(|item| item.device.as_deref()))
    }

    /// The payload; empty for a device that is gone, which clears the retained message.
    pub(crate) fn payload(&self, number: usize, settings: &Settings) -> Vec<u8> {
        let Some(item) = self.items.get(number) else { return Vec::new() };
        let box_id = settings.box_id.to_string();
        let written = match (&item.device, item.ix) {
            (None, _) => {
                let site = self.source.site();
                let devices = self.items.iter().filter(|item| item.ix.is_some());
                let devices = devices.filter_map(|item| item.device.clone()).collect();
                let (title, timezone, labels, software) = (site.title, site.timezone, site.labels, site.software);
                let index = InventoryMessage { v: 1, box_id, title, timezone, labels, software, devices };
                serde_json::to_vec(&index)
            }
            (Some(_), Some(ix)) => match self.source.device(ix) {
                Some(about) => serde_json::to_vec(&DeviceMessage { v: 1, box_id, about }),
                None => return Vec::new(),
            },
            (Some(_), None) => return Vec::new(),
        };
        written.unwrap_or_default()
    }

    pub(crate) fn settled(&mut self, number: usize, settings: &Settings) {
        let now = hash(&self.payload(number, settings));
        if let Some(item) = self.items.get_mut(number) {
            item.published = Some(now);
        }
    }

    pub(crate) fn software(&self) -> String {
        self.source.site().software
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The status message while the box itself can speak: its state, and how the site stands.
pub(crate) fn status(
    settings: &Settings,
    (state, mode): (&str, Option<&str>),
    software: String,
    now: Stamp,
    outbox: &dyn Outbox,
) -> Vec<u8> {
    let mut since = Vec::new();
    Times::default().write(&mut since, now.wall);
    let since = String::from_utf8(since).ok().map(|text| text.trim_matches('"').to_owned());
    let message = StatusMessage {
        v: 1,
        box_id: settings.box_id.to_string(),
        state: state.to_owned(),
        mode: mode.map(str::to_owned),
        software: Some(software),
        since: since.filter(|_| now.trust != Trust::Unset),
        epoch: Some(outbox.epoch()),
        newest: Lane::ALL.into_iter().map(|lane| (lane.as_str().to_owned(), outbox.newest(lane))).collect(),
    };
    serde_json::to_vec(&message).unwrap_or_default()
}

/// The last will.
pub(crate) fn will(settings: &Settings) -> Vec<u8> {
    let message = StatusMessage {
        v: 1,
        box_id: settings.box_id.to_string(),
        state: "lost".to_owned(),
        mode: None,
        software: None,
        since: None,
        epoch: None,
        newest: std::collections::BTreeMap::new(),
    };
    serde_json::to_vec(&message).unwrap_or_default()
}
