//! The block format: frozen bytes, torn and damaged ones, and whatever values there are.

use std::sync::Arc;

use gatehouse_core::{
    Body, BootId, Decimal, Kind, Lane, Mono, Name, NoData, PointIx, PointReading, Record, Schema, SchemaPoint, Stamp,
    Trust, Value, Wall,
};
use proptest::prelude::*;

use super::rig::{Rig, readings, schema};
use crate::block::{BlockReader, BlockWriter, HEAD, Head};
use crate::gap::Reason;

fn stamp(ms: u64) -> Stamp {
    let wall = Wall(1_700_000_000_000_000 + i64::try_from(ms).unwrap() * 1000 + 3);
    Stamp { boot: BootId(0xfeed), mono: Mono::from_millis(ms), wall, trust: Trust::FreeRunning }
}

fn sample_block() -> (Vec<u8>, Head) {
    let mut writer = BlockWriter::default();
    let (one, two) = (schema("meter-1"), schema("meter-2"));
    writer.push_sample(100, &stamp(5000), &one, &readings(1));
    writer.push_sample(101, &stamp(5400), &two, &readings(5));
    writer.push_gap(102, 109, 6, Reason::Thinned, &stamp(5500));
    writer.push_sample(110, &stamp(6000), &one, &readings(7));
    let mut bytes = Vec::new();
    let head = writer.finish(98, &mut bytes).unwrap();
    (bytes, head)
}

fn read(bytes: &[u8]) -> Option<Vec<Record>> {
    let head = Head::decode(bytes)?;
    let mut reader = BlockReader::open(&head, bytes.get(HEAD..HEAD + head.body)?)?;
    let body = Body::Gap { last: 0, lost: 0, reason: "".into() };
    let mut record = Record { lane: Lane::Telemetry, seq: 0, stamp: Stamp::default(), body };
    let mut records = Vec::new();
    while reader.next(Lane::Telemetry, &mut record)? {
        records.push(record.clone());
    }
    Some(records)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A block that format v1 wrote. If this test fails, do not change the bytes: boxes hold such blocks.
const FROZEN_V1: &str = "47484231a5000000b30000000300000064000000000000006e000000000000006200000000000000438b6a18240a060001000000ecbcb10b0b000000d98c9a8e28b52ffd20b3e50400f4083154070403020202020e010406656e6572677901fe07766f6c7461676503026f6e0004746578740502076d657465722d310032000119edfe0080c8afa0258680f28183898506020d8090bcfd0200000706050057d34701000000632c7218240a060001011580989abc040003000001000300030502040e3854000020c06600430000027431fe010000027435027437030031850cdcd9c2ac4001";

#[test]
fn a_block_of_format_v1_is_read_for_ever() {
    let frozen: Vec<u8> =
        (0..FROZEN_V1.len() / 2).map(|at| u8::from_str_radix(&FROZEN_V1[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let records = read(&frozen).unwrap();
    let seqs: Vec<_> = records.iter().map(|record| (record.seq, record.last_seq(), record.stamp)).collect();
    assert_eq!(
        seqs,
        [(100, 100, stamp(5000)), (101, 101, stamp(5400)), (102, 109, stamp(5500)), (110, 110, stamp(6000))]
    );
    let body = |tag, device| Body::Sample { schema: schema(device), readings: readings(tag) };
    assert_eq!(records[0].body, body(1, "meter-1"));
    assert_eq!(records[1].body, body(5, "meter-2"));
    assert_eq!(records[2].body, Body::Gap { last: 109, lost: 6, reason: "thinned".into() });
    assert_eq!(records[3].body, body(7, "meter-1"));
    let head = Head::decode(&frozen).unwrap();
    assert_eq!((head.covers_from, head.records, head.readings, head.wall), (98, 3, 11, stamp(5000).wall));
}

#[test]
fn what_is_written_now_is_format_v1() {
    let (bytes, head) = sample_block();
    assert_eq!(Head::decode(&bytes), Some(head));
    // The compressed bytes are zstd's own and may differ between its versions: the header before them may not.
    assert_eq!(hex(&bytes)[..8], FROZEN_V1[..8]);
    assert_eq!(hex(&bytes)[24..104], FROZEN_V1[24..104]);
    assert_eq!(read(&bytes).unwrap().len(), 4);
}

#[test]
fn no_changed_byte_of_a_block_goes_unseen() {
    let (bytes, _) = sample_block();
    for at in 0..bytes.len() {
        for change in [1, 0x80] {
            let mut copy = bytes.clone();
            copy[at] ^= change;
            assert!(read(&copy).is_none(), "byte {at}");
        }
        assert!(read(&bytes[..at]).is_none(), "cut at {at}");
    }
}

#[test]
fn a_segment_torn_at_any_byte_of_its_last_block_keeps_all_before_it() {
    let mut rig = Rig::new(|_| {});
    let mut lengths = Vec::new();
    let path = rig.settings.dir.join("spool/billing-0000000001.seg");
    for tag in 1..=3 {
        rig.append(Lane::Billing, tag);
        rig.settle();
        lengths.push(std::fs::metadata(&path).unwrap().len());
    }
    let whole = std::fs::read(&path).unwrap();
    for cut in usize::try_from(lengths[1]).unwrap()..whole.len() {
        rig.kill_and(|settings| {
            std::fs::write(&path, &whole[..cut]).unwrap();
            // As a power cut: the tail and what it knew are gone.
            std::fs::remove_dir_all(&settings.tail_dir).unwrap();
        });
        let records = rig.read(Lane::Billing);
        let seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        assert_eq!(seqs[..3], [1, 2, 3], "cut at {cut}");
        assert!(matches!(&records[1].body, Body::Sample { readings: found, .. } if *found == readings(2)));
        let Body::Gap { last, .. } = records[2].body else { panic!("a gap begins at 3") };
        assert!(last >= 4096);
        let aside = rig.settings.dir.join(format!("quarantine/billing-0000000001.seg-{}.bad", lengths[1]));
        if cut > usize::try_from(lengths[1]).unwrap() {
            assert!(aside.exists(), "the torn bytes are kept: {cut}");
        }
    }
}

fn value() -> impl Strategy<Value = Result<Value, NoData>> {
    prop_oneof![
        any::<f32>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| Ok(Value::F32(x))),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| Ok(Value::F64(x))),
        any::<bool>().prop_map(|on| Ok(Value::Bool(on))),
        (any::<i128>(), -30i8..=30).prop_map(|(mantissa, exponent)| Ok(Value::Decimal(Decimal { mantissa, exponent }))),
        ".{0,12}".prop_map(|text| Ok(Value::Text(text.into()))),
        (1u8..12, any::<u8>()).prop_filter_map("a reason", |(code, detail)| NoData::from_code(code, detail).map(Err)),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Bool),
        (-30i8..=30).prop_map(|exponent| Kind::Decimal { exponent }),
        Just(Kind::FreeDecimal),
        Just(Kind::F32),
        Just(Kind::F64),
        Just(Kind::Text)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_written_is_read_back(
        kinds in prop::collection::vec(prop::collection::vec(kind(), 1..6), 1..4),
        samples in prop::collection::vec(
            (0usize..4, any::<u64>(), any::<i64>(), any::<u8>(), prop::collection::vec((any::<u16>(), value()), 0..8)),
            1..30,
        ),
    ) {
        let schemas: Vec<Arc<Schema>> = kinds.iter().enumerate().map(|(at, kinds)| {
            let point = |(n, kind): (usize, &Kind)| SchemaPoint { name: Name::new(&format!("p{n}")).unwrap(), kind: *kind };
            let device = Name::new(&format!("d{at}")).unwrap();
            Arc::new(Schema { device, points: kinds.iter().enumerate().map(point).collect() })
        }).collect();
        let mut writer = BlockWriter::default();
        let mut expected = Vec::new();
        for (at, (schema, mono, wall, boot, values)) in samples.into_iter().enumerate() {
            let schema = &schemas[schema % schemas.len()];
            let trust = [Trust::Unset, Trust::FreeRunning, Trust::Synchronised][usize::from(boot % 3)];
            let stamp = Stamp { boot: BootId((boot % 2).into()), mono: Mono(mono), wall: Wall(wall), trust };
            let readings: Vec<_> =
                values.into_iter().map(|(point, value)| PointReading::new(PointIx(point % 7), value)).collect();
            let seq = 50 + at as u64;
            writer.push_sample(seq, &stamp, schema, &readings);
            let body = Body::Sample { schema: Arc::clone(schema), readings };
            expected.push(Record { lane: Lane::Telemetry, seq, stamp, body });
        }
        let mut bytes = Vec::new();
        writer.finish(50, &mut bytes).unwrap();
        prop_assert_eq!(read(&bytes), Some(expected));
    }

    #[test]
    fn a_tail_of_any_bytes_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut found = Vec::new();
        let _ = crate::row::decode(&bytes, BootId(1), &mut found);
        let _ = crate::row::payload(&bytes);
        let _ = crate::floors::Floors::decode(&bytes);
    }
}
