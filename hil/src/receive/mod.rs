//! A receiver as the cloud core would be one: it reads every record, proves completeness and has each value judged.

mod ledger;
mod message;
mod subscriber;

use std::sync::{Arc, Mutex, PoisonError};

pub use ledger::{Arrival, Ledger, Numbers, Stream};
pub use message::{Delivered, Gap, Message, Record, wall_us};
pub use subscriber::Subscriber;

/// What a judge says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The device held it at that time.
    Right,
    /// It held something else.
    Wrong,
    /// Nobody here knows the device or the point.
    Unknown,
}

/// What one record is, for who judges its values.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The device.
    pub device: &'a str,
    /// The record's wall time, microseconds since 1970.
    pub at_us: i64,
    /// When the message came, nanoseconds of the simulation's clock.
    pub now_ns: u64,
    /// True on the backfill topic.
    pub backfill: bool,
}

/// Knows what devices really held.
pub trait Judge: Send {
    /// Judges one value of a record that came for the first time.
    fn value(&mut self, context: Context<'_>, point: &str, value: &Delivered<'_>) -> Verdict;

    /// What the device held instead of a wrong value, for people.
    fn held(&self, _context: Context<'_>, _point: &str) -> String {
        String::new()
    }

    /// Sees each record that came for the first time, before its values.
    fn record(&mut self, _context: Context<'_>, _record: &Record<'_>) {}

    /// Sees each event that came for the first time.
    fn event(&mut self, _lane: &str, _event: &str, _record: &Record<'_>) {}
}

/// What has come so far.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// The numbers of every lane.
    pub ledger: Ledger,
    /// Messages of records.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Records that came for the first time.
    pub records: u64,
    /// Records that came again.
    pub duplicates: u64,
    /// Records that came after a later one of their topic.
    pub out_of_order: u64,
    /// Values in records that came for the first time.
    pub values: u64,
    /// Points without a value, with the reason, in those records.
    pub missing: u64,
    /// Values that the device did not hold.
    pub wrong: u64,
    /// Values that could not be judged.
    pub unknown: u64,
    /// Messages that are not what the documentation says.
    pub malformed: u64,
    /// The first wrong value or malformed message, for people.
    pub first_trouble: Option<String>,
    /// When the last record came, nanoseconds of the simulation's clock.
    pub last_ns: u64,
}

impl Tally {
    /// Takes a publish of any topic; those that carry no records are passed over.
    pub fn take(&mut self, topic: &str, payload: &[u8], now_ns: u64, judge: &mut dyn Judge) {
        let backfill = match topic.rsplit_once('/') {
            Some((_, "live")) => false,
            Some((_, "backfill")) => true,
            _ => return,
        };
        self.messages += 1;
        self.bytes += payload.len() as u64;
        match serde_json::from_slice::<Message<'_>>(payload) {
            Ok(message) if message.v == 1 && message.records.first().map(|r| r.seq) == Some(message.seq) => {
                self.last_ns = now_ns;
                message.records.iter().for_each(|record| self.record(&message, record, backfill, now_ns, judge));
            }
            Ok(message) => self.trouble_malformed(topic, &format!("version {} or first number", message.v)),
            Err(error) => self.trouble_malformed(topic, &error.to_string()),
        }
    }

    fn trouble_malformed(&mut self, topic: &str, what: &str) {
        self.malformed += 1;
        self.first_trouble.get_or_insert_with(|| format!("{topic}: {what}"));
    }

    fn record(
        &mut self,
        message: &Message<'_>,
        record: &Record<'_>,
        backfill: bool,
        now_ns: u64,
        judge: &mut dyn Judge,
    ) {
        let lost = record.gap.as_ref().map_or(0, |gap| gap.lost);
        match self.ledger.note(message.epoch, &message.lane, backfill, record.seq, record.last(), lost) {
            Arrival::Duplicate => {
                self.duplicates += 1;
                return;
            }
            Arrival::OutOfOrder => self.out_of_order += 1,
            Arrival::New => {}
        }
        self.records += 1;
        self.values += record.values.0.len() as u64;
        self.missing += record.missing.0.len() as u64;
        if let Some(event) = &record.event {
            judge.event(&message.lane, event, record);
        }
        let Some(device) = record.device.as_deref() else { return };
        let Some(at_us) = wall_us(&record.time) else {
            return self.trouble_malformed(device, &format!("{:?} is no time", record.time));
        };
        let context = Context { device, at_us, now_ns, backfill };
        judge.record(context, record);
        for (point, value) in &record.values.0 {
            match judge.value(context, point, value) {
                Verdict::Right => {}
                Verdict::Unknown => self.unknown += 1,
                Verdict::Wrong => {
                    self.wrong += 1;
                    let (time, held) = (&record.time, judge.held(context, point));
                    let text = || format!("{device} {point} = {value:?} at {time}, where the device held {held}");
                    self.first_trouble.get_or_insert_with(text);
                }
            }
        }
    }
}

/// A tally that a subscriber fills and others read.
#[derive(Debug, Clone, Default)]
pub struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    /// Looks at or changes the tally.
    pub fn with<T>(&self, f: impl FnOnce(&mut Tally) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Holds 5 everywhere.
    struct Five;
    impl Judge for Five {
        fn value(&mut self, _: Context<'_>, _: &str, value: &Delivered<'_>) -> Verdict {
            if *value == Delivered::Number(5.0) { Verdict::Right } else { Verdict::Wrong }
        }
    }

    fn take(tally: &mut Tally, topic: &str, seq: u64, value: u32) {
        let payload = format!(
            r#"{{"v":1,"box":"b","epoch":1,"lane":"telemetry","seq":{seq},"records":[
            {{"seq":{seq},"time":"2026-11-23T10:00:00Z","device":"m","values":{{"u":{value}}},"missing":{{"i":"timeout"}}}}]}}"#
        );
        tally.take(topic, payload.as_bytes(), 1, &mut Five);
    }

    #[test]
    fn a_tally_counts_what_is_new_once_and_tells_the_first_trouble() {
        let mut tally = Tally::default();
        take(&mut tally, "g/v1/b/telemetry/live", 1, 5);
        take(&mut tally, "g/v1/b/telemetry/live", 3, 5);
        take(&mut tally, "g/v1/b/telemetry/backfill", 1, 6);
        take(&mut tally, "g/v1/b/telemetry/live", 2, 6);
        take(&mut tally, "g/v1/b/status", 9, 6);
        assert_eq!((tally.messages, tally.records, tally.values, tally.missing), (4, 3, 3, 3));
        assert_eq!((tally.duplicates, tally.out_of_order, tally.wrong, tally.malformed), (1, 1, 1, 0));
        assert!(tally.first_trouble.as_deref().is_some_and(|text| text.starts_with("m u = Number(6.0)")));
    }

    #[test]
    fn a_message_that_is_not_as_documented_is_malformed() {
        let mut tally = Tally::default();
        for payload in ["{", "{}", r#"{"v":2,"box":"b","epoch":1,"lane":"telemetry","seq":1,"records":[]}"#] {
            tally.take("g/v1/b/telemetry/live", payload.as_bytes(), 1, &mut Five);
        }
        assert_eq!((tally.malformed, tally.records), (3, 0));
    }
}
