//! Stories: one thing happens to the box, and what must be there afterwards is.

use std::time::Duration;

use gatehouse_core::{Body, BootId, Lane, Record, Stamp, Trust, Wall};

use super::rig::{Rig, readings};
use crate::api::{ClockOffset, LastStop, StoreEvent};
use crate::{Batch, StoreError};

fn seqs(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

fn gaps(records: &[Record]) -> Vec<(u64, u64, u64, &str)> {
    let gap = |record: &Record| match &record.body {
        Body::Gap { last, lost, reason } => {
            let reason =
                ["bounded", "damaged", "unclean_stop", "refused", "thinned"].into_iter().find(|r| **r == **reason);
            Some((record.seq, *last, *lost, reason.unwrap()))
        }
        _ => None,
    };
    records.iter().filter_map(gap).collect()
}

#[test]
fn a_healthy_link_wears_no_flash() {
    let mut rig = Rig::new(|_| {});
    let before = rig.store().status().written.syncs;
    for tag in 1..=2000 {
        let seq = rig.append(Lane::Telemetry, tag);
        assert_eq!(seq, tag);
        rig.pass(Duration::from_millis(400));
        rig.store().ack(Lane::Telemetry, seq, seq);
    }
    rig.settle();
    let status = rig.store().status();
    assert_eq!((status.written.syncs - before, status.spool_bytes), (0, 0));
    assert!(status.tail_bytes < 200_000);
}

#[test]
fn what_is_unacknowledged_past_the_window_is_sealed_and_read_back() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=300 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.store().ack(Lane::Telemetry, 11, 20);
    rig.pass(Duration::from_secs(2));
    rig.settle();
    let status = rig.store().status();
    assert_eq!((status.written.blocks, status.tail_bytes), (2, 0), "one block on each side of what was delivered");
    let records = rig.read(Lane::Telemetry);
    assert_eq!(seqs(&records), (1..=10).chain(21..=300).collect::<Vec<_>>());
    for record in &records {
        let Body::Sample { readings: found, schema } = &record.body else { panic!("a sample") };
        assert_eq!(*found, readings(record.seq));
        assert_eq!(*schema.device, *["meter-1", "meter-2", "door-1"][usize::try_from(record.seq % 3).unwrap()]);
    }
    assert_eq!(records[0].stamp.trust, Trust::Synchronised);
    rig.store().ack(Lane::Telemetry, 1, 300);
    rig.pass(Duration::from_secs(700));
    rig.settle();
    let files: Vec<_> = std::fs::read_dir(rig.settings.dir.join("spool")).unwrap().collect();
    assert!(files.is_empty(), "delivered segments are deleted whole: {files:?}");
}

#[test]
fn the_window_widens_once_the_link_has_been_down_for_a_minute() {
    let mut rig = Rig::new(|_| {});
    let now = rig.now;
    rig.store().handle_link(now, false);
    rig.append(Lane::Telemetry, 1);
    let due = rig.store().poll_timeout().unwrap();
    assert_eq!(due.since(rig.now), Duration::from_secs(1));
    rig.pass(Duration::from_secs(61));
    rig.settle();
    rig.append(Lane::Telemetry, 2);
    let (due, now) = (rig.store().seal_due_for_tests(1).unwrap(), rig.now);
    assert_eq!(due.since(now), Duration::from_secs(30));
    rig.store().handle_link(now, true);
    assert_eq!(rig.store().seal_due_for_tests(1).unwrap().since(now), Duration::from_secs(1));
}

#[test]
fn billing_is_sendable_only_when_it_is_on_the_disk() {
    let mut rig = Rig::new(|_| {});
    let seq = rig.append(Lane::Billing, 4);
    assert_eq!(rig.store().newest(Lane::Billing), 0);
    rig.settle();
    assert_eq!(rig.store().newest(Lane::Billing), seq);
    assert!(rig.heard.contains(&StoreEvent::Sendable { lane: Lane::Billing, up_to: seq }));
    rig.cut();
    let records = rig.read(Lane::Billing);
    assert_eq!(records[0].seq, seq);
    assert!(matches!(&records[0].body, Body::Sample { readings: found, .. } if *found == readings(4)));
}

#[test]
fn a_kill_loses_nothing_and_delivers_nothing_twice_that_was_noted() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=50 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.store().ack(Lane::Telemetry, 1, 30);
    rig.pass(Duration::from_millis(1001));
    rig.settle();
    for tag in 51..=60 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.kill();
    assert_eq!((rig.report.last_stop, rig.report.gaps.len()), (LastStop::Killed, 0));
    assert_eq!(seqs(&rig.read(Lane::Telemetry)), (31..=60).collect::<Vec<_>>());
    assert_eq!(rig.append(Lane::Telemetry, 61), 61);
}

#[test]
fn a_power_cut_costs_the_window_and_says_so() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=20 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.store().ack(Lane::Telemetry, 1, 5);
    rig.pass(Duration::from_secs(2));
    rig.settle();
    rig.append(Lane::Telemetry, 21);
    rig.cut();
    assert_eq!(rig.report.last_stop, LastStop::PowerCut);
    let records = rig.read(Lane::Telemetry);
    assert_eq!(seqs(&records)[..15], (6..=20).collect::<Vec<_>>());
    let [(first, last, 0, "unclean_stop")] = gaps(&records)[..] else { panic!("{:?}", gaps(&records)) };
    assert_eq!(first, 21);
    assert_eq!(rig.append(Lane::Telemetry, 22), last + 1, "a number is never used twice");
    rig.store().ack(Lane::Telemetry, 1, last);
    assert_eq!(seqs(&rig.read(Lane::Telemetry)), [last + 1]);
}

#[test]
fn an_orderly_stop_leaves_no_gap_and_goes_on_with_the_next_number() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Telemetry, 1);
    rig.append(Lane::Billing, 2);
    rig.commit(&[], &[(Lane::Alarms, 3)]);
    assert!(rig.stop());
    assert_eq!((rig.report.last_stop, rig.report.gaps.len(), rig.report.new_epoch), (LastStop::Clean, 0, false));
    assert_eq!(rig.append(Lane::Telemetry, 2), 2);
    assert_eq!(rig.append(Lane::Billing, 2), 2);
    assert_eq!(seqs(&rig.read(Lane::Alarms)), [1]);
    // The mark of the orderly stop holds once.
    rig.cut();
    assert_eq!(rig.report.last_stop, LastStop::PowerCut);
    assert!(rig.append(Lane::Telemetry, 3) > 2);
}

#[test]
fn a_sample_after_an_orderly_stop_takes_its_mark_away_first() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Billing, 1);
    let (now, stamp) = (rig.now, rig.stamp());
    rig.store().shutdown(now).unwrap();
    let one_more = rig.store().append_sample(Lane::Billing, stamp, &super::rig::schema("meter-1"), &readings(2));
    assert_eq!(one_more, Err(StoreError::NoNumbers(Lane::Billing)));
    rig.settle();
    let seq = rig.append(Lane::Billing, 3);
    rig.settle();
    rig.cut();
    assert_eq!(rig.report.last_stop, LastStop::PowerCut);
    assert!(rig.append(Lane::Billing, 4) > seq);
}

#[test]
fn state_and_its_event_are_there_together_after_a_power_cut() {
    let mut rig = Rig::new(|_| {});
    let ticket =
        rig.commit(&[("alarm/1", Some("active")), ("alarm/2", Some("x"))], &[(Lane::Alarms, 1), (Lane::Tickets, 2)]);
    assert_eq!(rig.store().state(b"alarm/1").unwrap(), b"active", "read back before it is durable");
    assert_eq!(rig.store().newest(Lane::Alarms), 0);
    rig.settle();
    assert!(rig.heard.contains(&StoreEvent::Committed(ticket)));
    assert_eq!(rig.store().newest(Lane::Alarms), 1);
    rig.commit(&[("alarm/2", None), ("alarm/3", Some("y"))], &[]);
    assert_eq!(rig.store().scan(b"alarm/").len(), 2);
    rig.settle();
    rig.cut();
    let keys: Vec<_> = rig.store().scan(b"alarm/").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"alarm/1".to_vec(), b"alarm/3".to_vec()]);
    let records = rig.read(Lane::Tickets);
    assert!(matches!(&records[0].body, Body::Event { kind, json } if &**kind == "test" && &**json == "{\"tag\":2}"));
    let blobs = rig.settings.dir.join("journal/blobs");
    assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0, "sled never syncs its blobs");
}

#[test]
fn acknowledged_events_leave_the_journal_and_stay_acknowledged() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=10 {
        rig.commit(&[], &[(Lane::Audit, tag)]);
    }
    rig.settle();
    rig.store().ack(Lane::Audit, 1, 8);
    rig.pass(Duration::from_secs(2));
    rig.kill();
    assert_eq!(seqs(&rig.read(Lane::Audit)), [9, 10]);
    rig.store().ack(Lane::Audit, 9, 9);
    rig.pass(Duration::from_secs(700));
    rig.settle();
    rig.cut();
    let records = rig.read(Lane::Audit);
    assert_eq!(records[0].seq, 10);
}

#[test]
fn a_refused_record_is_put_aside_and_leaves_a_gap() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=3 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.store().refuse(Lane::Telemetry, 2);
    rig.settle();
    let records = rig.read(Lane::Telemetry);
    assert_eq!((seqs(&records), gaps(&records)), (vec![1, 2, 3], vec![(2, 2, 1, "refused")]));
    rig.kill();
    let records = rig.read(Lane::Telemetry);
    assert_eq!(gaps(&records), [(2, 2, 1, "refused")]);
}

fn refused(rig: &Rig, lane: Lane) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(rig.settings.dir.join(format!("quarantine/refused-{lane}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn refused_records_of_a_lane_stand_in_one_file_line_by_line() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=6 {
        rig.append(Lane::Telemetry, tag);
    }
    rig.commit(&[], &[(Lane::Audit, 7)]);
    rig.settle();
    rig.store().refuse(Lane::Telemetry, 2);
    rig.store().refuse(Lane::Audit, 1);
    rig.settle();
    // A power cut left a line open.
    let path = rig.settings.dir.join("quarantine/refused-telemetry.jsonl");
    let torn = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, torn.trim_end()).unwrap();
    rig.store().refuse(Lane::Telemetry, 5);
    rig.settle();
    let lines = refused(&rig, Lane::Telemetry);
    let seqs: Vec<_> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [2, 5]);
    assert_eq!(lines[0]["values"]["energy"], "0.14", "{}", lines[0]);
    assert_eq!(lines[0]["values"]["on"], true);
    assert_eq!(lines[1]["missing"]["voltage"], "timeout", "{}", lines[1]);
    assert_eq!(lines[1]["device"], "door-1");
    let event = &refused(&rig, Lane::Audit)[0];
    assert_eq!((&event["lane"], &event["event"], &event["data"]["tag"]), (&"audit".into(), &"test".into(), &7.into()));
    assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    assert_eq!(std::fs::read_dir(rig.settings.dir.join("quarantine")).unwrap().count(), 2);
}

#[test]
fn a_full_quarantine_takes_no_more_and_counts_that_until_somebody_makes_room() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=300 {
        rig.append(Lane::Telemetry, tag);
    }
    let folder = rig.settings.dir.join("quarantine");
    std::fs::create_dir_all(&folder).unwrap();
    let other = std::fs::File::create(folder.join("other.bad")).unwrap();
    other.set_len(crate::quarantine::BYTES - 8192).unwrap();
    rig.kill();
    for seq in 1..=200 {
        rig.store().refuse(Lane::Telemetry, seq);
    }
    rig.settle();
    let kept = refused(&rig, Lane::Telemetry).len() as u64;
    assert!((20..60).contains(&kept), "lines of about 230 bytes in two blocks of 4096: {kept}");
    assert_eq!(rig.store().status().written.quarantine_dropped, 200 - kept);
    let size = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    let bytes: u64 = std::fs::read_dir(&folder).unwrap().map(size).sum();
    assert!(bytes <= crate::quarantine::BYTES, "{bytes}");
    assert_eq!(gaps(&rig.read(Lane::Telemetry)), [(1, 200, 200, "refused")], "accounted for all the same");
    std::fs::remove_file(folder.join("other.bad")).unwrap();
    rig.store().refuse(Lane::Telemetry, 250);
    rig.settle();
    assert_eq!(refused(&rig, Lane::Telemetry).last().unwrap()["seq"], 250);
}

#[test]
fn stamps_of_an_unset_clock_are_mended_by_their_boots_offset() {
    let mut rig = Rig::new(|_| {});
    let stamp =
        Stamp { boot: BootId(1), mono: gatehouse_core::Mono::from_millis(5000), wall: Wall(7), trust: Trust::Unset };
    assert_eq!(rig.store().resolve(&stamp), (Wall(7), Trust::Unset));
    let offset = ClockOffset { boot: BootId(1), offset_us: 1_000_000, trust: Trust::Synchronised };
    rig.store().put_clock_offset(offset).unwrap();
    rig.settle();
    rig.cut();
    assert_eq!(rig.store().resolve(&stamp), (Wall(6_000_000), Trust::Synchronised));
    let other = Stamp { boot: BootId(2), ..stamp };
    assert_eq!(rig.store().resolve(&other), (Wall(7), Trust::Unset));
    let believed = Stamp { trust: Trust::Synchronised, ..stamp };
    assert_eq!(crate::resolve(rig.store().clock_offsets(), &believed), (Wall(7), Trust::Synchronised));
    let late = Stamp { mono: gatehouse_core::Mono(u64::MAX), ..stamp };
    let far = ClockOffset { offset_us: i64::MAX, ..offset };
    assert_eq!(crate::resolve(&[far], &late), (Wall(i64::MAX), Trust::Synchronised), "it ends where numbers end");
}

#[test]
fn two_daemons_never_share_a_data_folder() {
    let rig = Rig::new(|_| {});
    let again = crate::Store::open(rig.settings.clone(), rig.stamp(), std::sync::Arc::new(|| {}));
    let error = again.err().unwrap();
    assert_eq!(error, StoreError::Locked(rig.settings.dir.clone()));
    assert!(error.to_string().contains("is in use by another gatehouse: stop that one first"));
}

#[test]
fn what_the_journal_cannot_take_is_refused_before_anything_changes() {
    let mut rig = Rig::new(|_| {});
    let large = vec![0; 13_000].into_boxed_slice();
    let batch = Batch {
        state: vec![(b"a".to_vec().into(), Some(b"1".to_vec().into())), (b"k".to_vec().into(), Some(large))],
        events: Vec::new(),
    };
    let error = rig.store().commit(batch).unwrap_err();
    assert_eq!(error.to_string(), "the value of a state key has 13000 bytes, the journal takes at most 12288");
    assert_eq!(rig.store().state(b"a"), None);
    let stamp = rig.stamp();
    let batch = Batch { state: Vec::new(), events: vec![(Lane::Billing, stamp, super::rig::event(1))] };
    assert_eq!(rig.store().commit(batch), Err(StoreError::WrongLane(Lane::Billing)));
}
