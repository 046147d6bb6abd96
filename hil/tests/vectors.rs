//! The committed vectors pass through the conformance runner, and the runner finds what does not.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

use gatehouse_hil::vectors::{FileReport, Report, VectorsError, run_folders};
use serde_json::{Value, json};

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../drivers/vectors")
}

fn committed_rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/vectors")
}

fn run_folder(folder: &Path, maps: Option<&Path>, only: &[String]) -> Result<Report, VectorsError> {
    run_folders(&[folder], maps, only)
}

fn maps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/maps")
}

fn only(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A committed file, changed, run alone.
fn run_changed(file: &str, change: impl Fn(&mut Value)) -> FileReport {
    let at = [committed(), committed_rules()].map(|folder| folder.join(file)).into_iter().find(|path| path.exists());
    let text = fs::read_to_string(at.unwrap()).unwrap();
    let mut vectors: Value = serde_json::from_str(&text).unwrap();
    change(&mut vectors);
    let folder = folder(&[(file, &vectors.to_string())]);
    run_folder(folder.path(), None, &[]).unwrap().files.remove(0)
}

fn entries<'v>(vectors: &'v mut Value, list: &str) -> impl Iterator<Item = &'v mut Value> {
    vectors[list].as_array_mut().unwrap().iter_mut()
}

#[test]
fn every_committed_vector_passes() {
    let report = run_folder(&committed(), None, &[]).unwrap();
    assert_eq!(report.failed, 0, "{}", report.to_text());
    let counts: Vec<_> = report.files.iter().map(|file| (file.file.as_str(), file.passed)).collect();
    let expected = [
        ("cjt188-independent.json", 57),
        ("cjt188.json", 29),
        ("dlt645-1997-independent.json", 38),
        ("dlt645-1997.json", 7),
        ("dlt645-2007-independent.json", 57),
        ("dlt645-2007.json", 68),
        ("modbus-crc.json", 18),
        ("modbus-device-decode.json", 18),
        ("modbus-faults.json", 101),
        ("modbus-formats-independent.json", 50),
        ("modbus-formats.json", 18),
        ("modbus-independent.json", 92),
        ("modbus-relay-frames.json", 21),
        ("modbus.json", 52),
        ("osdp-frames-independent.json", 71),
        ("osdp-frames.json", 70),
        ("osdp-sessions-independent.json", 7),
        ("osdp-sessions.json", 5),
        ("uhppote-independent.json", 64),
        ("uhppote.json", 15),
    ];
    assert_eq!(counts, expected);
    assert_eq!(report.passed, 858);
}

#[test]
fn a_frame_of_a_meter_that_decodes_to_something_else_fails() {
    let report = run_changed("dlt645-2007.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            match vector["expect"].as_str() {
                Some("ok") => vector["decoded"]["address"] = json!("000000009999"),
                _ => vector["error"] = json!("unsolicited"),
            }
        }
    });
    assert_eq!((report.passed, report.failed), (0, 68));
    let reason = |id: &str| &report.failures.iter().find(|failure| failure.id == id).unwrap().reason;
    assert_eq!(reason("dlt07-s-03"), "address is \"000000001234\" where \"000000009999\" is right");
    assert_eq!(reason("dlt07-e-06"), "was refused as di_mismatch where \"unsolicited\" is right");
}

#[test]
fn a_frame_of_a_water_or_heat_meter_that_decodes_to_something_else_fails() {
    let report = run_changed("cjt188.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            match vector["expect"].as_str() {
                Some("ok") => vector["decoded"]["meter_type"] = json!("49"),
                _ => vector["error"] = json!("unsolicited"),
            }
        }
    });
    assert_eq!((report.passed, report.failed), (0, 29));
    let reason = |id: &str| &report.failures.iter().find(|failure| failure.id == id).unwrap().reason;
    assert_eq!(reason("cj-e-05"), "was refused as sequence_mismatch where \"unsolicited\" is right");
    assert_eq!(reason("cj-e-06"), "was refused as unknown_unit where \"unsolicited\" is right");
}

#[test]
fn a_frame_that_decodes_to_something_else_fails() {
    let report = run_changed("modbus.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            match vector["expect"].as_str() {
                Some("ok") => vector["decoded"]["unit"] = json!(99),
                _ => vector["error"] = json!("unsolicited"),
            }
        }
    });
    assert_eq!((report.passed, report.failed), (0, 52));
    let reason = |id: &str| &report.failures.iter().find(|failure| failure.id == id).unwrap().reason;
    assert_eq!(reason("mb-06"), "unit is 17 where 99 is right");
    assert_eq!(reason("mb-e01"), "was refused as bad_crc where \"unsolicited\" is right");
}

#[test]
fn a_frame_with_a_wrong_verdict_fails() {
    let report = run_changed("modbus.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            let turned = if vector["expect"] == "ok" { "error" } else { "ok" };
            vector["expect"] = json!(turned);
        }
    });
    assert_eq!((report.passed, report.failed), (0, 52));
}

#[test]
fn a_delivery_that_is_complete_before_its_last_chunk_fails() {
    let report = run_changed("modbus.json", |vectors| {
        for vector in entries(vectors, "vectors").filter(|vector| vector["id"] == "mb-t04") {
            let hex = vector["hex"].as_str().unwrap().to_owned();
            vector["split_at"] = json!([hex.len() / 2]);
        }
    });
    assert_eq!(report.failed, 1);
    assert!(
        report.failures[0].reason.starts_with("was taken as complete after 15 bytes"),
        "{}",
        report.failures[0].reason
    );
}

#[test]
fn a_reply_delivered_byte_by_byte_passes() {
    let report = run_changed("modbus.json", |vectors| {
        for vector in entries(vectors, "vectors").filter(|vector| vector["direction"] == "rsp") {
            let bytes = vector["hex"].as_str().unwrap().len() / 2;
            vector["split_at"] = (1..bytes).collect();
        }
    });
    assert_eq!((report.passed, report.failed), (52, 0), "{:?}", report.failures);
}

#[test]
fn a_relay_frame_that_is_another_command_fails() {
    let report = run_changed("modbus-relay-frames.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            let decoded = vector["decoded"].as_object_mut().unwrap();
            let argument =
                ["ms", "seconds", "value", "count", "channel"].into_iter().find(|name| decoded.contains_key(*name));
            match argument {
                Some(name) => decoded[name] = json!(3000),
                None => decoded["command"] = json!("flash_on"),
            }
        }
    });
    assert_eq!((report.passed, report.failed), (0, 21));
}

#[test]
fn a_wrong_checksum_value_or_device_reading_fails() {
    let crc = run_changed("modbus-crc.json", |vectors| {
        entries(vectors, "crc").for_each(|vector| vector["crc_u16"] = json!("1235"));
        entries(vectors, "lrc").for_each(|vector| vector["lrc"] = json!("12"));
    });
    assert_eq!((crc.passed, crc.failed), (0, 18));
    let formats = run_changed("modbus-formats.json", |vectors| {
        entries(vectors, "vectors").for_each(|vector| vector["value"] = json!("77"));
        entries(vectors, "special").for_each(|vector| {
            vector["expect"] = json!("missing?");
            vector["bits_set"] = json!([1]);
        });
    });
    assert_eq!((formats.passed, formats.failed), (0, 18));
    let devices = run_changed("modbus-device-decode.json", |vectors| {
        for case in entries(vectors, "cases") {
            let last = case["expect"].as_array_mut().unwrap().last_mut().unwrap();
            last["value"] = if last["value"].is_string() { json!("1.5") } else { json!(7000.5) };
        }
    });
    assert_eq!((devices.passed, devices.failed), (0, 18));
    assert_eq!(devices.failures[13].reason, "humidity: is 65.5 where \"1.5\" is right");
}

#[test]
fn a_reading_in_another_unit_or_with_other_digits_fails() {
    let report = run_changed("modbus-device-decode.json", |vectors| {
        let cases = vectors["cases"].as_array_mut().unwrap();
        cases.retain(|case| case["device"] == "acrel-adl400");
        cases[0]["expect"][3]["value"] = json!("16");
        cases[1]["expect"][0]["unit"] = json!("kW");
    });
    let reasons: Vec<_> = report.failures.iter().map(|failure| failure.reason.as_str()).collect();
    assert_eq!(
        reasons,
        ["current_l1: is 16.00 where \"16\" is right", "power_l1: the unit is \"W\" where \"kW\" is right"]
    );
}

#[test]
fn what_nothing_runs_counts_as_failed_with_every_entry() {
    let folder = folder(&[
        ("a.json", r#"{"schema": "protocol-vectors/1", "protocol": "smoke", "vectors": [{"id": "1"}, {"id": "2"}]}"#),
        ("b.json", r#"{"schema": "protocol-vectors/2", "protocol": "modbus", "vectors": [{"id": "1"}]}"#),
        ("c.json", r#"{"schema": "new/1", "cases": [{}, {}, {}], "notes": ["x"]}"#),
        ("d.json", r#"{"schema": "protocol-vectors/1", "protocol": "modbus", "vectors": []}"#),
        ("e.json", "not json"),
        ("f.json", "[1]"),
        ("g.txt", "no vectors"),
    ]);
    let report = run_folder(folder.path(), None, &[]).unwrap();
    let counts: Vec<_> = report.files.iter().map(|file| (file.passed, file.failed)).collect();
    assert_eq!(counts, [(0, 2), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)]);
    let reasons: Vec<_> = report.files.iter().map(|file| file.failures[0].reason.as_str()).collect();
    assert_eq!(reasons[0], "nothing runs protocol-vectors/1 of smoke");
    assert_eq!(reasons[2], "nothing runs new/1");
    assert_eq!(reasons[3], "there is nothing in its vectors");
    assert!(reasons[4].starts_with("not JSON: "), "{}", reasons[4]);
    assert_eq!((report.passed, report.failed), (0, 9));
}

#[test]
fn a_list_that_nothing_runs_fails_beside_those_that_pass() {
    let alarm = json!([{"id": "a", "events": ["on"], "states": ["UNACK"]}]);
    let report =
        run_written(&json!({"schema": "alarm-scenarios/1", "alarm": alarm, "chatter": [{}, {}], "notes": ["x"]}));
    assert_eq!((report.passed, report.failed), (1, 2));
    assert_eq!(reasons(&report), ["all: nothing runs the chatter of alarm-scenarios/1"]);
}

#[test]
fn only_narrows_by_schema_or_protocol() {
    let run = |names: &[&str]| run_folder(&committed(), None, &only(names)).unwrap();
    let files = |report: &Report| report.files.iter().map(|file| file.file.clone()).collect::<Vec<_>>();
    assert_eq!(files(&run(&["modbus"])), ["modbus-faults.json", "modbus-independent.json", "modbus.json"]);
    assert_eq!(
        files(&run(&["modbus-rtu relay boards", "crc-vectors/1"])),
        ["modbus-crc.json", "modbus-relay-frames.json"]
    );
    assert_eq!(files(&run(&["device-decode"])), ["modbus-device-decode.json"]);
    let partly = run(&["modbus", "sparkplug"]);
    assert_eq!((files(&partly).len(), partly.unmatched), (3, only(&["sparkplug"])));
    let nothing = run_folder(&committed(), None, &only(&["sparkplug"])).unwrap_err().to_string();
    let kinds = "cjt188, crc-vectors/1, device-decode/1, dlt645-1997, dlt645-2007, modbus, modbus-rtu relay boards, \
                 osdp-2.2, osdp-session/1, uhppote-udp, value-format/1";
    assert!(nothing.ends_with(&format!("is of sparkplug; there are: {kinds}")), "{nothing}");
}

#[test]
fn a_folder_without_vectors_says_what_to_name() {
    let empty = folder(&[]);
    let message = run_folder(empty.path(), None, &[]).unwrap_err().to_string();
    assert!(message.ends_with("holds no *.json file: name the folder with the vector files"), "{message}");
    let message = run_folder(&empty.path().join("gone"), None, &[]).unwrap_err().to_string();
    assert!(message.starts_with("cannot read the folder ") && message.contains("gone: "), "{message}");
}

#[test]
fn register_maps_take_the_place_of_the_built_in_profiles() {
    let devices = only(&["device-decode/1"]);
    let report = run_folder(&committed(), Some(&maps()), &devices).unwrap();
    assert_eq!((report.passed, report.failed), (18, 0), "{}", report.to_text());

    let map = fs::read_to_string(maps().join("xy-md02.json")).unwrap().replace("\"0.1\"", "\"0.01\"");
    let changed = folder(&[("xy-md02.json", &map)]);
    let report = run_folder(&committed(), Some(changed.path()), &devices).unwrap();
    let reasons: Vec<_> = report.files[0].failures.iter().map(|failure| failure.reason.as_str()).collect();
    assert_eq!(reasons, ["temperature: is -0.53 where \"-5.3\" is right; humidity: is 6.55 where \"65.5\" is right"]);
}

#[test]
fn a_register_map_that_cannot_be_used_fails_the_vectors_of_its_device() {
    let map = fs::read_to_string(maps().join("xy-md02.json")).unwrap().replace("\"i16\"", "\"i17\"");
    let broken = folder(&[("xy-md02.json", &map)]);
    let report = run_folder(&committed(), Some(broken.path()), &only(&["device-decode"])).unwrap();
    assert_eq!((report.passed, report.failed), (17, 1));
    let reason = &report.files[0].failures[0].reason;
    assert!(reason.ends_with("cannot be used: point \"temperature\": nothing decodes the type i17"), "{reason}");
}

#[test]
fn a_folder_without_register_maps_is_refused() {
    let none = folder(&[("other.json", "{}")]);
    let message = run_folder(&committed(), Some(none.path()), &[]).unwrap_err().to_string();
    assert!(message.ends_with("no file in the folder has the schema register-map/1"), "{message}");
}

/// One file of this content, run alone.
fn run_written(vectors: &Value) -> FileReport {
    let folder = folder(&[("unseen.json", &vectors.to_string())]);
    run_folder(folder.path(), None, &[]).unwrap().files.remove(0)
}

fn reasons(report: &FileReport) -> Vec<String> {
    report.failures.iter().map(|failure| format!("{}: {}", failure.id, failure.reason)).collect()
}

#[test]
fn every_committed_vector_of_the_rules_passes() {
    let report = run_folder(&committed_rules(), None, &[]).unwrap();
    assert_eq!(report.failed, 0, "{}", report.to_text());
    let counts: Vec<_> = report.files.iter().map(|file| (file.file.as_str(), file.passed)).collect();
    let expected = [
        ("alarm-scenarios-independent.json", 89),
        ("alarm-scenarios.json", 19),
        ("alarm-transitions-independent.json", 35),
        ("alarm-transitions.json", 38),
        ("barrier-interlocks-independent.json", 97),
        ("barrier-interlocks.json", 19),
        ("wiegand-independent.json", 35),
        ("wiegand.json", 11),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn several_folders_are_one_run_whose_files_are_told_apart() {
    let (one, two) = (folder(&[("a.json", r#"{"schema": "new/1"}"#)]), folder(&[("a.json", "[1]")]));
    let report = run_folders(&[one.path(), two.path()], None, &[]).unwrap();
    let files: Vec<_> = report.files.iter().map(|file| file.file.clone()).collect();
    assert_eq!(files, [one.path(), two.path()].map(|folder| folder.join("a.json").display().to_string()));
    let empty = folder(&[]);
    let message = run_folders(&[one.path(), empty.path()], None, &[]).unwrap_err().to_string();
    assert!(message.starts_with(&empty.path().display().to_string()), "{message}");
}

#[test]
fn files_in_folders_within_are_found_and_named_by_their_way() {
    let outer = folder(&[("a.json", r#"{"schema": "new/1"}"#)]);
    let deeper = outer.path().join("meters/2007");
    fs::create_dir_all(&deeper).unwrap();
    fs::write(deeper.join("B.JSON"), "\u{feff}[1]").unwrap();
    std::os::unix::fs::symlink(outer.path(), deeper.join("back")).unwrap();
    let report = run_folder(outer.path(), None, &[]).unwrap();
    let files: Vec<_> = report.files.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(files, ["a.json", "meters/2007/B.JSON"]);
    assert_eq!(report.files[1].failures[0].reason, "no vector file: its top is no JSON object");
    fs::create_dir_all(outer.path().join("1/2/3/4/5/6/7/8/9")).unwrap();
    let message = run_folder(outer.path(), None, &[]).unwrap_err().to_string();
    assert!(message.ends_with("9 lies more than 8 folders deep: name the folder with the vector files"), "{message}");
}

#[test]
fn a_file_may_write_the_same_otherwise_but_not_something_else() {
    let frame = |id: &str, decoded: Value| {
        json!({"id": id, "direction": "rsp", "hex": "fe fe 68 34120000 0000 68 91 06 33343435 5A38 0F 16",
               "expect": "ok", "unknown": [1], "decoded": decoded})
    };
    let item = |name: &str, value: &str| json!({"items": [{"name": name, "value": value, "unit": "V"}]});
    let report = run_written(
        &json!({"PROTOCOL": 1, "schema": "protocol-vectors/1", "protocol": "DLT645-2007", "vectors": [
            frame("ours", item("voltage_a", "52.7")), frame("theirs", item("phase_a_voltage", "52.7")),
            frame("phase", item("voltage_b", "52.7")), frame("quantity", item("current_a", "52.7")),
            frame("digits", item("voltage_a", "52.70")),
            {"id": "early", "direction": "rsp", "hex": "68341200000000689106333434355A380F16", "split_at": [18], "expect": "ok"},
            {"id": "class", "direction": "rsp", "hex": "", "expect": "Timeout"},
            {"id": "no-class", "direction": "rsp", "hex": "", "expect": "error", "error": "silence"},
        ]}),
    );
    let failed: Vec<_> = report.failures.iter().map(|failure| failure.id.as_str()).collect();
    assert_eq!(failed, ["phase", "quantity", "digits", "early", "no-class"], "{:?}", report.failures);
    assert_eq!(report.failures[3].reason, "was taken as complete after 18 bytes");
    assert!(report.failures[4].reason.starts_with("\"silence\" is no error class; there are "));
}

#[test]
fn an_alarm_scenario_that_ends_elsewhere_fails_at_its_event() {
    let report = run_written(&json!({"schema": "alarm-scenarios/1", "alarm": [
        {"id": "new-1", "events": ["on", "suppress", "ack", "unsuppress"], "states": ["UNACK", "DSUPR", "DSUPR", "UNACK"]},
        {"id": "new-2", "latching": true, "events": ["on", "off"], "states": ["UNACK", "RTNUN"]},
        {"id": "new-3", "events": ["on", "explode"], "states": ["UNACK", "NORM"]},
        {"id": "new-4", "events": ["on", "ack"], "states": ["UNACK"]},
        {"id": "new-5", "auto": "yes", "events": ["on"], "states": ["UNACK"]},
    ]}));
    assert_eq!((report.passed, report.failed), (1, 4));
    let reasons = reasons(&report);
    assert_eq!(reasons[0], "new-2: after event 2 (off) it is LATUN where RTNUN is right");
    assert!(reasons[1].starts_with("new-3: \"explode\" is no event: there are condition_on, on, "), "{}", reasons[1]);
    assert_eq!(reasons[2], "new-4: it has 2 events and 1 states: one state after each event");
    assert_eq!(reasons[3], "new-5: auto is \"yes\", not true or false");
}

#[test]
fn every_transition_with_another_end_fails() {
    let report = run_changed("alarm-transitions.json", |vectors| {
        for row in entries(vectors, "transitions") {
            row["to"] = if row["to"] == "NORM" { json!("UNACK") } else { json!("NORM") };
        }
    });
    assert_eq!((report.passed, report.failed), (0, 38));
    let reasons = reasons(&report);
    assert_eq!(reasons[4], "transitions[4]: UNACK after condition_off (latching) is LATUN where NORM is right");
    assert_eq!(reasons[1], "transitions[1]: UNACK after ack is ACKED where NORM is right");
}

#[test]
fn delays_count_at_the_listed_instants_alone() {
    let timeline = |id, (on, off): (u32, u32), condition: Value, states: &str| {
        let states: Vec<_> = states.split(' ').collect();
        json!({"id": id, "step_s": 15, "for_s": on, "keep_firing_for_s": off, "condition": condition,
               "state_after_eval": states})
    };
    let report = run_written(&json!({"schema": "alarm-scenarios/1", "prometheus": [
        timeline("between", (20, 0), json!([1, 1, 0]), "pending pending inactive"),
        timeline("missing", (30, 30), json!([1, null, 1, 1, 1, null, 1, null, null, null]),
            "pending inactive pending pending firing firing firing firing firing inactive"),
        timeline("early", (30, 0), json!([1, 1, 1]), "pending firing firing"),
        timeline("odd", (0, 0), json!([2]), "firing"),
    ]}));
    let reasons = reasons(&report);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert_eq!(reasons[0], "early: after evaluation 2 (at 15 s) it is pending where \"firing\" is right");
    assert_eq!(reasons[1], "odd: condition 1 is 2, not 0 or 1");
}

#[test]
fn a_flood_begins_and_ends_on_the_grid_in_files_never_seen() {
    let burst: Vec<_> = (0..11).map(|second| 600 - second).collect();
    let report = run_written(&json!({"schema": "alarm-scenarios/1", "flood": [
        {"id": "unsorted", "alarm_times_s": burst, "flood_events": [["start", 600], ["end", 1200.0]]},
        {"id": "after", "alarm_times_s": vec![600.5; 11], "flood_events": [["start", 660], ["end", 1260]]},
        {"id": "at-zero", "alarm_times_s": vec![0; 11], "flood_events": [["start", 0], ["end", 600]]},
        {"id": "none", "alarm_times_s": [], "flood_events": []},
        {"id": "wrong", "alarm_times_s": [1], "flood_events": [["start", 60]]},
        {"id": "early", "alarm_times_s": [-1], "flood_events": []},
    ]}));
    assert_eq!(
        reasons(&report),
        [
            "wrong: flood_events are [] where [[\"start\",60]] is right",
            "early: -1 in alarm_times_s is no number of seconds"
        ]
    );
}

#[test]
fn an_interlock_that_is_judged_otherwise_fails_with_what_differs() {
    let report = run_written(&json!({"schema": "barrier-interlock/1", "cases": [
        {"id": "new-1", "command": "close", "inputs": {"close_limit": true},
         "expect": {"decision": "noop", "reason": "already_closed", "pulses": []}},
        {"id": "new-2", "command": "close", "inputs": {"loop_under_boom": true}, "override": true,
         "expect": {"decision": "accept", "reason": "", "pulses": ["close"]}},
        {"id": "null", "command": "open", "inputs": {"fire": null, "comms_ok": null}, "expect": {"decision": "accept"}},
        {"id": "list", "command": "open", "inputs": [], "expect": {"decision": "accept"}},
        {"id": "new-3", "command": "close", "inputs": {"trailer": true}, "expect": {"decision": "refuse"}},
        {"id": "new-4", "command": "close", "inputs": {}, "expect": {}},
    ]}));
    assert_eq!((report.passed, report.failed), (2, 4));
    let mut reasons = reasons(&report);
    assert_eq!(reasons.remove(1), "list: inputs is [], not an object");
    assert_eq!(
        reasons[0],
        "new-2: decision is \"refuse\" where \"accept\" is right; pulses is [] where [\"close\"] is right; \
         reason is \"vehicle_under_boom\" where \"\" is right"
    );
    assert!(reasons[1].starts_with("new-3: inputs: unknown field `trailer`"), "{}", reasons[1]);
    assert_eq!(reasons[2], "new-4: the vector has no text decision");
}

#[test]
fn a_card_that_is_another_or_none_fails() {
    let report = run_changed("wiegand.json", |vectors| {
        for vector in entries(vectors, "vectors") {
            match vector["expect"].as_str() {
                Some("ok") => vector["decoded"]["card"] = json!(7),
                _ => vector["expect"] = json!("ok"),
            }
        }
    });
    assert_eq!((report.passed, report.failed), (0, 11));
    let card = |bits: &str, format: &str| {
        json!({"id": "x", "format": format, "bits": bits, "left_aligned_hex": "BDD93740", "expect": "ok",
               "decoded": {"card": 45678, "facility": 123}})
    };
    let bits = "10111101110110010011011101";
    let other = "10111101110110010011011111";
    let report = run_written(&json!({"schema": "wiegand/1", "vectors": [
        card(bits, "H10301-26"), card(other, "H10301-26"), card(bits, "H1"),
    ]}));
    assert_eq!(
        reasons(&report),
        [
            format!("x: left_aligned_hex is read as {bits} where {other} is right"),
            "x: there is no format \"H1\"; there are H10301-26, H10306-34, H10302-37, H10304-37".to_owned(),
        ]
    );
}

/// Exit code, standard output and standard error of `gatehouse-hil vectors`.
fn command(arguments: &[&str]) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_gatehouse-hil");
    let output = std::process::Command::new(program).arg("vectors").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_exit_code_says_whether_all_passed_any_failed_or_none_could_run() {
    let (code, out, err) = command(&[committed().to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("858 passed, 0 failed, in 20 files\n"), "{out}");

    let (code, out, err) = command(&[committed().to_str().unwrap(), committed_rules().to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.ends_with("1201 passed, 0 failed, in 28 files\n"), "{out}");

    let failing = folder(&[("a.json", r#"{"schema": "new/1", "cases": [{}, {}]}"#)]);
    let (code, out, _) = command(&[failing.path().to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["failed"], &report["passed"]), (Some(1), &json!(2), &json!(0)));
    assert_eq!(report["files"][0]["failures"][0]["reason"], "nothing runs new/1");

    let (code, out, err) = command(&["no/such/folder"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.starts_with("error: cannot read the folder no/such/folder: "), "{err}");
}
