//! Everything that can happen, in any order, beside a model of what must be held.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatehouse_core::{Body, Lane, Record};

use super::rig::{Rig, readings};

/// What is known of a number that was given.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Given {
    tag: u64,
    /// It was on the disk at some time: a power cut may not take it.
    durable: bool,
    acked: bool,
}

#[derive(Default)]
struct Model {
    given: BTreeMap<(Lane, u64), Given>,
    /// The epoch of loss: gaps may stand for what is not durable.
    cut: bool,
    /// Files were damaged or the bound was reached: a gap may stand for anything.
    lossy: bool,
    tag: u64,
}

const LANES: [Lane; 3] = [Lane::Alarms, Lane::Billing, Lane::Telemetry];

impl Model {
    fn give(&mut self, lane: Lane, seq: u64, tag: u64) {
        let last = self.given.range((lane, 0)..=(lane, u64::MAX)).next_back().map_or(0, |((_, seq), _)| *seq);
        assert!(seq > last, "{lane}: {seq} was given after {last}");
        self.given.insert((lane, seq), Given { tag, durable: false, acked: false });
    }

    /// Everything is read back, in order, as it was given; every number is there, delivered, or in a gap.
    fn check(&self, lane: Lane, newest: u64, records: &[Record], step: &str) {
        let mut accounted: BTreeMap<u64, &Record> = BTreeMap::new();
        let mut last = 0;
        for record in records {
            assert!(record.seq > last, "{step}: {lane}: {} after {last}", record.seq);
            last = record.last_seq();
            match &record.body {
                Body::Gap { .. } => {
                    assert!(self.cut || self.lossy, "{step}: {lane}: a gap for no reason: {record:?}");
                    for (&(_, seq), given) in self.given.range((lane, record.seq)..=(lane, last)) {
                        let allowed = self.lossy || !given.durable || given.acked;
                        assert!(allowed, "{step}: {lane}: {seq} was durable and is gone: {record:?}");
                        accounted.insert(seq, record);
                    }
                }
                Body::Sample { readings: found, .. } => {
                    let given = self.given[&(lane, record.seq)];
                    assert_eq!(*found, readings(given.tag), "{step}: {lane} {}", record.seq);
                    accounted.insert(record.seq, record);
                }
                Body::Event { json, .. } => {
                    let given = self.given[&(lane, record.seq)];
                    assert_eq!(**json, format!("{{\"tag\":{}}}", given.tag), "{step}: {lane} {}", record.seq);
                    accounted.insert(record.seq, record);
                }
            }
        }
        for (&(_, seq), given) in self.given.range((lane, 0)..=(lane, newest)) {
            assert!(given.acked || accounted.contains_key(&seq), "{step}: {lane} {seq} is nowhere: {given:?}");
        }
    }

    fn all_durable(&mut self, lanes: &[Lane]) {
        for ((lane, _), given) in &mut self.given {
            given.durable |= lanes.contains(lane);
        }
    }
}

fn check(rig: &mut Rig, model: &Model, step: &str) {
    for lane in LANES {
        let newest = rig.store().newest(lane);
        let records = rig.read(lane);
        model.check(lane, newest, &records, step);
    }
}

fn ack_some(rig: &mut Rig, model: &mut Model, rng: &mut fastrand::Rng) {
    let lane = LANES[rng.usize(..3)];
    let records = rig.read(lane);
    if records.is_empty() {
        return;
    }
    // A message: consecutive records, mostly the oldest, sometimes the live ones.
    let from = if rng.bool() { 0 } else { rng.usize(..records.len()) };
    let to = (from + rng.usize(1..20)).min(records.len());
    for record in &records[from..to] {
        rig.store().ack(lane, record.seq, record.last_seq());
        for (_, given) in model.given.range_mut((lane, record.seq)..=(lane, record.last_seq())) {
            given.acked = true;
        }
    }
}

fn step(rig: &mut Rig, model: &mut Model, rng: &mut fastrand::Rng, harm: bool) -> &'static str {
    match rng.u32(..if harm { 100 } else { 88 }) {
        0..40 => {
            let lane = if rng.u8(..4) == 0 { Lane::Billing } else { Lane::Telemetry };
            for _ in 0..rng.u32(1..40) {
                model.tag += 1;
                let seq = rig.append(lane, model.tag);
                model.give(lane, seq, model.tag);
            }
            "append"
        }
        40..50 => {
            model.tag += 1;
            let seq = rig.store().books[Lane::Alarms.index()].next;
            let value = model.tag.to_string();
            rig.commit(&[("last", Some(&value))], &[(Lane::Alarms, model.tag)]);
            model.give(Lane::Alarms, seq, model.tag);
            assert_eq!(rig.store().state(b"last").unwrap(), value.as_bytes());
            "commit"
        }
        50..66 => {
            ack_some(rig, model, rng);
            "ack"
        }
        66..78 => {
            rig.pass(Duration::from_millis(rng.u64(..1500)));
            "pass"
        }
        78..82 => {
            let now = rig.now;
            rig.store().handle_link(now, rng.bool());
            rig.pass(Duration::from_secs(rng.u64(..120)));
            rig.settle();
            if !rig.disk.faults.full.load(Ordering::SeqCst) {
                model.all_durable(&[Lane::Alarms, Lane::Billing]);
            }
            "settle"
        }
        82..85 => {
            // Events that are not committed may go with the process; nothing that was told as committed does.
            rig.settle();
            rig.kill();
            "kill"
        }
        85..87 => {
            rig.settle();
            if rig.stop() {
                model.all_durable(&LANES);
            }
            "stop"
        }
        87 => {
            rig.pass(Duration::from_secs(700));
            "long pass"
        }
        88..92 => {
            let sendable = rig.store().newest(Lane::Alarms);
            rig.cut();
            model.cut = true;
            // An event that was not yet sendable may be there or not; if not, nobody ever saw its number.
            let there: Vec<u64> = rig.read(Lane::Alarms).iter().map(|record| record.seq).collect();
            model.given.retain(|(lane, seq), _| *lane != Lane::Alarms || *seq <= sendable || there.contains(seq));
            check(rig, model, "after the cut");
            // What the gap stands for is settled.
            for lane in LANES {
                let records = rig.read(lane);
                let kept = records.iter().filter(|record| !matches!(record.body, Body::Gap { .. }));
                let there: Vec<u64> = kept.map(|record| record.seq).collect();
                for ((_, seq), given) in model.given.range_mut((lane, 0)..=(lane, u64::MAX)) {
                    given.acked |= !there.contains(seq);
                }
            }
            "cut"
        }
        92..96 => {
            let full = !rig.disk.faults.full.load(Ordering::SeqCst);
            rig.disk.faults.full.store(full, Ordering::SeqCst);
            "full"
        }
        _ => {
            let flip = rng.u64(..);
            rig.settle();
            rig.kill_and(|settings| damage(&settings.dir.join("spool"), flip));
            model.lossy = true;
            "damage"
        }
    }
}

fn damage(spool: &std::path::Path, flip: u64) {
    let mut files: Vec<_> = std::fs::read_dir(spool).unwrap().flatten().map(|entry| entry.path()).collect();
    files.sort();
    if let Some(path) = files.get(usize::try_from(flip).unwrap() % files.len().max(1)) {
        let mut bytes = std::fs::read(path).unwrap();
        let at = usize::try_from(flip >> 20).unwrap() % bytes.len();
        let end = (at + 40).min(bytes.len());
        if flip.is_multiple_of(3) {
            bytes.truncate(at);
        } else {
            bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        std::fs::write(path, bytes).unwrap();
    }
}

fn run(seed: u64, steps: usize, harm: bool) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new(|settings| settings.segment_bytes = 16 << 10);
    let mut model = Model::default();
    for at in 0..steps {
        let did = step(&mut rig, &mut model, &mut rng, harm);
        if rng.u8(..3) == 0 || did != "append" {
            check(&mut rig, &model, &format!("seed {seed} step {at} {did}"));
        }
    }
    rig.disk.faults.full.store(false, Ordering::SeqCst);
    rig.pass(Duration::from_secs(60));
    rig.settle();
    rig.pass(Duration::from_secs(60));
    rig.settle();
    rig.kill();
    check(&mut rig, &model, &format!("seed {seed} at the end"));
    for lane in LANES {
        let newest = rig.store().newest(lane);
        rig.store().ack(lane, 1, newest);
        assert_eq!(rig.store().next_unacked(lane, 1), None);
    }
    let troubles = rig.store().status().troubles;
    assert!(troubles.is_empty(), "seed {seed}: {troubles:?}");
}

#[test]
fn nothing_is_lost_reordered_or_renumbered_by_kills_and_stops() {
    for seed in 0..40 {
        run(seed, 80, false);
    }
}

#[test]
fn power_cuts_full_disks_and_damage_cost_only_what_a_gap_says() {
    for seed in 100..140 {
        run(seed, 80, true);
    }
}
