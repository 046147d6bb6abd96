//! The receiver's books: what `docs/uplink.md` tells a receiver to keep, so as to prove that it has all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Everything that was received of one box.
#[derive(Debug, Default)]
pub struct Ledger {
    lanes: BTreeMap<(u64, String), Lane>,
    retained: BTreeMap<String, Value>,
}

/// One lane of one epoch.
#[derive(Debug, Default)]
struct Lane {
    /// Records, by number.
    records: BTreeMap<u64, Record>,
    /// First and last number of each gap record, and the records that it says are lost.
    gaps: BTreeMap<u64, (u64, u64)>,
    /// Records that came more than once.
    twice: u64,
    /// The highest number that came new on each topic.
    highest: BTreeMap<String, u64>,
}

/// One sample or event.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The topic on which it came first.
    pub topic: String,
    /// The record as it came.
    pub json: Value,
}

impl Record {
    /// The device of a sample.
    pub fn device(&self) -> Option<&str> {
        self.json["device"].as_str()
    }

    /// A point's value, as it came.
    pub fn value(&self, point: &str) -> &Value {
        &self.json["values"][point]
    }
}

impl Ledger {
    /// Enters one line of the subscriber: topic, space, payload.
    ///
    /// # Panics
    /// When the payload is not what `docs/uplink.md` says, contradicts what came before, or breaks the order of its topic.
    pub fn receive(&mut self, line: &str) {
        let (topic, payload) = line.split_once(' ').unwrap_or_else(|| panic!("no payload: {line}"));
        let levels: Vec<&str> = topic.split('/').collect();
        let [_, "v1", name, lane, stream @ ("live" | "backfill")] = levels[..] else {
            if !payload.is_empty() && topic != "gatehouse/ready" {
                let document = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {line}"));
                self.retained.insert(topic.to_owned(), document);
            }
            return;
        };
        let message: Value = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["v"], 1, "{line}");
        assert_eq!(message["box"], name, "{line}");
        assert_eq!(message["lane"], lane, "{line}");
        let epoch = message["epoch"].as_u64().unwrap_or_else(|| panic!("no epoch: {line}"));
        let records = message["records"].as_array().unwrap_or_else(|| panic!("no records: {line}"));
        assert_eq!(message["seq"], records[0]["seq"], "{line}");
        let lane = self.lanes.entry((epoch, lane.to_owned())).or_default();
        for record in records {
            lane.enter(topic, stream, record);
        }
    }

    /// The retained document of a topic below `gatehouse/v1/<box>/`.
    pub fn retained(&self, topic: &str) -> Option<&Value> {
        self.retained.iter().find(|(name, _)| name.ends_with(topic)).map(|(_, document)| document)
    }

    /// How many epochs there were.
    pub fn epochs(&self) -> usize {
        self.lanes.keys().map(|(epoch, _)| epoch).collect::<BTreeSet<_>>().len()
    }

    /// Records of a lane, by epoch and number.
    pub fn records<'l>(&'l self, lane: &'l str) -> impl Iterator<Item = &'l Record> {
        self.lanes.iter().filter(move |((_, name), _)| name == lane).flat_map(|(_, lane)| lane.records.values())
    }

    /// Whether a record with this number came in a lane, in whatever epoch.
    pub fn has(&self, lane: &str, seq: u64) -> bool {
        self.lanes.iter().any(|((_, name), of)| name == lane && of.records.contains_key(&seq))
    }

    /// The highest number that came in a lane; 0 for none.
    pub fn highest(&self, lane: &str) -> u64 {
        let of_lane = self.lanes.iter().filter(|((_, name), _)| name == lane);
        of_lane.filter_map(|(_, of)| of.records.keys().next_back().copied()).max().unwrap_or(0)
    }

    /// The values of a device's point in the order of their numbers, those without one left out.
    pub fn values(&self, device: &str, point: &str) -> Vec<Value> {
        let lanes = self.lanes.values().flat_map(|lane| lane.records.values());
        let of_device = lanes.filter(|record| record.device() == Some(device));
        of_device.map(|record| record.value(point).clone()).filter(|value| !value.is_null()).collect()
    }

    /// How many records came, repetitions left out.
    pub fn count(&self) -> usize {
        self.lanes.values().map(|lane| lane.records.len()).sum()
    }

    /// How many records came more than once.
    pub fn twice(&self) -> u64 {
        self.lanes.values().map(|lane| lane.twice).sum()
    }

    /// Numbers that neither a record nor a gap accounts for, up to the highest that came, as `lane:number`.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for ((_, name), lane) in &self.lanes {
            let mut next = 1;
            let mut spans: Vec<(u64, u64)> = lane.records.keys().map(|seq| (*seq, *seq)).collect();
            spans.extend(lane.gaps.iter().map(|(first, (last, _))| (*first, *last)));
            spans.sort_unstable();
            for (first, last) in spans {
                missing.extend((next..first).map(|seq| format!("{name}:{seq}")));
                next = next.max(last + 1);
            }
        }
        missing
    }

    /// Records that gap records say are lost.
    pub fn lost(&self) -> u64 {
        self.lanes.values().flat_map(|lane| lane.gaps.values()).map(|(_, lost)| lost).sum()
    }

    /// A few numbers for messages.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for ((epoch, name), lane) in &self.lanes {
            let (count, last) = (lane.records.len(), lane.records.keys().next_back().copied().unwrap_or(0));
            text += &format!(
                "epoch {epoch} {name}: {count} records to {last}, {} twice, gaps {:?}\n",
                lane.twice, lane.gaps
            );
        }
        text + &format!("missing: {:?}\n", self.missing())
    }
}

impl Lane {
    fn enter(&mut self, topic: &str, stream: &str, json: &Value) {
        let seq = json["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {json}"));
        if let Some(gap) = json.get("gap") {
            let number = |key: &str| gap[key].as_u64().unwrap_or_else(|| panic!("no {key} in {gap}"));
            self.gaps.insert(seq, (number("last"), number("lost")));
            return;
        }
        if let Some(known) = self.records.get(&seq) {
            assert_eq!(known.json, *json, "number {seq} came twice with different contents");
            self.twice += 1;
            return;
        }
        let highest = self.highest.entry(stream.to_owned()).or_default();
        assert!(seq > *highest, "{topic}: {seq} came after {highest}");
        *highest = seq;
        self.records.insert(seq, Record { topic: topic.to_owned(), json: json.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: &str, records: &str) -> String {
        let first: Value = serde_json::from_str(records).unwrap();
        let seq = &first[0]["seq"];
        format!(
            "gatehouse/v1/b/telemetry/{stream} {{\"v\":1,\"box\":\"b\",\"epoch\":7,\"lane\":\"telemetry\",\"seq\":{seq},\"records\":{records}}}"
        )
    }

    #[test]
    fn the_books_find_what_is_missing_and_what_came_twice() {
        let mut ledger = Ledger::default();
        ledger.receive(&line("live", r#"[{"seq":1},{"seq":2}]"#));
        ledger.receive(&line("live", r#"[{"seq":6}]"#));
        ledger.receive(&line("backfill", r#"[{"seq":2}]"#));
        ledger.receive(&line("backfill", r#"[{"seq":4,"gap":{"last":5,"lost":1,"reason":"bounded"}}]"#));
        assert_eq!(ledger.missing(), ["telemetry:3"]);
        assert_eq!((ledger.count(), ledger.twice(), ledger.lost(), ledger.epochs()), (3, 1, 1, 1));
    }

    #[test]
    #[should_panic(expected = "2 came after 3")]
    fn the_books_refuse_a_topic_out_of_order() {
        let mut ledger = Ledger::default();
        ledger.receive(&line("live", r#"[{"seq":3}]"#));
        ledger.receive(&line("live", r#"[{"seq":2}]"#));
    }

    #[test]
    #[should_panic(expected = "different contents")]
    fn the_books_refuse_a_number_that_was_used_twice() {
        let mut ledger = Ledger::default();
        ledger.receive(&line("live", r#"[{"seq":3,"device":"a"}]"#));
        ledger.receive(&line("backfill", r#"[{"seq":3,"device":"b"}]"#));
    }
}
