//! Which model a Modbus device is: by what it says of itself, and by registers that hold what a model would have there.

use std::sync::Arc;

use gatehouse_core::Value;

use super::finding::Model;
use crate::modbus::decode::decode_registers;
use crate::modbus::pdu::Request;
use crate::modbus::point::{ModbusPoint, Table};
use crate::point::Protocol;
use crate::profile::{Profile, embedded};

/// Registers of one model that are looked at.
const MARKS: usize = 4;
/// Fewer prove nothing.
const MARKS_LEAST: usize = 2;
/// After so many reads without an answer no more are made: the device does not refuse what it has not.
const SILENT_MOST: u8 = 3;
/// Mains voltages, between phases too, in volts.
const VOLTAGE: (f64, f64) = (80.0, 480.0);
/// Mains frequencies, in hertz.
const FREQUENCY: (f64, f64) = (45.0, 65.0);

/// What is known of one device.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    candidates: Vec<Candidate>,
    seen: Vec<(Request, Option<Vec<u16>>)>,
    silent: u8,
    /// What it said of itself, by object.
    pub(super) identity: Vec<(u8, String)>,
}

#[derive(Debug, Clone)]
struct Candidate {
    name: &'static str,
    profile: Arc<Profile>,
    marks: Vec<Mark>,
    /// Marks that were found as they should be.
    hits: usize,
}

#[derive(Debug, Clone)]
struct Mark {
    point: ModbusPoint,
    least: f64,
    most: f64,
}

impl Mark {
    fn request(&self) -> Request {
        Request::Read { table: self.point.table, address: self.point.address, quantity: self.point.width() }
    }

    fn suits(&self, registers: &[u16]) -> bool {
        let number = match decode_registers(&self.point, registers) {
            Ok(Value::Decimal(decimal)) => decimal.to_f64(),
            Ok(Value::F32(float)) => f64::from(float),
            Ok(Value::F64(float)) => float,
            Ok(Value::Bool(_) | Value::Text(_)) | Err(_) => return false,
        };
        (self.least..=self.most).contains(&number)
    }
}

/// The registers of a profile by which a device is told: mains voltages and the mains frequency, which lie in narrow
/// ranges wherever there is power.
fn marks(profile: &Profile) -> Vec<Mark> {
    let is_hole = |point: &ModbusPoint| {
        let last = point.address.saturating_add(point.width() - 1);
        profile
            .limits
            .holes
            .iter()
            .any(|(table, from, to)| *table == point.table && *from <= last && point.address <= *to)
    };
    let mark = |spec: &crate::point::PointSpec| {
        let point = spec.modbus()?;
        let name = spec.name.as_str();
        let mains = name.starts_with("voltage") || matches!(name, "input_voltage" | "output_voltage");
        let (least, most) = match spec.unit.as_str() {
            "V" if mains => VOLTAGE,
            "Hz" if name == "frequency" => FREQUENCY,
            _ => return None,
        };
        let readable = matches!(point.table, Table::Holding | Table::Input) && !is_hole(point);
        readable.then(|| Mark { point: point.clone(), least, most })
    };
    let mut marks: Vec<Mark> = profile.points.iter().filter_map(mark).collect();
    // The frequency has the narrowest range, and comes first.
    marks.sort_by(|a, b| (a.most - a.least).total_cmp(&(b.most - b.least)));
    marks.truncate(MARKS);
    marks
}

impl Fingerprint {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        let of = |known: &'static crate::profile::Embedded| {
            let profile = known.profile();
            let candidate = Candidate { name: known.name, profile: profile.clone(), marks: marks(profile), hits: 0 };
            (profile.protocol == Protocol::Modbus).then_some(candidate)
        };
        let candidates = embedded().iter().filter_map(of).collect();
        Fingerprint { candidates, seen: Vec::new(), silent: 0, identity: Vec::new() }
    }

    /// The next read that tells more; `None`: nothing does.
    pub(super) fn next(&self) -> Option<Request> {
        if self.by_identity().is_some() || self.silent >= SILENT_MOST {
            return None;
        }
        let open = self.candidates.iter().filter(|one| one.marks.len() >= MARKS_LEAST && one.hits < one.marks.len());
        let next = open.min_by_key(|one| one.hits)?;
        next.marks.get(next.hits).map(Mark::request)
    }

    /// Takes the answer to a read: its registers, or `None` where it was refused or was none.
    pub(super) fn handle(&mut self, request: &Request, registers: Option<&[u16]>, silent: bool) {
        self.silent += u8::from(silent);
        self.seen.push((request.clone(), registers.map(<[u16]>::to_vec)));
        let seen = &self.seen;
        // Each candidate goes on over all that was read already, by itself or for another.
        self.candidates.retain_mut(|one| {
            while let Some(mark) = one.marks.get(one.hits) {
                let wanted = mark.request();
                match seen.iter().find(|(asked, _)| *asked == wanted) {
                    None => return true,
                    Some((_, Some(registers))) if mark.suits(registers) => one.hits += 1,
                    Some((_, Some(_) | None)) => return one.marks.len() < MARKS_LEAST,
                }
            }
            true
        });
    }

    /// The model, as far as it is known.
    pub(super) fn model(&self) -> Model {
        if let Some(name) = self.by_identity() {
            return Model::Known(name);
        }
        let whole = |one: &&Candidate| one.marks.len() >= MARKS_LEAST && one.hits == one.marks.len();
        let most = self.candidates.iter().filter(whole).map(|one| one.hits).max();
        let best: Vec<&'static str> =
            self.candidates.iter().filter(whole).filter(|one| Some(one.hits) == most).map(|one| one.name).collect();
        match best.as_slice() {
            [] => Model::Unknown,
            [name] => Model::Known(name),
            [..] => Model::OneOf(best),
        }
    }

    /// The only profile whose maker and model the device names.
    fn by_identity(&self) -> Option<&'static str> {
        let text = |number: u8| {
            let found = self.identity.iter().find(|(object, _)| *object == number);
            found.map_or(String::new(), |(_, text)| plain(text))
        };
        // Basic identification: 0 vendor, 1 product code; regular: 4 product name, 5 model name.
        let (vendor, product) = (text(0), [text(1), text(4), text(5)].concat());
        let is_of = |one: &&Candidate| {
            let maker = one.profile.vendor.split_whitespace().next().map(plain).unwrap_or_default();
            maker.len() > 2 && vendor.contains(&maker) && models(&one.profile.model).any(|name| product.contains(&name))
        };
        let mut named = self.candidates.iter().filter(is_of);
        let first = named.next()?;
        named.next().is_none().then_some(first.name)
    }
}

/// Letters and digits alone, in capitals.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// The words of a profile's model that name a model: with a digit, and long enough to be no accident.
fn models(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(plain);
    words.filter(|word| word.len() >= 4 && word.chars().any(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a made-up device until nothing is left to ask; how many reads it took.
    fn ask(fingerprint: &mut Fingerprint, device: impl Fn(Table, u16, u16) -> Option<Vec<u16>>) -> usize {
        let mut reads = 0;
        while let Some(request) = fingerprint.next() {
            let Request::Read { table, address, quantity } = request else { panic!("{request:?}") };
            fingerprint.handle(&request, device(table, address, quantity).as_deref(), false);
            reads += 1;
            assert!(reads < 60, "it does not end");
        }
        reads
    }

    fn f32_words(value: f32) -> Vec<u16> {
        value.to_bits().to_be_bytes().as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
    }

    #[test]
    fn a_meter_is_told_by_its_voltages_and_its_frequency() {
        let mut fingerprint = Fingerprint::new();
        let reads = ask(&mut fingerprint, |table, address, _| match (table, address) {
            (Table::Input, 0x46) => Some(f32_words(50.02)),
            (Table::Input, 0 | 2 | 4) => Some(f32_words(231.4)),
            _ => None,
        });
        assert_eq!(fingerprint.model(), Model::Known("eastron-sdm630"), "{reads} reads");
        assert!(reads <= 20, "{reads}");
    }

    #[test]
    fn models_that_share_their_registers_are_left_open() {
        let mut fingerprint = Fingerprint::new();
        ask(&mut fingerprint, |table, address, _| match (table, address) {
            (Table::Input, 0x46) => Some(f32_words(50.02)),
            (Table::Input, 0) => Some(f32_words(231.4)),
            _ => None,
        });
        assert_eq!(fingerprint.model(), Model::OneOf(vec!["eastron-sdm120", "eastron-sdm230"]));
    }

    #[test]
    fn what_a_device_says_of_itself_goes_before_its_registers() {
        let mut fingerprint = Fingerprint::new();
        fingerprint.identity =
            vec![(0, "Schneider Electric".to_owned()), (1, "iEM3155".to_owned()), (2, "v1".to_owned())];
        assert_eq!((fingerprint.next(), fingerprint.model()), (None, Model::Known("schneider-iem3000")));
    }

    #[test]
    fn a_device_whose_registers_suit_nothing_is_unknown() {
        for device in [|_, _, quantity: u16| Some(vec![0; usize::from(quantity)]), |_, _, _| None] {
            let mut fingerprint = Fingerprint::new();
            ask(&mut fingerprint, device);
            assert_eq!(fingerprint.model(), Model::Unknown);
        }
    }
}
