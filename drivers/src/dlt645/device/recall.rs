//! What a meter kept itself: registers at its daily freezes, load records, and its clock beside what it shows now.

use gatehouse_core::driver::{ActionError, FREEZE_TIME, LOAD_TIME, METER_CLOCK};
use gatehouse_core::{LocalTime, NoData, PointIx, PointReading, StepId, Value};

use super::Dlt645Meter;
use super::answer::LongAnswer;
use super::step::Step;
use crate::dlt645::catalog::Axis;
use crate::dlt645::load::{self, Record};
use crate::dlt645::point::{Dlt645Point, Edition, Format};

/// Daily freezes: DI3 and DI2 (DL/T 645-2007, a later addition; not every meter keeps them).
const DAILY: u32 = 0x0506_0000;
/// The freeze's own time: DI1.
const TIME: u32 = 0;
/// How many freezes ago a record can be.
const MOST_BACK: u8 = 62;

/// Where a register of now lies in a freeze record: DI1, and its place in the record. `None` for what is not frozen.
fn frozen(spec: &Dlt645Point) -> Option<(u32, u8)> {
    let [class, quantity, tariff, settlement] = spec.di.to_be_bytes();
    if settlement != 0 || spec.offset != 0 || !matches!(spec.format, Format::Number { .. }) {
        return None;
    }
    let item = if tariff == 0xFF { spec.item } else { tariff };
    let kind = match (class, quantity) {
        (0x00, 0x01..=0x08) => quantity,
        (0x01, 0x01..=0x02) => 0x08 + quantity,
        _ => return None,
    };
    Some((u32::from(kind) << 8, item))
}

impl Dlt645Meter {
    /// The requests for points as they were `back` daily freezes ago; of now with the meter's clock for 0.
    pub(super) fn recall(&self, points: &[PointIx], back: u8) -> Result<Vec<Step>, ActionError> {
        let edition = self.settings.edition;
        if back == 0 {
            let clock = if edition == Edition::V2007 { [0x0400_0101, 0x0400_0102] } else { [0xC010, 0xC011] };
            let reads = self.plan(points).into_iter().map(Step::Read);
            return Ok(reads.chain(clock.map(|di| Step::OwnClock { di })).collect());
        }
        let mut records: Vec<(u32, Vec<(PointIx, Dlt645Point)>)> = Vec::new();
        for &point in points {
            let Some(spec) = self.points.get(usize::from(point.0)) else { continue };
            let Some((kind, item)) = frozen(spec) else { continue };
            let di = DAILY | kind | u32::from(back);
            let spec = Dlt645Point { di, item, ..*spec };
            match records.iter_mut().find(|(known, _)| *known == di) {
                Some((_, points)) => points.push((point, spec)),
                None => records.push((di, vec![(point, spec)])),
            }
        }
        if edition != Edition::V2007 || records.is_empty() || back > MOST_BACK {
            return Err(ActionError::Unsupported);
        }
        let time = Step::FreezeTime { di: DAILY | TIME | u32::from(back) };
        let records = records.into_iter().map(|(di, points)| Step::Frozen { di, points: points.into() });
        Ok(std::iter::once(time).chain(records).collect())
    }

    /// The request for load records of points from a time on.
    pub(super) fn records(&self, points: &[PointIx], from: LocalTime, count: u8) -> Result<Step, ActionError> {
        let recorded: Vec<(PointIx, u8)> = points
            .iter()
            .filter_map(|&point| Some((point, load::item_of(self.points.get(usize::from(point.0))?)?)))
            .collect();
        if recorded.is_empty() || !(1..=load::MOST_RECORDS).contains(&count) {
            return Err(ActionError::Unsupported);
        }
        Ok(Step::Records { data: load::from_time_data(count, from), count, points: recorded.into() })
    }

    /// Takes the data of a reply to one of these requests.
    pub(super) fn take_recalled(
        &self,
        step: StepId,
        payload: &[u8],
        answer: &mut LongAnswer,
        readings: &mut Vec<PointReading>,
    ) {
        match self.action(step) {
            Some(Step::FreezeTime { .. }) => {
                readings.push(PointReading::new(FREEZE_TIME, Format::Minute.decode(payload)));
            }
            Some(Step::Frozen { points, .. }) => {
                readings.extend(points.iter().map(|(point, spec)| spec.read(*point, payload, 0, Some(Axis::Tariffs))));
            }
            Some(Step::OwnClock { .. }) => {
                match *payload {
                    [_, day, month, year] => {
                        answer.date = Some([day, month, year]);
                        return;
                    }
                    [second, minute, hour] => answer.time = Some([second, minute, hour]),
                    _ => {}
                }
                let clock = answer.clock().map(|at| {
                    let (date, time) = ((at.year, at.month, at.day), (at.hour, at.minute, at.second));
                    let ((year, month, day), (hour, minute, second)) = (date, time);
                    Value::Text(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").into())
                });
                readings.push(PointReading::new(METER_CLOCK, clock.ok_or(NoData::BadReply)));
            }
            _ => {}
        }
    }
}

/// Appends the readings of load records: of each the points, and its time. Data that are no row of records end in a time
/// that is a `BadReply`.
pub(super) fn take_records(points: &[(PointIx, u8)], data: &[u8], readings: &mut Vec<PointReading>) {
    let mut rest = data;
    while !rest.is_empty() {
        let Ok((record, behind)) = Record::split(rest) else {
            readings.push(PointReading::new(LOAD_TIME, Err(NoData::BadReply)));
            return;
        };
        rest = behind;
        let value = |item: u8| {
            let (_, _, format) = load::item(item).ok_or(NoData::BadReply)?;
            format.decode(record.bytes(item)?)
        };
        for &(point, item) in points {
            let bytes = record.bytes(item).unwrap_or_default();
            readings.push(PointReading::new(point, value(item)).of(bytes));
        }
        readings.push(PointReading::new(LOAD_TIME, value(load::TIME_ITEM)));
    }
}
