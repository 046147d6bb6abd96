//! What is written can be read back, and the published schemas are those of the code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{event, name, sample, stamp};
use gatehouse_core::{
    Body, BootId, Decimal, Kind, Lane, Mono, NoData, PointIx, PointReading, Record, Schema, SchemaPoint, Stamp, Trust,
    Value, Wall,
};
use gatehouse_uplink::payload::{PayloadWriter, open};
use gatehouse_uplink::schema::{RecordsMessage, schemas};

fn message(compress: bool, records: &[Record]) -> Vec<u8> {
    let mut writer = PayloadWriter::new("box-1", compress);
    let (mut out, mut spare) = (Vec::new(), Vec::new());
    writer.begin(&mut out, 3, records[0].lane, records[0].seq);
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            writer.next(&mut out);
        }
        writer.record(&mut out, record, (record.stamp.wall, record.stamp.trust));
    }
    writer.end(&mut out, &mut spare);
    out
}

fn record(lane: Lane, body: Body) -> Record {
    Record { lane, seq: 41, stamp: stamp(123), body }
}

fn mixed() -> Body {
    let point = |text: &str, kind| SchemaPoint { name: name(text), kind };
    let points = vec![
        point("voltage_l1", Kind::F32),
        point("energy", Kind::Decimal { exponent: -2 }),
        point("relay", Kind::Bool),
        point("serial", Kind::Text),
        point("current_l1", Kind::F32),
        point("frequency", Kind::F32),
    ];
    let values = [
        Ok(Value::F32(231.2)),
        Ok(Value::Decimal(Decimal { mantissa: 1_234_560, exponent: -2 })),
        Ok(Value::Bool(true)),
        Ok(Value::Text("A\"7".into())),
        Err(NoData::Timeout),
        Err(NoData::Exception(2)),
    ];
    let reading = |(n, value)| PointReading::new(PointIx(n), value);
    let schema = Arc::new(Schema { device: name("meter-101"), points });
    Body::Sample { schema, readings: (0u16..).zip(values).map(reading).collect() }
}

#[test]
fn the_bytes_of_version_1_stay_as_they_are() {
    let text = |record| String::from_utf8(message(false, &[record])).unwrap();
    // If this fails, do not change the test: receivers in the field read these bytes.
    assert_eq!(
        text(record(Lane::Telemetry, mixed())),
        r#"{"v":1,"box":"box-1","epoch":3,"lane":"telemetry","seq":41,"records":[{"seq":41,"time":"2026-11-23T10:00:00.123Z","device":"meter-101","values":{"voltage_l1":231.2,"energy":12345.60,"relay":true,"serial":"A\"7"},"missing":{"current_l1":"timeout","frequency":"exception_2"}}]}"#
    );
    assert_eq!(
        text(record(Lane::Billing, mixed())),
        r#"{"v":1,"box":"box-1","epoch":3,"lane":"billing","seq":41,"records":[{"seq":41,"time":"2026-11-23T10:00:00.123Z","device":"meter-101","values":{"voltage_l1":"231.2","energy":"12345.60","relay":true,"serial":"A\"7"},"missing":{"current_l1":"timeout","frequency":"exception_2"}}]}"#
    );
    let mut early = record(Lane::Audit, event("clock_set", r#"{"step_ms":1200}"#));
    early.stamp = Stamp { boot: BootId(7), mono: Mono(5_000_000), wall: Wall(5_000_000), trust: Trust::Unset };
    assert_eq!(
        text(early),
        r#"{"v":1,"box":"box-1","epoch":3,"lane":"audit","seq":41,"records":[{"seq":41,"time":"1970-01-01T00:00:05.000Z","trust":"unset","boot":"00000000000000000000000000000007","mono":5000000,"event":"clock_set","data":{"step_ms":1200}}]}"#
    );
    assert_eq!(
        text(record(Lane::Telemetry, Body::Gap { last: 60, lost: 20, reason: "bounded".into() })),
        r#"{"v":1,"box":"box-1","epoch":3,"lane":"telemetry","seq":41,"records":[{"seq":41,"time":"2026-11-23T10:00:00.123Z","gap":{"last":60,"lost":20,"reason":"bounded"}}]}"#
    );
}

#[test]
fn every_message_is_what_its_schema_says() {
    for lane in Lane::ALL {
        let bodies =
            [mixed(), event("x", "{}"), event("y", ""), Body::Gap { last: 9, lost: 1, reason: "thinned".into() }];
        let records = bodies.map(|body| record(lane, body));
        let read: RecordsMessage = serde_json::from_slice(&message(false, &records)).unwrap();
        assert_eq!((read.v, read.records.len(), read.lane.as_str()), (1, 4, lane.as_str()));
        let values = read.records[0].values.as_ref().unwrap();
        assert_eq!(values["energy"].is_string(), lane == Lane::Billing, "only money travels as text");
    }
}

#[test]
fn a_compressed_message_opens_to_the_same_bytes() {
    let records: Vec<Record> = (0..100).map(|n| record(Lane::Telemetry, sample("meter-101", 12, 23000 + n))).collect();
    let (plain, packed) = (message(false, &records), message(true, &records));
    assert!(packed.len() * 8 < plain.len(), "{} of {}", packed.len(), plain.len());
    assert_eq!(open(&packed, plain.len()).unwrap(), plain);
    assert_eq!(open(&plain, plain.len()).unwrap(), plain);
    assert!(open(&packed, plain.len() - 1).is_err(), "a receiver's bound holds");
    let tiny = [record(Lane::Audit, event("x", "{}"))];
    assert!(message(true, &tiny).len() <= message(false, &tiny).len());
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    for (file, schema) in schemas() {
        let now = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let path = folder.join(file);
        if std::env::var_os("GATEHOUSE_WRITE_SCHEMAS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, now, "{file} is out of date: run this test once with GATEHOUSE_WRITE_SCHEMAS=1");
    }
}
