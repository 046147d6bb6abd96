//! A store in memory, for tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod broker;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use gatehouse_core::{
    Body, Decimal, Kind, Lane, Mono, Name, PointIx, PointReading, Record, Schema, SchemaPoint, Stamp, Trust, Value,
    Wall,
};
use gatehouse_uplink::{Outbox, OutboxError, Visit};

/// 2026-11-23T10:00:00Z.
pub(crate) const TEN: i64 = 1_795_428_000_000_000;

/// Unacknowledged records by lane and number.
#[derive(Default)]
pub(crate) struct MemoryOutbox {
    pub(crate) held: [BTreeMap<u64, Record>; 6],
    pub(crate) newest: [u64; 6],
    pub(crate) refused: BTreeSet<(Lane, u64)>,
    /// Reads fail while this is set.
    pub(crate) broken: bool,
}

impl MemoryOutbox {
    /// Stores a record with this body; gives its number.
    pub(crate) fn store(&mut self, lane: Lane, stamp: Stamp, body: Body) -> u64 {
        let seq = self.newest[lane.index()] + 1;
        self.newest[lane.index()] = seq;
        self.held[lane.index()].insert(seq, Record { lane, seq, stamp, body });
        seq
    }

    pub(crate) fn unacked(&self) -> usize {
        self.held.iter().map(BTreeMap::len).sum()
    }
}

impl Outbox for MemoryOutbox {
    fn epoch(&self) -> u64 {
        3
    }

    fn newest(&self, lane: Lane) -> u64 {
        self.newest[lane.index()]
    }

    fn next_unacked(&self, lane: Lane, from: u64) -> Option<u64> {
        self.held[lane.index()].range(from..).next().map(|(&seq, _)| seq)
    }

    fn read(&mut self, lane: Lane, from: u64, visit: &mut Visit<'_>) -> Result<(), OutboxError> {
        if self.broken {
            return Err(OutboxError { lane, why: "unplugged".to_owned() });
        }
        for record in self.held[lane.index()].range(from..).map(|(_, record)| record) {
            if visit(record, (record.stamp.wall, record.stamp.trust)) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn ack(&mut self, lane: Lane, first: u64, last: u64) {
        let held = &mut self.held[lane.index()];
        let gone: Vec<u64> = held.range(first..=last).map(|(&seq, _)| seq).collect();
        for seq in gone {
            held.remove(&seq);
        }
    }

    fn refuse(&mut self, lane: Lane, seq: u64) {
        self.refused.insert((lane, seq));
        if let Some(record) = self.held[lane.index()].get_mut(&seq) {
            record.body = Body::Gap { last: seq, lost: 1, reason: "refused".into() };
        }
    }
}

pub(crate) fn stamp(ms: u64) -> Stamp {
    let us = i64::try_from(ms).unwrap() * 1000;
    Stamp { boot: Default::default(), mono: Mono::from_millis(ms), wall: Wall(TEN + us), trust: Trust::Synchronised }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A sample of `points` values of one device.
pub(crate) fn sample(device: &str, points: u16, base: i128) -> Body {
    let point = |n| SchemaPoint { name: name(&format!("value_{n:02}")), kind: Kind::Decimal { exponent: -2 } };
    let schema = Arc::new(Schema { device: name(device), points: (0..points).map(point).collect() });
    sample_of(&schema, base)
}

/// Another sample of the same device.
pub(crate) fn sample_of(schema: &Arc<Schema>, base: i128) -> Body {
    let reading = |n: usize| {
        PointReading::new(
            PointIx(u16::try_from(n).unwrap()),
            Ok(Value::Decimal(Decimal { mantissa: base + n as i128, exponent: -2 })),
        )
    };
    Body::Sample { schema: schema.clone(), readings: (0..schema.points.len()).map(reading).collect() }
}

pub(crate) fn event(kind: &str, json: &str) -> Body {
    Body::Event { kind: kind.into(), json: json.into() }
}
