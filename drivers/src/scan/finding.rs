//! What was found.

use std::fmt;

use crate::cjt188::{self, DiOrder, MeterType};
use crate::dlt645::{self, Edition};
use crate::line::settings::Characters;
use crate::point::Protocol;

/// Something that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A device, heard twice alike.
    Found(Found),
    /// An address at which two devices answer: one of them must be given another.
    Clash(Clash),
}

/// Whom one asks, as the site file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Station {
    /// A unit: 1 to 247, on a socket 0 to 255.
    Modbus(u8),
    /// A meter's number.
    Dlt645(Edition, dlt645::Address),
    /// A water, heat or gas meter's number.
    Cjt188 {
        /// What kind it is.
        meter_type: MeterType,
        /// Its number.
        address: cjt188::Address,
        /// How it wants identifiers.
        order: DiOrder,
    },
    /// A reader: 0 to 126.
    Osdp {
        /// Its address.
        address: u8,
        /// False for one that knows checksums only.
        crc: bool,
    },
    /// A controller's serial number.
    Uhppote(u32),
}

impl Station {
    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        match self {
            Station::Modbus(_) => Protocol::Modbus,
            Station::Dlt645(edition, _) => Protocol::Dlt645(*edition),
            Station::Cjt188 { .. } => Protocol::Cjt188(cjt188::Edition::V2004),
            Station::Osdp { .. } => Protocol::Osdp,
            Station::Uhppote(_) => Protocol::Uhppote,
        }
    }
}

impl fmt::Display for Station {
    /// Writes the address alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Station::Modbus(unit) => unit.fmt(f),
            Station::Dlt645(_, address) => address.fmt(f),
            Station::Cjt188 { address, .. } => address.fmt(f),
            Station::Osdp { address, .. } => address.fmt(f),
            Station::Uhppote(serial) => serial.fmt(f),
        }
    }
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whom one asks.
    pub station: Station,
    /// The line settings at which it answered; `None`: on a socket.
    pub characters: Option<Characters>,
    /// What it says of itself, by the names of the objects.
    pub identity: Vec<(String, String)>,
    /// Which model it is.
    pub model: Model,
    /// A Modbus unit that has a value in holding register 0, by which it was found; false for all others.
    pub has_register: bool,
}

/// Which model a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// The scan was broken off before it was asked for that.
    NotAsked,
    /// The profile of this name suits, and no other.
    Known(&'static str),
    /// Several profiles suit alike: registers alone do not tell them apart.
    OneOf(Vec<&'static str>),
    /// No profile suits.
    Unknown,
}

/// Several devices at one address, or at one wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The address; of a [`ClashSign::Crowd`] the wildcard.
    pub station: Station,
    /// The line settings; `None`: on a socket.
    pub characters: Option<Characters>,
    /// How it shows.
    pub sign: ClashSign,
}

/// How several devices at one address show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClashSign {
    /// Answers come at the right time, but garbled again and again.
    Garbled,
    /// One question had two answers, one after the other.
    Twice,
    /// The same question was answered now so, now otherwise.
    Differ,
    /// Several meters answer a wildcard, and no narrower one tells them apart.
    Crowd,
}

impl Clash {
    /// What it is, in a few words.
    pub fn in_short(&self) -> &'static str {
        match (self.sign, self.station) {
            (ClashSign::Crowd, _) => "several meters, not told apart",
            (ClashSign::Garbled | ClashSign::Twice | ClashSign::Differ, Station::Uhppote(_)) => {
                "two controllers with this number"
            }
            (
                ClashSign::Garbled | ClashSign::Twice | ClashSign::Differ,
                Station::Modbus(_) | Station::Dlt645(..) | Station::Cjt188 { .. } | Station::Osdp { .. },
            ) => "two devices at this address",
        }
    }
}

impl fmt::Display for Clash {
    /// Writes what it is and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, station) = (self.station.protocol().as_str(), self.station);
        let how = match self.sign {
            ClashSign::Crowd => {
                return write!(
                    f,
                    "several meters answer at {protocol} address {station} at once, and no narrower question tells them \
                     apart. Connect them one by one, and scan each"
                );
            }
            ClashSign::Garbled => "their answers garble each other",
            ClashSign::Twice => "one question has two answers",
            ClashSign::Differ => "the same question is answered in two ways",
        };
        write!(
            f,
            "two devices answer at {protocol} address {station}: {how}. Take one off the line, give the other a free \
             address, and scan again"
        )
    }
}
