//! Bad disks: full, failing, bounded, and folders with what does not belong there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatehouse_core::{Body, Lane, Stamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::rig::{Rig, readings};
use crate::api::{LastStop, StoreEvent, TroubleKind};
use crate::{Settings, Store, StoreError};

fn troubles(rig: &Rig) -> Vec<TroubleKind> {
    let kind = |event: &StoreEvent| match event {
        StoreEvent::Trouble(trouble) => Some(trouble.kind),
        _ => None,
    };
    rig.heard.iter().filter_map(kind).collect()
}

#[test]
fn a_full_disk_is_said_once_and_costs_nothing_once_there_is_room() {
    let mut rig = Rig::new(|_| {});
    rig.disk.faults.full.store(true, Ordering::SeqCst);
    for tag in 1..=200 {
        rig.append(Lane::Telemetry, tag);
        rig.append(Lane::Billing, tag);
        rig.pass(Duration::from_secs(3));
        rig.settle();
    }
    assert_eq!(troubles(&rig), [TroubleKind::DiskFull]);
    let text = &rig.store().status().troubles[0].text;
    assert!(text.contains("is full") && text.contains("free some room or lower the spool's bound"), "{text}");
    assert_eq!(rig.store().newest(Lane::Billing), 0, "not on the disk, not sent");
    rig.disk.faults.full.store(false, Ordering::SeqCst);
    rig.pass(Duration::from_secs(10));
    rig.settle();
    assert!(rig.heard.contains(&StoreEvent::Recovered(TroubleKind::DiskFull)));
    rig.cut();
    for lane in [Lane::Telemetry, Lane::Billing] {
        let records = rig.read(lane);
        for (at, record) in records[..200].iter().enumerate() {
            assert!(
                matches!(&record.body, Body::Sample { readings: r, .. } if *r == readings(at as u64 + 1)),
                "{lane} {at}"
            );
        }
    }
}

#[test]
fn on_a_disk_that_stays_full_the_oldest_telemetry_gives_way_with_a_gap() {
    let mut rig = Rig::new(|settings| {
        settings.tail_bytes = 4 << 10;
        settings.segment_bytes = 16 << 10;
    });
    for tag in 1..=2000 {
        rig.append(Lane::Telemetry, tag);
        if tag == 1000 {
            rig.settle();
            rig.disk.faults.full.store(true, Ordering::SeqCst);
        }
        rig.pass(Duration::from_millis(700));
        rig.settle();
    }
    let status = rig.store().status();
    assert!(status.tail_bytes <= 6 * (4 << 10), "{}", status.tail_bytes);
    let records = rig.read(Lane::Telemetry);
    assert_eq!(records.last().unwrap().seq, 2000);
    let gone: u64 = records.iter().map(|r| if let Body::Gap { lost, .. } = r.body { lost } else { 0 }).sum();
    let kept = records.iter().filter(|r| matches!(r.body, Body::Sample { .. })).count() as u64;
    assert_eq!((gone + kept, status.lanes[5].lost, status.lanes[5].held), (2000, gone, kept));
}

#[test]
fn a_journal_that_fails_keeps_its_batches_and_their_order() {
    let mut rig = Rig::new(|_| {});
    rig.commit(&[("a", Some("0"))], &[(Lane::Alarms, 0)]);
    rig.settle();
    rig.disk.faults.journal.store(true, Ordering::SeqCst);
    for tag in 1..=5u64 {
        rig.commit(&[("a", Some(&tag.to_string()))], &[(Lane::Alarms, tag)]);
    }
    while troubles(&rig).is_empty() {
        let reply = rig.store().replies.recv().unwrap();
        rig.store().handle_reply(reply);
        rig.hear();
    }
    assert_eq!(troubles(&rig), [TroubleKind::JournalFailing]);
    assert_eq!((rig.store().newest(Lane::Alarms), rig.store().state(b"a").unwrap()), (1, b"5".to_vec()));
    rig.disk.faults.journal.store(false, Ordering::SeqCst);
    rig.settle();
    assert!(rig.heard.contains(&StoreEvent::Recovered(TroubleKind::JournalFailing)));
    rig.cut();
    assert_eq!(rig.store().state(b"a").unwrap(), b"5");
    assert_eq!(rig.read(Lane::Alarms)[..6].iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn at_its_bound_the_spool_thins_then_drops_telemetry_and_keeps_billing() {
    let mut rig = Rig::new(|settings| {
        settings.max_bytes = 1 << 20;
        settings.tail_bytes = 64 << 10;
    });
    rig.append(Lane::Billing, 1);
    let mut tag = 0u64;
    let (mut thinned, mut dropped) = (false, false);
    while !(thinned && dropped) {
        assert!(tag < 900_000, "the bound is never reached");
        for _ in 0..3000 {
            tag += 1;
            if thinned && tag.is_multiple_of(3) {
                // From now on thinning gains nothing: each device has one sample in each span.
                rig.now = rig.now + Duration::from_secs(301);
            }
            rig.append(Lane::Telemetry, tag);
            if tag.is_multiple_of(500) {
                rig.settle();
            }
        }
        rig.pass(Duration::from_secs(2));
        rig.settle();
        let status = rig.store().status();
        assert!(status.spool_bytes < (1 << 20) / 4 * 5, "{}", status.spool_bytes);
        let spool = &rig.store().spools[1];
        thinned |= spool.segments.iter().any(|segment| segment.level == 1);
        dropped |= rig.store().books[5].gaps.iter().any(|gap| gap.reason.as_str() == "bounded");
    }
    assert_eq!(troubles(&rig).iter().filter(|kind| **kind == TroubleKind::Bounded).count(), 1);
    rig.kill();
    assert_eq!(rig.report.gaps, []);
    let records = rig.read(Lane::Telemetry);
    let (mut next, mut gone, mut kept) = (1, 0, 0);
    for record in &records {
        assert_eq!(record.seq, next, "every number is told of");
        next = record.last_seq() + 1;
        match &record.body {
            Body::Sample { readings: found, .. } => {
                kept += 1;
                assert_eq!(*found, readings(record.seq));
            }
            Body::Gap { lost, .. } => gone += lost,
            Body::Event { .. } => panic!("no event is here"),
        }
    }
    assert_eq!((next, kept + gone), (tag + 1, tag));
    let status = rig.store().status();
    assert_eq!((status.lanes[5].held, status.lanes[5].lost), (kept, gone));
    assert_eq!(rig.read(Lane::Billing).len(), 1);
}

#[test]
fn events_are_bounded_too() {
    let mut rig = Rig::new(|settings| settings.max_events = 100);
    for tag in 1..=300 {
        rig.commit(&[], &[(Lane::Audit, tag)]);
        rig.settle();
    }
    let records = rig.read(Lane::Audit);
    let Body::Gap { last, lost, reason } = &records[0].body else { panic!("a gap comes first") };
    assert_eq!((records[0].seq, *last, &**reason), (1, *lost, "bounded"));
    assert_eq!(records.len() as u64 + lost, 301);
    assert!(records.len() <= 102);
}

#[test]
fn foreign_files_are_left_alone_and_reported() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Telemetry, 1);
    rig.kill_and(|settings| {
        std::fs::write(settings.dir.join("notes.txt"), "hello").unwrap();
        std::fs::write(settings.dir.join("spool/telemetry-1.seg"), "garbage").unwrap();
        std::fs::write(settings.dir.join("spool/telemetry-0000000009.seg"), vec![7; 5000]).unwrap();
        std::fs::write(settings.tail_dir.join("telemetry-0000000099.tail"), "garbage").unwrap();
    });
    let names: Vec<_> = rig.report.foreign.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["notes.txt", "telemetry-1.seg"]);
    assert_eq!(rig.report.quarantined.len(), 2, "head and body of the file that only has a segment's name");
    assert_eq!(rig.read(Lane::Telemetry).len(), 1);
    assert_eq!(std::fs::read(rig.settings.dir.join("notes.txt")).unwrap(), b"hello");
    rig.kill();
    assert_eq!(rig.report.quarantined.len(), 0, "reported once");
}

#[test]
fn a_journal_that_cannot_be_opened_is_set_aside_and_numbers_go_on() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=3 {
        rig.commit(&[("k", Some("v"))], &[(Lane::Tickets, tag)]);
        rig.append(Lane::Telemetry, tag);
    }
    rig.settle();
    let epoch = rig.store().epoch();
    rig.kill_and(|settings| {
        std::fs::remove_dir_all(settings.dir.join("journal")).unwrap();
        std::fs::write(settings.dir.join("journal"), "not a folder").unwrap();
    });
    assert_eq!((rig.report.new_epoch, rig.store().epoch()), (false, epoch));
    assert_eq!(rig.report.journal_set_aside, Some(rig.settings.dir.join("journal.bad-1")));
    assert_eq!(rig.store().state(b"k"), None);
    let records = rig.read(Lane::Tickets);
    assert!(matches!(&records[0].body, Body::Gap { reason, .. } if &**reason == "damaged"));
    rig.commit(&[], &[(Lane::Tickets, 9)]);
    rig.settle();
    assert!(rig.store().newest(Lane::Tickets) > 1000);
    assert_eq!(rig.read(Lane::Telemetry).len(), 3);
}

#[test]
fn without_the_floors_the_journals_copy_carries_the_sequence_on() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Billing, 1);
    rig.settle();
    let epoch = rig.store().epoch();
    rig.kill_and(|settings| std::fs::remove_file(settings.dir.join("floors")).unwrap());
    assert_eq!((rig.report.new_epoch, rig.store().epoch()), (false, epoch));
    assert_eq!(rig.append(Lane::Billing, 2), 2, "the tail of this boot knows the number exactly");
    rig.kill_and(|settings| {
        std::fs::remove_file(settings.dir.join("floors")).unwrap();
        std::fs::remove_dir_all(settings.dir.join("journal")).unwrap();
    });
    assert!(rig.report.new_epoch && rig.store().epoch() != epoch);
    assert_eq!(rig.report.last_stop, LastStop::PowerCut);
    assert_eq!(rig.read(Lane::Billing).iter().filter(|r| matches!(r.body, Body::Sample { .. })).count(), 2);
    assert!(rig.append(Lane::Billing, 3) > 2);
}

#[test]
fn an_unusable_folder_says_where_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("file"), "").unwrap();
    let settings = Settings::new(root.path().join("file/data"), root.path().join("tail"));
    let error = Store::open(settings, Stamp::default(), Arc::new(|| {})).err().unwrap();
    assert!(matches!(error, StoreError::Unusable { .. }));
    let text = error.to_string();
    assert!(text.starts_with("cannot create the data folder"), "{text}");
    assert!(text.contains("file/data") && text.contains("belongs to the user that runs gatehouse"), "{text}");
}

#[test]
fn a_damaged_block_is_put_aside_when_it_is_read_and_its_neighbours_live() {
    let mut rig = Rig::new(|_| {});
    for block in 0..3 {
        for tag in 1..=10 {
            rig.append(Lane::Telemetry, block * 10 + tag);
        }
        rig.pass(Duration::from_secs(2));
        rig.settle();
    }
    let path = rig.settings.dir.join("spool/telemetry-0000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let second = 32 + (bytes.len() - 32) / 2;
    bytes[second] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let records = rig.read(Lane::Telemetry);
    let gap: Vec<_> = records.iter().filter(|r| matches!(r.body, Body::Gap { .. })).collect();
    assert_eq!((records.len(), gap.len()), (21, 1));
    assert_eq!((gap[0].seq, gap[0].last_seq()), (11, 20));
    rig.settle();
    assert_eq!(troubles(&rig), [TroubleKind::Damaged]);
    assert_eq!(std::fs::read_dir(rig.settings.dir.join("quarantine")).unwrap().count(), 1);
    assert_eq!(rig.store().status().lanes[5].lost, 10);
}

/// Appends a sample a second, and lets the disk keep up.
fn live_on(rig: &mut Rig, seconds: u64) {
    for tag in 1..=seconds {
        rig.append(Lane::Telemetry, tag);
        rig.pass(Duration::from_secs(1));
        rig.settle();
    }
}

fn recoveries(rig: &Rig) -> usize {
    rig.heard.iter().filter(|event| **event == StoreEvent::Recovered(TroubleKind::TailFailing)).count()
}

fn shown(rig: &mut Rig) -> Vec<TroubleKind> {
    rig.store().status().troubles.iter().map(|trouble| trouble.kind).collect()
}

#[test]
fn a_tmpfs_that_takes_no_file_is_said_once_until_a_file_takes_samples_again() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Telemetry, 1);
    let dir = rig.settings.tail_dir.clone();
    let away = dir.with_extension("away");
    std::fs::rename(&dir, &away).unwrap();
    for _ in 0..3 {
        live_on(&mut rig, 20);
        assert_eq!((troubles(&rig), recoveries(&rig)), (vec![TroubleKind::TailFailing], 0));
        assert_eq!(shown(&mut rig), [TroubleKind::TailFailing]);
    }
    std::fs::rename(&away, &dir).unwrap();
    live_on(&mut rig, 60);
    assert_eq!((troubles(&rig), recoveries(&rig), shown(&mut rig)), (vec![TroubleKind::TailFailing], 1, vec![]));
    rig.append(Lane::Telemetry, 2);
    rig.kill();
    assert_eq!((rig.report.last_stop, rig.read(Lane::Telemetry).len()), (LastStop::Killed, 122));
}

#[test]
fn numbers_of_samples_that_no_file_took_are_never_given_again() {
    let mut rig = Rig::new(|_| {});
    rig.append(Lane::Telemetry, 1);
    rig.pass(Duration::from_secs(2));
    rig.settle();
    let dir = rig.settings.tail_dir.clone();
    let away = dir.with_extension("away");
    std::fs::rename(&dir, &away).unwrap();
    let sent = rig.append(Lane::Telemetry, 2);
    rig.store().ack(Lane::Telemetry, 1, 1);
    rig.store().flush_acks();
    rig.kill_and(|_| std::fs::rename(&away, &dir).unwrap());
    let next = rig.append(Lane::Telemetry, 3);
    assert!(next > sent, "{next} after {sent}");
}

#[test]
fn acknowledgements_that_tmpfs_does_not_take_are_said_until_all_of_them_are_written() {
    let mut rig = Rig::new(|_| {});
    for tag in 1..=6600 {
        rig.append(Lane::Telemetry, tag);
    }
    // The file cannot be written anew, once it has grown long.
    let blocked = rig.settings.tail_dir.join("acks.new");
    std::fs::create_dir(&blocked).unwrap();
    for n in 0..3300 {
        rig.store().ack(Lane::Telemetry, 2 * n + 1, 2 * n + 1);
    }
    live_on(&mut rig, 60);
    assert_eq!((troubles(&rig), recoveries(&rig)), (vec![TroubleKind::TailFailing], 0));
    assert_eq!(shown(&mut rig), [TroubleKind::TailFailing]);
    std::fs::remove_dir(&blocked).unwrap();
    live_on(&mut rig, 60);
    assert_eq!((troubles(&rig), recoveries(&rig), shown(&mut rig)), (vec![TroubleKind::TailFailing], 1, vec![]));
    rig.kill();
    assert_eq!(rig.report.last_stop, LastStop::Killed);
    assert!((0..3300).all(|n| rig.store().next_unacked(Lane::Telemetry, 2 * n + 1) == Some(2 * n + 2)));
}

#[test]
fn without_free_file_descriptors_samples_stay_in_memory() {
    const ALONE: &str = "GATEHOUSE_TEST_ALONE";
    // The limit is the process's: the other tests need their files.
    if std::env::var_os(ALONE).is_none() {
        let name = "tests::faults::without_free_file_descriptors_samples_stay_in_memory";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let mut rig = Rig::new(|_| {});
    live_on(&mut rig, 2);
    // The copy of the disk needs files of its own.
    *rig.disk.faults.shadow.lock().unwrap() = None;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limit }).unwrap();
    for tag in 1..=50 {
        rig.append(Lane::Telemetry, tag);
        rig.pass(Duration::from_millis(700));
    }
    assert!(troubles(&rig).contains(&TroubleKind::TailFailing));
    setrlimit(Resource::Nofile, limit).unwrap();
    live_on(&mut rig, 60);
    assert_eq!((recoveries(&rig), shown(&mut rig)), (1, vec![]));
    assert_eq!(rig.read(Lane::Telemetry).iter().filter(|r| matches!(r.body, Body::Sample { .. })).count(), 112);
}
