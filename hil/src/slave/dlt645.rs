//! An electricity meter of DL/T 645, with a framing of its own: `FE.. 68 A0..A5 68 C L DATA+33H CS 16`.
//!
//! Written apart from `gatehouse-drivers` on purpose: a simulator that shares the gateway's codec proves nothing.

use std::sync::Arc;

use gatehouse_drivers::dlt645::point::Edition;

use super::digits::Digits;
use super::model::Model;
use super::station::{Heard, Station};
use crate::sim_clock::wall_us;

/// Added to each byte of data.
const MASK: u8 = 0x33;
/// Bytes FE before a reply.
const WAKE: usize = 4;
/// Bytes before the data.
const HEAD: usize = 10;

/// Control bytes of an edition: what reads, what answers, what refuses.
#[derive(Debug, Clone, Copy)]
struct Control {
    read: u8,
    answer: u8,
    refuse: u8,
    di_bytes: usize,
}

/// A meter whose numbers follow a model.
pub struct Dlt645Slave {
    address: [u8; 6],
    control: Control,
    model: Arc<Model>,
}

impl Dlt645Slave {
    /// A meter with this number on its plate.
    pub fn new(number: u8, edition: Edition, model: Arc<Model>) -> Self {
        let control = match edition {
            Edition::V2007 => Control { read: 0x11, answer: 0x91, refuse: 0xD1, di_bytes: 4 },
            Edition::V1997 => Control { read: 0x01, answer: 0x81, refuse: 0xC1, di_bytes: 2 },
        };
        Dlt645Slave { address: plate(number), control, model }
    }

    /// The number on its plate, as a site file says it.
    pub fn address(number: u8) -> String {
        format!("{number:012}")
    }

    /// The data under an identifier; `None` where it has none.
    fn data(&self, di: u32, generation: i64) -> Option<Vec<u8>> {
        let points = self.model.points().iter().enumerate();
        let mut items: Vec<(u8, usize, Digits)> = points
            .filter_map(|(at, point)| {
                let place = point.dlt645().filter(|place| place.di == di)?;
                Some((place.item, at, Digits::of(&point.place)?))
            })
            .collect();
        items.sort_unstable_by_key(|(item, ..)| *item);
        // An identifier of which the model does not have every item is none of this meter.
        let whole = (0u8..).zip(&items).all(|(at, (item, ..))| at == *item) && !items.is_empty();
        whole.then(|| {
            let mut data = Vec::new();
            items.iter().for_each(|(_, at, digits)| digits.write(self.model.steps(*at, generation), &mut data));
            data
        })
    }

    fn frame(&self, control: u8, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0xFE; WAKE];
        frame.push(0x68);
        frame.extend(self.address);
        frame.extend([0x68, control, u8::try_from(data.len()).unwrap_or(u8::MAX)]);
        frame.extend(data.iter().map(|byte| byte.wrapping_add(MASK)));
        close(WAKE, &mut frame);
        frame
    }
}

/// Six bytes of a plate's number, the last digits first.
fn plate(number: u8) -> [u8; 6] {
    let [hundreds, rest] = [number / 100, number % 100];
    [rest / 10 * 16 + rest % 10, hundreds, 0, 0, 0, 0]
}

/// The sum of bytes, modulo 256.
pub(super) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Ends the frame that begins at `from`: its sum, and 16H.
pub(super) fn close(from: usize, frame: &mut Vec<u8>) {
    frame.extend([sum(&frame[from..]), 0x16]);
}

/// The first sound frame in what was heard: address, control byte, and its data without the mask.
fn open(heard: &[u8]) -> Option<([u8; 6], u8, Vec<u8>)> {
    heard.windows(HEAD).enumerate().find_map(|(at, head)| {
        let &[0x68, a0, a1, a2, a3, a4, a5, 0x68, control, length] = head else { return None };
        let body = HEAD + usize::from(length);
        let frame = heard.get(at..at + body + 2)?;
        let data = frame[HEAD..body].iter().map(|byte| byte.wrapping_sub(MASK)).collect();
        (frame[body..] == [sum(&frame[..body]), 0x16]).then_some(([a0, a1, a2, a3, a4, a5], control, data))
    })
}

impl Station for Dlt645Slave {
    fn hear(&mut self, heard: &[u8]) -> Heard {
        let Some((address, control, data)) = open(heard) else { return Heard::Noise };
        // AA stands for any.
        let meant = address.iter().zip(self.address).all(|(asked, own)| *asked == own || *asked == 0xAA);
        let Some((di, [])) = data.split_at_checked(self.control.di_bytes) else { return Heard::Anothers };
        if !meant || control != self.control.read {
            return Heard::Anothers;
        }
        let number = di.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let generation = self.model.generation(wall_us());
        Heard::Reply(match self.data(number, generation) {
            Some(found) => self.frame(self.control.answer, &[di, &found].concat()),
            // "No requested data."
            None => self.frame(self.control.refuse, &[0x02]),
        })
    }

    fn anothers(&self, reply: &[u8]) -> Vec<u8> {
        let mut other = reply[..reply.len().saturating_sub(2)].to_vec();
        if let Some(last) = other.get_mut(WAKE + 6) {
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
    use gatehouse_drivers::dlt645::{Address, Dlt645Meter, Frame, MeterSettings};
    use gatehouse_drivers::profile::Library;

    fn slave(number: u8) -> (Dlt645Slave, Arc<Model>) {
        let points = Library::new().find("dlt645-2007-1p").unwrap().points.clone();
        let model = Arc::new(Model::new(3, 1_000_000, wall_us(), points));
        (Dlt645Slave::new(number, Edition::V2007, model.clone()), model)
    }

    /// Request and reply as two sources have them; the reply's digits are the model's.
    #[test]
    fn a_request_amid_noise_is_answered_and_another_s_is_not() {
        let (mut slave, _) = slave(34);
        let request = [0x68, 0x34, 0, 0, 0, 0, 0, 0x68, 0x11, 4, 0x33, 0x34, 0x34, 0x35];
        let mut heard = vec![0xFE, 0xFE, 0x68, 0x00];
        heard.extend(request);
        heard.extend([sum(&request), 0x16]);
        let Heard::Reply(reply) = slave.hear(&heard) else { panic!("no answer") };
        assert_eq!(
            reply[..18],
            [0xFE, 0xFE, 0xFE, 0xFE, 0x68, 0x34, 0, 0, 0, 0, 0, 0x68, 0x91, 6, 0x33, 0x34, 0x34, 0x35]
        );
        heard[5] = 0x35;
        assert_eq!(slave.hear(&heard), Heard::Noise, "the sum is wrong");
        *heard.iter_mut().rev().nth(1).unwrap() += 1;
        assert_eq!(slave.hear(&heard), Heard::Anothers);
        assert_eq!(slave.hear(&[1, 3, 0, 0, 0, 2, 0xC4, 0x0B]), Heard::Noise);
    }

    #[test]
    fn the_driver_reads_what_the_model_says() {
        let (mut slave, model) = slave(101);
        let library = Library::new();
        let points = &library.find("dlt645-2007-1p").unwrap().points;
        let wanted = ["import_energy", "import_energy_t4", "voltage", "current", "power", "frequency", "temperature"];
        let specs: Vec<_> = wanted.iter().map(|name| points.iter().find(|p| p.name == **name).unwrap()).collect();
        let address = Address::parse(&Dlt645Slave::address(101)).unwrap();
        let settings = MeterSettings {
            edition: Edition::V2007,
            address,
            preamble: 4,
            pause: std::time::Duration::ZERO,
            access: None,
        };
        let places: Vec<_> = specs.iter().filter_map(|spec| spec.dlt645().copied()).collect();
        let all = (0..7).map(PointIx).collect();
        let meter = Dlt645Meter::new(settings, places, &[all]);
        let (mut steps, mut seen) = (Vec::new(), Vec::new());
        meter.group_steps(0, &mut steps);
        for step in steps {
            let (mut request, mut readings) = (Vec::new(), Vec::new());
            meter.encode(step, 0, &mut request);
            let before = model.generation(wall_us());
            let Heard::Reply(reply) = slave.hear(&request) else { panic!("no answer") };
            let after = model.generation(wall_us());
            assert!(matches!(meter.decode(step, 0, &reply, &mut readings), Decoded::Reply { .. }));
            for reading in readings {
                let name = &specs[usize::from(reading.point.0)].name;
                let held = (before..=after).any(|at| model.value(name, at).as_ref() == reading.value.as_ref().ok());
                assert!(held, "{name}: {:?}", reading.value);
                seen.push(reading.point);
            }
        }
        assert_eq!(seen.len(), wanted.len());
    }

    /// The data of 9010 are four bytes behind the identifier: 81H answers, seven bytes with the length before them.
    #[test]
    fn a_meter_of_1997_has_two_bytes_of_identifier() {
        let points = Library::new().find("dlt645-1997-1p").unwrap().points.clone();
        let model = Arc::new(Model::new(3, 1_000_000, wall_us(), points));
        let single = model.points().iter().find_map(|point| point.dlt645().filter(|p| p.di & 0x0F == 0)).unwrap().di;
        let mut slave = Dlt645Slave::new(7, Edition::V1997, model);
        let asked = slave.frame(0x01, &single.to_le_bytes()[..2]);
        let Heard::Reply(reply) = slave.hear(&asked) else { panic!("no answer") };
        let (frame, _) = Frame::find(&reply, true).unwrap();
        assert_eq!((frame.control, &frame.data()[..2]), (0x81, &single.to_le_bytes()[..2]));
        assert_eq!(slave.hear(&slave.frame(0x11, &[0, 0, 1, 0])), Heard::Anothers, "2007 asks otherwise");
    }

    #[test]
    fn what_it_does_not_have_it_refuses_and_another_s_reply_is_sound() {
        let (mut slave, _) = slave(1);
        let asked = slave.frame(0x11, &0x0280_00FF_u32.to_le_bytes());
        let Heard::Reply(reply) = slave.hear(&asked) else { panic!("no answer") };
        let (own, _) = Frame::find(&reply, true).unwrap();
        assert_eq!((own.is_exception(), own.data()), (true, &[0x02][..]));
        let (other, _) = Frame::find(&slave.anothers(&reply), true).unwrap();
        assert_ne!(other.address, own.address);
    }
}
