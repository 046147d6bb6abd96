//! What a profile or the site file says of one point: what is common to all protocols, and where its protocol finds it.

use gatehouse_core::{Kind, Name};

use crate::cjt188::{self, Cjt188Point};
use crate::dlt645::{Dlt645Point, Edition};
use crate::modbus::point::ModbusPoint;
use crate::osdp::OsdpPoint;
use crate::uhppote::Field;

/// One point of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct PointSpec {
    /// The name, unique in its device.
    pub name: Name,
    /// Unit as written on the meter, `""` for none.
    pub unit: String,
    /// Names of single bits, for people and rules.
    pub bits: Vec<(String, u8)>,
    /// A note for people.
    pub note: String,
    /// Where it lies in its device, and how.
    pub place: Place,
}

/// Where a point lies in its device, by protocol.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// In the registers or coils of a Modbus device.
    Modbus(ModbusPoint),
    /// Under a data identifier of a DL/T 645 meter.
    Dlt645(Dlt645Point),
    /// In a reply of a CJ/T 188 meter.
    Cjt188(Cjt188Point),
    /// What an OSDP reader shows.
    Osdp(OsdpPoint),
    /// In the state of a UHPPOTE controller.
    Uhppote(Field),
    /// Wired to the box itself: no protocol is spoken.
    Own {
        /// What its values are made of.
        kind: Kind,
        /// True for what the box drives.
        writable: bool,
    },
}

/// The protocols that a device can speak. Each has a folder of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Modbus, in the framing of its bus.
    #[default]
    Modbus,
    /// DL/T 645, in one of its editions.
    Dlt645(Edition),
    /// CJ/T 188, in one of its editions.
    Cjt188(cjt188::Edition),
    /// OSDP, the protocol of card readers.
    Osdp,
    /// UHPPOTE controllers for doors, over UDP.
    Uhppote,
}

/// The names of the protocols in profiles and site files.
pub const PROTOCOLS: [(&str, Protocol); 7] = [
    ("modbus", Protocol::Modbus),
    ("dlt645-2007", Protocol::Dlt645(Edition::V2007)),
    ("dlt645-1997", Protocol::Dlt645(Edition::V1997)),
    ("cjt188-2004", Protocol::Cjt188(cjt188::Edition::V2004)),
    ("cjt188-2018", Protocol::Cjt188(cjt188::Edition::V2018)),
    ("osdp", Protocol::Osdp),
    ("uhppote", Protocol::Uhppote),
];

impl Protocol {
    /// The name in profiles and site files.
    pub fn as_str(self) -> &'static str {
        PROTOCOLS.iter().find(|(_, protocol)| *protocol == self).map_or("", |(name, _)| name)
    }
}

impl PointSpec {
    /// What the point's values are made of.
    pub fn kind(&self) -> Kind {
        match &self.place {
            Place::Modbus(point) => point.kind(),
            Place::Dlt645(point) => point.kind(),
            Place::Cjt188(point) => point.kind(),
            Place::Osdp(point) => point.kind(),
            Place::Uhppote(field) => field.kind(),
            Place::Own { kind, .. } => *kind,
        }
    }

    /// True if a person or a rule may write it.
    pub fn is_writable(&self) -> bool {
        match &self.place {
            Place::Modbus(point) => point.write.is_some(),
            Place::Dlt645(_) | Place::Cjt188(_) | Place::Uhppote(_) => false,
            Place::Osdp(point) => point.is_writable(),
            Place::Own { writable, .. } => *writable,
        }
    }

    /// True if it shows who was at a reader, or what was typed there: it is not recorded.
    pub fn is_personal(&self) -> bool {
        self.osdp().is_some_and(OsdpPoint::is_personal)
    }

    /// The registers or coils of a point of a Modbus device.
    pub fn modbus(&self) -> Option<&ModbusPoint> {
        match &self.place {
            Place::Modbus(point) => Some(point),
            Place::Dlt645(_) | Place::Cjt188(_) | Place::Osdp(_) | Place::Uhppote(_) | Place::Own { .. } => None,
        }
    }

    /// Where a point of a DL/T 645 meter lies.
    pub fn dlt645(&self) -> Option<&Dlt645Point> {
        match &self.place {
            Place::Modbus(_) | Place::Cjt188(_) | Place::Osdp(_) | Place::Uhppote(_) | Place::Own { .. } => None,
            Place::Dlt645(point) => Some(point),
        }
    }

    /// Where a point of a CJ/T 188 meter lies.
    pub fn cjt188(&self) -> Option<&Cjt188Point> {
        match &self.place {
            Place::Cjt188(point) => Some(point),
            Place::Modbus(_) | Place::Dlt645(_) | Place::Osdp(_) | Place::Uhppote(_) | Place::Own { .. } => None,
        }
    }

    /// What of an OSDP reader the point is.
    pub fn osdp(&self) -> Option<OsdpPoint> {
        match &self.place {
            Place::Osdp(point) => Some(*point),
            Place::Modbus(_) | Place::Dlt645(_) | Place::Cjt188(_) | Place::Uhppote(_) | Place::Own { .. } => None,
        }
    }

    /// What of a UHPPOTE controller's state a point is.
    pub fn uhppote(&self) -> Option<Field> {
        match &self.place {
            Place::Uhppote(field) => Some(*field),
            Place::Modbus(_) | Place::Dlt645(_) | Place::Cjt188(_) | Place::Osdp(_) | Place::Own { .. } => None,
        }
    }
}
