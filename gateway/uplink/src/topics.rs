//! The names of the topics of one box.

use bytes::Bytes;
use gatehouse_core::Lane;

use crate::inbound::Inbound;
use crate::ledger::Stream;
use crate::settings::Settings;

/// Every topic below `<prefix>/v1/<box>/`, made once.
#[derive(Debug, Clone)]
pub(crate) struct Topics {
    base: String,
    records: [[Bytes; 2]; Lane::ALL.len()],
    pub(crate) status: Bytes,
    pub(crate) ack: String,
    pub(crate) time: String,
    pub(crate) ask: Bytes,
    inbound: [String; Inbound::ALL.len()],
}

impl Topics {
    pub(crate) fn new(settings: &Settings) -> Self {
        let base = format!("{}/v1/{}/", settings.prefix, settings.box_id);
        let topic = |rest: String| Bytes::from(format!("{base}{rest}").into_bytes());
        Topics {
            records: Lane::ALL.map(|lane| [topic(format!("{lane}/live")), topic(format!("{lane}/backfill"))]),
            status: topic("status".to_owned()),
            ack: format!("{base}ack"),
            time: format!("{base}time"),
            ask: topic("ask".to_owned()),
            inbound: Inbound::ALL.map(|inbound| format!("{base}{}", inbound.as_str())),
            base,
        }
    }

    pub(crate) fn records(&self, lane: Lane, stream: Stream) -> &Bytes {
        &self.records[lane.index()][stream as usize]
    }

    /// What the box subscribes to, and whether with QoS 1.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = (&str, bool)> {
        let inbound = Inbound::ALL.into_iter().zip(&self.inbound);
        let inbound = inbound.map(|(inbound, topic)| (topic.as_str(), inbound.is_settled()));
        [(self.ack.as_str(), true), (self.time.as_str(), true)].into_iter().chain(inbound)
    }

    /// Which of the core's topics for the daemon this is.
    pub(crate) fn inbound(&self, topic: &[u8]) -> Option<Inbound> {
        Inbound::ALL
            .into_iter()
            .zip(&self.inbound)
            .find(|(_, name)| name.as_bytes() == topic)
            .map(|(inbound, _)| inbound)
    }

    /// The inventory's index, or one device's part of it.
    pub(crate) fn inventory(&self, device: Option<&str>) -> Bytes {
        let rest = device.map_or_else(String::new, |device| format!("/{device}"));
        Bytes::from(format!("{}inventory{rest}", self.base).into_bytes())
    }
}
