//! The registers that a guess looks at: whose they are, and how they are read.

use std::path::{Path, PathBuf};

use gatehouse_config::{Bus, Device, Site, Station};
use gatehouse_core::{NoData, RegisterRow, RegisterTable};
use gatehouse_drivers::modbus::guess::REGISTERS_MOST;
use gatehouse_drivers::profile::Library;

use super::Args;
use crate::api::client::{self, ClientError};
use crate::api::doc;
use crate::api::server::RegistersBody;
use crate::cli::{Failure, check_device_id, exit};
use crate::daemon::device::nearest;
use crate::daemon::direct;

/// What was read: the registers in a row, of which the one in question has `before` others before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) table: RegisterTable,
    pub(super) first: u16,
    pub(super) before: u16,
    pub(super) words: Vec<u16>,
}

/// The device that is meant.
pub(super) struct Meant<'s> {
    pub(super) bus: &'s Bus,
    pub(super) device: Device,
    /// It is one of the site file; else it is a unit of a bus that has no device there yet.
    pub(super) is_of_site: bool,
}

/// Finds the device that is meant.
pub(super) fn find<'s>(site: &'s Site, id: &str) -> anyhow::Result<Meant<'s>> {
    let of_site = |bus, device: &Device| Meant { bus, device: device.clone(), is_of_site: true };
    let Some((bus, unit)) = id.split_once('/') else {
        check_device_id(id)?;
        return direct::find(site, id).map(|(bus, device)| of_site(bus, device));
    };
    let wrong = |what: String| Failure::error(exit::USAGE, what);
    let place = site.buses.iter().position(|known| known.id == *bus);
    let place = place.ok_or_else(|| {
        let hint = nearest(bus, site.buses.iter().map(|bus| bus.id.as_str()));
        wrong(format!("the site has no bus {bus:?}{hint}"))
    })?;
    let unit: u8 =
        unit.parse().map_err(|_| wrong(format!("{unit:?} is no unit: write BUS/UNIT, for example {bus}/7")))?;
    let is_unit = |device: &Device| matches!(&device.station, Station::Modbus(modbus) if modbus.unit == unit);
    if let Some((_, known)) = site.devices_on(place).find(|(_, device)| is_unit(device)) {
        return Ok(of_site(&site.buses[place], known));
    }
    let mut device = made_up()?;
    device.bus = Some(place);
    if let Station::Modbus(station) = &mut device.station {
        station.unit = unit;
    }
    Ok(Meant { bus: &site.buses[place], device, is_of_site: false })
}

/// A device of which nothing is known, as a site file would have it.
fn made_up() -> anyhow::Result<Device> {
    const TEXT: &str = "[site]\nid = \"guess\"\n[[bus]]\nid = \"bus\"\ntcp = \"127.0.0.1\"\n[[device]]\nid = \"guess\"\nunit = 1\n\
                        [[device.point]]\nname = \"r\"\ntable = \"holding\"\naddress = 0\ntype = \"u16\"\n";
    let checked = gatehouse_config::check("guess.toml", TEXT, Path::new(""), &Library::new());
    let loaded = checked.map_err(|problems| Failure::error(exit::UNEXPECTED, problems.to_string()))?;
    let device = loaded.site.devices.first().map(|device| (**device).clone());
    device.ok_or_else(|| Failure::error(exit::UNEXPECTED, "a device without a device"))
}

/// How registers are read.
pub(super) enum Way<'s> {
    /// By the running daemon, in a turn of the device's line.
    Daemon {
        socket: PathBuf,
        device: String,
        /// The unit that it has by the site file, which the daemon may know otherwise.
        unit: u8,
    },
    /// By opening the port.
    Direct(&'s Bus, &'s Device),
}

/// Through the running daemon, or directly when none runs.
pub(super) async fn way<'s>(args: &Args, meant: &'s Meant<'_>, unit: u8) -> anyhow::Result<Way<'s>> {
    let socket = args.at.socket();
    match client::call(&socket, "/api/v1/status", None).await {
        Ok(_) if meant.is_of_site => Ok(Way::Daemon { socket, device: meant.device.id.to_string(), unit }),
        Ok(_) => {
            let text = format!(
                "{} is no device of the site file, and the daemon has the port. Add it there with one point (type = \"u16\" \
                 will do), `gatehouse reload`, and guess again; or stop the daemon, and the register is read directly",
                args.device
            );
            Err(Failure::error(exit::DEVICE, text))
        }
        Err(ClientError::NoDaemon(_)) => Ok(Way::Direct(meant.bus, &meant.device)),
        Err(error) => Err(error.into()),
    }
}

/// Why there is no register.
pub(super) enum Lack {
    /// The device is silent, also when it is asked for this register alone.
    NoAnswer,
    /// The reason, as the daemon has it.
    Refused(String),
}

/// What is read beside a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// Its neighbours, as far as the device gives them.
    All,
    /// Nothing: the device was silent at another table, and most likely is here.
    Nothing,
}

/// Reads the register with as many of its neighbours as the device gives: a device refuses a read of which it has not all,
/// and some are silent then. Says why when it gives not even the register itself.
pub(super) async fn read(
    way: &Way<'_>,
    table: RegisterTable,
    address: u16,
    around: Around,
) -> anyhow::Result<Result<Row, Lack>> {
    let mut rows = match around {
        Around::All => vec![(0, 0), (0, 1), (0, REGISTERS_MOST - 1), (address.min(1), REGISTERS_MOST - 1)],
        Around::Nothing => vec![(0, 0)],
    };
    rows.dedup();
    let mut lack = Lack::NoAnswer;
    while let Some((before, behind)) = rows.pop() {
        let first = address.saturating_sub(before);
        let last = address.saturating_add(behind);
        let Some(row) = RegisterRow::new(table, first, last - first + 1) else { continue };
        let answer = ask(way, row).await?;
        match answer.missing {
            None if answer.registers.len() == usize::from(row.count()) => {
                return Ok(Ok(Row { table, first, before: address - first, words: answer.registers }));
            }
            None => lack = Lack::Refused(NoData::BadReply.to_string()),
            Some(why) if why == NoData::Timeout.to_string() => {
                lack = Lack::NoAnswer;
                rows.truncate(1);
            }
            Some(why) => lack = Lack::Refused(why),
        }
    }
    Ok(Err(lack))
}

async fn ask(way: &Way<'_>, row: RegisterRow) -> anyhow::Result<doc::RegistersAnswer> {
    match way {
        Way::Daemon { socket, device, unit } => {
            let path = format!("/api/v1/devices/{device}/registers");
            let table = row.table().as_str().to_owned();
            let body = RegistersBody { table, first: row.first(), count: row.count(), unit: Some(*unit) };
            let answer = client::call(socket, &path, Some(serde_json::to_value(body)?)).await?;
            Ok(serde_json::from_value(answer)?)
        }
        Way::Direct(bus, device) => direct::registers(bus, device, row).await,
    }
}

/// Why a device gave nothing, for people.
pub(super) fn in_words(reason: &str) -> String {
    let exception = reason.strip_prefix("exception_").and_then(|code| code.parse::<u8>().ok());
    match (exception, reason) {
        (Some(1), _) => "the device has no such function (exception 1)".to_owned(),
        (Some(2), _) => "the device has none there (exception 2)".to_owned(),
        (Some(code), _) => format!("the device refuses (exception {code})"),
        (None, "bad_reply") => {
            "answers that are damaged: look at the wiring, or whether two devices have the address".to_owned()
        }
        (None, other) => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        let text = "[site]\nid = \"box\"\n[[bus]]\nid = \"riser\"\ntcp = \"127.0.0.1:1\"\n[[device]]\nid = \"meter\"\nunit = 3\n\
                    profile = \"eastron-sdm120\"\n[[device]]\nid = \"guess\"\nunit = 5\nprofile = \"eastron-sdm120\"\n";
        gatehouse_config::check("site.toml", text, Path::new(""), &Library::new()).unwrap().site
    }

    #[test]
    fn a_unit_that_is_a_device_of_the_site_is_that_device() {
        let site = site();
        let known = find(&site, "riser/3").unwrap();
        assert!(known.device.id == *"meter" && known.is_of_site);
        let unknown = find(&site, "riser/4").unwrap();
        assert!(!unknown.is_of_site, "be it that a device has the name of the made up one");
        assert!(matches!(&unknown.device.station, Station::Modbus(station) if station.unit == 4));
        let why = find(&site, "rise/3").err().map(|why| why.to_string()).unwrap();
        assert_eq!(why, "the site has no bus \"rise\": did you mean \"riser\"?");
    }

    #[test]
    fn why_there_is_no_register_is_told_in_words() {
        assert_eq!(in_words("exception_2"), "the device has none there (exception 2)");
        assert_eq!(in_words("exception_4"), "the device refuses (exception 4)");
        assert_eq!(in_words("bus_down"), "bus_down");
    }
}
