//! Snapshots and deltas, the file and the journal, kills between them.

use super::*;
use Direction::In;

fn put(text: &str) -> Change {
    Change::Put(plate_credential(text, "p"))
}

#[test]
fn a_revocation_holds_at_once_and_after_a_restart() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "granted");
    let applied = bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(plate_id("京A12345"))]).unwrap();
    assert_eq!(applied, Applied { version: 2, durable: Durable::WithEffects });
    let verdict = bench.decide("entry", In, plate("京A12345"));
    assert_eq!((verdict.reason.as_str(), verdict.who.as_deref()), ("revoked", Some("p-1")));
    bench.reboot();
    assert_eq!(bench.access.view().version, Some(2));
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "revoked");
    let (kind, event) = &bench.events[1];
    assert_eq!((*kind, &event["version"], &event["in_force"]), ("credentials", &2.into(), &2.into()));
}

#[test]
fn older_repeated_and_gapped_snapshots_change_nothing() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    bench.snapshot(&header(5, Some(1)), vec![put("京A22222")]).unwrap();
    let refused = [
        (bench.snapshot(&header(5, Some(1)), vec![put("京A33333")]), ApplyError::NotNewer { have: 5, got: 5 }),
        (bench.snapshot(&header(4, None), vec![]), ApplyError::NotNewer { have: 5, got: 4 }),
        (bench.snapshot(&header(5, None), vec![]), ApplyError::NotNewer { have: 5, got: 5 }),
        (bench.snapshot(&header(8, Some(7)), vec![put("京A33333")]), ApplyError::NeedsFull { have: Some(5), base: 7 }),
        (bench.snapshot(&header(8, Some(4)), vec![put("京A33333")]), ApplyError::NeedsFull { have: Some(5), base: 4 }),
    ];
    for (got, expected) in refused {
        assert_eq!(got, Err(expected));
    }
    assert_eq!((bench.access.view().version, bench.access.view().credentials), (Some(5), 2));
    assert_eq!(bench.reason("entry", In, plate("京A33333")), "unknown_credential");
    let told = bench.events.last().unwrap().1["refused"].as_str().unwrap().to_owned();
    assert_eq!(told, "the delta changes version 4, this box has Some(5): send a full snapshot");
    assert!(matches!(
        Bench::new(GatePolicy::default()).snapshot(&header(2, Some(1)), vec![]),
        Err(ApplyError::NeedsFull { have: None, base: 1 })
    ));
}

#[test]
fn a_full_snapshot_is_durable_with_its_image_and_a_kill_before_leaves_the_one_before() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    bench.snapshot(&header(2, Some(1)), vec![put("京A22222")]).unwrap();
    let applied = bench.snapshot(&header(3, None), vec![put("京A33333")]).unwrap();
    assert_eq!(applied.durable, Durable::WithImage);
    let applied = bench.snapshot(&header(4, Some(3)), vec![put("京A44444")]).unwrap();
    assert_eq!(applied.durable, Durable::WithImage, "its base is not on the disk");
    bench.restart();
    assert_eq!((bench.access.view().version, bench.access.view().credentials), (Some(2), 2));
    bench.snapshot(&header(3, None), vec![put("京A33333")]).unwrap();
    bench.snapshot(&header(4, Some(3)), vec![put("京A44444")]).unwrap();
    assert!(bench.access.wants_image());
    bench.write_image();
    assert!(!bench.access.wants_image());
    assert!(bench.kept.keys().all(|key| !key.starts_with("access/delta/")), "the image holds them");
    bench.restart();
    assert_eq!((bench.access.view().version, bench.access.view().credentials), (Some(4), 2));
}

#[test]
fn the_core_is_told_of_credentials_once_they_are_on_the_disk() {
    let told = |bench: &mut Bench| {
        let events = std::mem::take(&mut bench.events).into_iter().filter(|(kind, _)| *kind == "credentials");
        events.map(|(_, event)| (event["version"].as_u64(), event["in_force"].as_u64())).collect::<Vec<_>>()
    };
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    assert_eq!(told(&mut bench), [(Some(1), Some(1))]);
    bench.snapshot(&header(2, None), vec![put("京A22222")]).unwrap();
    assert_eq!(bench.access.view().version, Some(2), "in force at once");
    assert_eq!(told(&mut bench), [], "a kill would lose it now");
    // The core has seen nothing and sends it again.
    bench.snapshot(&header(2, None), vec![put("京A22222")]).unwrap_err();
    assert_eq!(told(&mut bench), [(Some(2), Some(1))]);
    bench.write_image();
    assert_eq!(told(&mut bench), [(Some(2), Some(2))]);
    bench.snapshot(&header(3, Some(2)), vec![]).unwrap();
    assert_eq!(told(&mut bench), [(Some(3), Some(3))], "a delta is durable with its event");
    bench.restart();
    bench.snapshot(&header(3, Some(2)), vec![]).unwrap_err();
    assert_eq!(told(&mut bench), [(Some(3), Some(3))]);
}

#[test]
fn a_delta_that_comes_while_the_image_is_written_is_not_lost() {
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    bench.snapshot(&header(2, None), vec![put("京A22222")]).unwrap();
    let image = bench.access.image().unwrap();
    bench.snapshot(&header(3, Some(2)), vec![put("京A33333")]).unwrap();
    bench.file = Some(image.seal(&bench.key(), Salt([99; 16])));
    bench.access.handle_image_written(bench.now, image.version());
    bench.drain();
    assert!(bench.access.wants_image(), "version 3 is in memory only");
    bench.write_image();
    bench.restart();
    assert_eq!(bench.access.view().version, Some(3));
    bench.snapshot(&header(4, Some(3)), vec![put("京A44444")]).unwrap();
    bench.restart();
    assert_eq!(bench.access.view().version, Some(4));
}

#[test]
fn a_file_put_back_to_an_older_one_is_noticed() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    let old = bench.file.clone();
    bench.snapshot(&header(2, None), vec![]).unwrap();
    bench.write_image();
    bench.file = old;
    bench.restart();
    assert_eq!((bench.access.view().version, bench.access.view().credentials), (None, 0));
    let image = Image::open(&bench.key(), bench.file.as_deref().unwrap()).unwrap();
    let error = bench.access.open(Some(&image)).unwrap_err();
    assert_eq!(error, OpenError::Stale { have: Some(1), floor: 2 });
    let error = bench.access.open(None).unwrap_err();
    assert_eq!(error, OpenError::Stale { have: None, floor: 2 });
    bench.snapshot(&header(2, None), vec![put("京A22222")]).unwrap();
    assert_eq!(bench.access.view().version, Some(2), "the newest may come again");
}

#[test]
fn an_altered_delta_in_the_journal_counts_as_missing() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    bench.snapshot(&header(2, Some(1)), vec![Change::Revoke(plate_id("京A12345"))]).unwrap();
    let kept = bench.kept.get_mut("access/delta/2/0/1").unwrap();
    *kept.last_mut().unwrap() ^= 1;
    bench.restart();
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "unknown_credential", "rather nobody than the revoked");
}

#[test]
fn a_large_delta_is_kept_in_parts() {
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    let changes = (0..1000).map(|n| put(&format!("京A{n:05}"))).collect();
    bench.snapshot(&header(2, Some(1)), changes).unwrap();
    assert!(bench.kept.keys().filter(|key| key.starts_with("access/delta/2/")).count() > 5);
    bench.reboot();
    assert_eq!((bench.access.view().version, bench.access.view().credentials), (Some(2), 1000));
}

#[test]
fn many_deltas_ask_for_an_image_and_go_on_being_kept_within_bounds() {
    let mut bench = Bench::with(GatePolicy::default(), vec![]);
    let mut last = Durable::WithEffects;
    for version in 2..400 {
        last = bench.snapshot(&header(version, Some(version - 1)), vec![put("京A22222")]).unwrap().durable;
        assert_eq!(bench.access.wants_image(), version >= 66, "{version}");
    }
    assert_eq!(last, Durable::WithImage);
    assert!(bench.kept.len() < 260);
    bench.write_image();
    assert!(!bench.access.wants_image());
    assert_eq!(bench.kept.len(), 1);
    bench.restart();
    assert_eq!(bench.access.view().version, Some(399));
}

#[test]
fn an_image_opens_under_its_own_key_only() {
    let bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    let mut file = bench.file.unwrap();
    assert_eq!(Image::open(&SealKey::new(&[9; 32]), &file), Err(ImageError::Seal(SealError::OtherKey)));
    assert!(!file.windows(3).any(|window| window == b"p-1"), "nothing can be read in it");
    *file.last_mut().unwrap() ^= 1;
    assert_eq!(Image::open(&SealKey::new(&[2; 32]), &file), Err(ImageError::Seal(SealError::Broken)));
}

#[test]
fn groups_and_schedules_change_with_a_delta_that_names_them() {
    let mut bench = Bench::with(GatePolicy::default(), vec![plate_credential("京A12345", "p-1")]);
    let wider = Header { groups: Some([("garage".to_owned(), vec!["lobby".to_owned()])].into()), ..header(2, Some(1)) };
    bench.snapshot(&wider, vec![]).unwrap();
    assert_eq!(bench.reason("lobby", In, plate("京A12345")), "granted");
    assert_eq!(bench.reason("entry", In, plate("京A12345")), "wrong_gate");
    bench.snapshot(&header(3, Some(2)), vec![]).unwrap();
    assert_eq!(bench.reason("lobby", In, plate("京A12345")), "granted", "what is not named stays");
}
