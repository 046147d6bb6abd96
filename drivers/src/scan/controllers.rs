//! Controllers for doors, which answer a broadcast all at once.

use std::collections::BTreeMap;

use super::finding::{Clash, ClashSign, Finding, Found, Model, Station};
use crate::uhppote::reply::Device;
use crate::uhppote::{Datagram, LENGTH, Reply, Request};

/// UHPPOTE controllers that answered a broadcast: it is asked several times, and who was heard twice alike is believed.
#[derive(Debug, Clone, Default)]
pub struct Controllers {
    seen: BTreeMap<u32, Vec<(Device, u32)>>,
}

impl Controllers {
    /// The datagram that asks who is there. It changes nothing.
    pub fn question() -> [u8; LENGTH] {
        *Request::Discover.encode(0).bytes()
    }

    /// Takes what came. Anything but an answer is passed over.
    pub fn handle_datagram(&mut self, bytes: &[u8]) {
        let Ok(datagram) = Datagram::read(bytes) else { return };
        let serial = datagram.serial();
        let Ok(Reply::Device(device)) = Reply::judge(&Request::Discover, serial, &datagram) else {
            return;
        };
        // The broadcast itself comes back too, with serial number 0.
        if serial == 0 {
            return;
        }
        let known = self.seen.entry(serial).or_default();
        match known.iter_mut().find(|(seen, _)| *seen == device) {
            Some((_, times)) => *times += 1,
            None => known.push((device, 1)),
        }
    }

    /// Who was heard twice alike, and which serial numbers several have.
    pub fn findings(&self) -> Vec<Finding> {
        let of = |(serial, known): (&u32, &Vec<(Device, u32)>)| {
            let station = Station::Uhppote(*serial);
            let [(device, times)] = known.as_slice() else {
                return Some(Finding::Clash(Clash { station, characters: None, sign: ClashSign::Differ }));
            };
            let [a, b, c, d] = device.address;
            let [high, low] = device.version;
            let mac: Vec<String> = device.mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let identity = vec![
                ("address".to_owned(), format!("{a}.{b}.{c}.{d}")),
                ("mac".to_owned(), mac.join(":")),
                ("firmware".to_owned(), format!("{high:x}.{low:02x}")),
            ];
            let model = Model::Known("uhppote-4door");
            (*times >= 2).then_some(Finding::Found(Found {
                station,
                characters: None,
                identity,
                model,
                has_register: false,
            }))
        };
        self.seen.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reply of a controller to a discovery, as uhppoted/uhppote-core has it.
    fn reply(serial: u32, last: u8) -> Vec<u8> {
        let mut bytes = vec![0u8; LENGTH];
        bytes[..2].copy_from_slice(&[0x17, 0x94]);
        bytes[4..8].copy_from_slice(&serial.to_le_bytes());
        bytes[8..12].copy_from_slice(&[192, 168, 1, last]);
        bytes[20..26].copy_from_slice(&[0, 0x66, 0x19, 0x39, 0x55, last]);
        bytes[26..28].copy_from_slice(&[0x08, 0x92]);
        bytes[28..32].copy_from_slice(&[0x20, 0x18, 0x08, 0x16]);
        bytes
    }

    #[test]
    fn a_controller_heard_twice_alike_is_believed_and_the_own_broadcast_is_none() {
        let mut controllers = Controllers::default();
        controllers.handle_datagram(&Controllers::question());
        controllers.handle_datagram(&reply(423_187_757, 9));
        assert_eq!(controllers.findings(), []);
        controllers.handle_datagram(&Controllers::question());
        controllers.handle_datagram(&reply(423_187_757, 9));
        let findings = controllers.findings();
        let [Finding::Found(found)] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(
            (found.station, found.model.clone()),
            (Station::Uhppote(423_187_757), Model::Known("uhppote-4door"))
        );
        assert!(found.identity.contains(&("address".to_owned(), "192.168.1.9".to_owned())), "{:?}", found.identity);
    }

    #[test]
    fn two_boards_with_one_serial_number_clash() {
        let mut controllers = Controllers::default();
        for last in [9, 10, 9, 10] {
            controllers.handle_datagram(&reply(7, last));
        }
        assert!(matches!(controllers.findings().as_slice(), [Finding::Clash(_)]));
    }
}
