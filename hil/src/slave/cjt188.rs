//! A water or heat meter of CJ/T 188-2004, with a framing of its own: `FE.. 68 T A0..A6 C L DI0 DI1 SER data CS 16`.
//!
//! Written apart from `gatehouse-drivers` on purpose: a simulator that shares the gateway's codec proves nothing.

use std::sync::Arc;

use gatehouse_drivers::cjt188::Field;

use super::digits::Digits;
use super::dlt645::{close, sum};
use super::model::Model;
use super::station::{Heard, Station};
use crate::sim_clock::wall_us;

/// Bytes FE before a reply.
const WAKE: usize = 3;
/// Bytes before the data.
const HEAD: usize = 11;
/// What the meter counts now.
const METERING: u16 = 0x901F;
/// A clock that was never set, and a status without a fault.
const CLOCK_AND_STATUS: [u8; 9] = [0; 9];

/// What the reply of a water meter has, in its order.
const WATER: [Field; 2] = [Field::CurrentVolume, Field::SettlementVolume];
/// The same of a heat meter.
const HEAT: [Field; 8] = [
    Field::SettlementHeat,
    Field::CurrentHeat,
    Field::HeatPower,
    Field::FlowRate,
    Field::CumulativeVolume,
    Field::SupplyTemperature,
    Field::ReturnTemperature,
    Field::WorkingHours,
];

/// The code that a meter names a unit by; `None` for numbers that travel without one.
fn unit_code(unit: &str) -> Option<u8> {
    match unit {
        "kWh" => Some(0x05),
        "kW" => Some(0x17),
        "m3" => Some(0x2C),
        "m3/h" => Some(0x35),
        _ => None,
    }
}

/// A meter whose numbers follow a model.
pub struct Cjt188Slave {
    kind: u8,
    address: [u8; 7],
    model: Arc<Model>,
}

impl Cjt188Slave {
    /// A meter of a kind (10 cold water, 20 heat) with this number on its plate.
    pub fn new(number: u8, kind: u8, model: Arc<Model>) -> Self {
        let [hundreds, rest] = [number / 100, number % 100];
        Cjt188Slave { kind, address: [rest / 10 * 16 + rest % 10, hundreds, 0, 0, 0, 0, 0], model }
    }

    /// The number on its plate, as a site file says it.
    pub fn address(number: u8) -> String {
        format!("{number:014}")
    }

    /// Appends the number of a field and its unit; `None` where the model has no such point.
    fn write(&self, (di, field): (u16, Field), generation: i64, out: &mut Vec<u8>) -> Option<()> {
        let (at, point) = self
            .model
            .points()
            .iter()
            .enumerate()
            .find(|(_, point)| point.cjt188().is_some_and(|place| place.di == di && place.field == field))?;
        Digits::of(&point.place)?.write(self.model.steps(at, generation), out);
        out.extend(unit_code(&point.unit));
        Some(())
    }

    /// The data under an identifier; `None` where it has none.
    fn data(&self, di: u16, generation: i64) -> Option<Vec<u8>> {
        let mut data = Vec::new();
        if di != METERING {
            self.write((di, Field::Value), generation, &mut data)?;
            return Some(data);
        }
        let fields = if self.kind == 0x20 { &HEAT[..] } else { &WATER[..] };
        fields.iter().try_for_each(|field| self.write((di, *field), generation, &mut data))?;
        data.extend(CLOCK_AND_STATUS);
        Some(data)
    }

    fn frame(&self, control: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xFE; WAKE];
        frame.extend([0x68, self.kind]);
        frame.extend(self.address);
        frame.extend([control, u8::try_from(data.len()).unwrap_or(u8::MAX)]);
        frame.extend(data);
        close(WAKE, &mut frame);
        frame
    }
}

/// The first sound frame in what was heard: kind, address, control byte and data.
fn open(heard: &[u8]) -> Option<(u8, &[u8], u8, &[u8])> {
    heard.windows(HEAD).enumerate().find_map(|(at, head)| {
        let &[0x68, kind, .., control, length] = head else { return None };
        let body = HEAD + usize::from(length);
        let frame = heard.get(at..at + body + 2)?;
        let sound = frame[body..] == [sum(&frame[..body]), 0x16];
        sound.then(|| (kind, &frame[2..9], control, &frame[HEAD..body]))
    })
}

impl Station for Cjt188Slave {
    fn hear(&mut self, heard: &[u8]) -> Heard {
        let Some((kind, address, control, data)) = open(heard) else { return Heard::Noise };
        // AA stands for any.
        let any = |asked: u8, own: u8| asked == own || asked == 0xAA;
        let meant = any(kind, self.kind) && address.iter().zip(self.address).all(|(asked, own)| any(*asked, own));
        let &[low, high, serial] = data else { return Heard::Anothers };
        if !meant || control != 0x01 {
            return Heard::Anothers;
        }
        let generation = self.model.generation(wall_us());
        Heard::Reply(match self.data(u16::from_le_bytes([low, high]), generation) {
            Some(found) => self.frame(0x81, &[&[low, high, serial], &found[..]].concat()),
            None => self.frame(0xC1, &[serial, 0, 0]),
        })
    }

    fn anothers(&self, reply: &[u8]) -> Vec<u8> {
        let mut other = reply[..reply.len().saturating_sub(2)].to_vec();
        if let Some(last) = other.get_mut(WAKE + 8) {
            *last ^= 0x01;
        }
        close(WAKE.min(other.len()), &mut other);
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatehouse_core::{Decoded, Driver, PointIx};
    use gatehouse_drivers::cjt188::{Address, Cjt188Meter, Edition, MeterSettings, MeterType, Traits};
    use gatehouse_drivers::profile::Library;

    fn reads_what_the_model_says(profile: &str, kind: u8, wanted: &[&str]) {
        let library = Library::new();
        let points = &library.find(profile).unwrap().points;
        let model = Arc::new(Model::new(3, 1_000_000, wall_us(), points.clone()));
        let mut slave = Cjt188Slave::new(212, kind, model.clone());
        let specs: Vec<_> = wanted.iter().map(|name| points.iter().find(|p| p.name == **name).unwrap()).collect();
        let address = Address::parse(&Cjt188Slave::address(212)).unwrap();
        let traits = Traits { meter_type: MeterType(kind), ..Traits::default() };
        let pause = std::time::Duration::ZERO;
        let settings = MeterSettings { edition: Edition::V2004, address, preamble: 2, pause, traits };
        let places: Vec<_> = specs.iter().filter_map(|spec| spec.cjt188().copied()).collect();
        let all = (0..u16::try_from(wanted.len()).unwrap()).map(PointIx).collect();
        let meter = Cjt188Meter::new(settings, places, &[all]);
        let (mut steps, mut seen) = (Vec::new(), 0);
        meter.group_steps(0, &mut steps);
        for step in steps {
            let (mut request, mut readings) = (vec![0x68, 0x10], Vec::new());
            meter.encode(step, 0, &mut request);
            let before = model.generation(wall_us());
            let Heard::Reply(reply) = slave.hear(&request) else { panic!("no answer") };
            let after = model.generation(wall_us());
            let verdict = meter.decode(step, 0, &reply[WAKE..], &mut readings);
            assert_eq!(verdict, Decoded::Reply { bytes: reply.len() - WAKE });
            assert_eq!(slave.hear(&reply), Heard::Anothers, "its own words are no request");
            for reading in readings {
                let name = &specs[usize::from(reading.point.0)].name;
                let held = (before..=after).any(|at| model.value(name, at).as_ref() == reading.value.as_ref().ok());
                assert!(held, "{name}: {:?}", reading.value);
                seen += 1;
            }
        }
        assert_eq!(seen, wanted.len());
    }

    #[test]
    fn the_driver_reads_a_water_meter_as_its_model_says() {
        reads_what_the_model_says("cjt188-cold-water", 0x10, &["volume", "settlement_volume", "volume_month_1"]);
    }

    #[test]
    fn the_driver_reads_a_heat_meter_as_its_model_says() {
        let wanted = ["heat", "heat_power", "flow", "volume", "supply_temperature", "working_hours", "heat_month_12"];
        reads_what_the_model_says("cjt188-heat-2004", 0x20, &wanted);
    }

    #[test]
    fn a_meter_of_another_kind_or_number_is_not_meant() {
        let points = Library::new().find("cjt188-cold-water").unwrap().points.clone();
        let model = Arc::new(Model::new(3, 1_000_000, wall_us(), points));
        let meter = |number, kind| Cjt188Slave::new(number, kind, model.clone());
        let asked = |number, kind| meter(number, kind).frame(0x01, &[0x1F, 0x90, 7]);
        assert!(matches!(meter(5, 0x10).hear(&asked(5, 0x10)), Heard::Reply(_)));
        assert_eq!(meter(5, 0x10).hear(&asked(6, 0x10)), Heard::Anothers);
        assert_eq!(meter(5, 0x10).hear(&asked(5, 0x20)), Heard::Anothers);
        assert_eq!(meter(5, 0x10).hear(&asked(5, 0x10)[..15]), Heard::Noise);
    }
}
