//! What the box's own contacts, relays and climate sensor are wired to: `[box]` of the site file, checked.

use std::path::PathBuf;
use std::time::Duration;

use gatehouse_core::Name;
use gatehouse_firmware_bridge::Layout;
use gatehouse_firmware_bridge::contact::Filter;
use gatehouse_firmware_bridge::relay::AtRestart;

/// The box's own device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxIoSettings {
    /// Digital inputs, at most 64; what is beyond is left out.
    pub contacts: Vec<ContactSettings>,
    /// Relay outputs, at most 64; what is beyond is left out.
    pub relays: Vec<RelaySettings>,
    /// The temperature and humidity sensor, if there is one.
    pub climate: Option<ClimateSettings>,
    /// From one full sample to the next, at least 1 s. Changes are told at once, whatever the interval.
    pub interval: Duration,
}

/// One line of a GPIO chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioLine {
    /// The chip, such as `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The line within the chip, from 0.
    pub offset: u32,
    /// True when a low voltage means active: usual for contacts to ground and for relay boards with opto-couplers.
    pub active_low: bool,
}

/// The resistor that the chip itself puts on an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Bias {
    /// As the board's own settings say.
    #[default]
    AsIs,
    /// None.
    Disabled,
    /// To the supply: for a contact to ground.
    PullUp,
    /// To ground: for a contact to the supply.
    PullDown,
}

/// One digital input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactSettings {
    /// The point's name.
    pub name: Name,
    /// Where it is wired.
    pub line: GpioLine,
    /// The chip's resistor.
    pub bias: Bias,
    /// How long a level must last before it counts.
    pub filter: Filter,
}

/// What drives a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayOutput {
    /// A line of a GPIO chip. Its pulses are timed by the daemon.
    Gpio(GpioLine),
    /// An output that the board describes as a LED, such as `/sys/class/leds/relay1`. Its pulses are timed by the
    /// kernel (trigger `oneshot`) and end whatever happens to the daemon.
    Led(PathBuf),
}

/// One relay output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// The point's name.
    pub name: Name,
    /// What drives it.
    pub output: RelayOutput,
    /// What becomes of it when the daemon starts and stops.
    pub at_restart: AtRestart,
}

/// An SHT3x sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClimateSettings {
    /// Its bus, such as `/dev/i2c-1`.
    pub bus: PathBuf,
    /// Its address: 0x44 or 0x45.
    pub address: u8,
    /// From one measurement to the next, at least 1 s.
    pub interval: Duration,
}

impl RelaySettings {
    /// True where a crash in the middle of a pulse would leave it on for ever, so that it takes none: see
    /// `gatehouse_firmware_bridge::relay`.
    pub fn refuses_pulses(&self) -> bool {
        self.at_restart == AtRestart::Keep && matches!(self.output, RelayOutput::Gpio(_))
    }
}

impl BoxIoSettings {
    /// The same, with names that share no memory with these.
    pub(crate) fn detached(mut self) -> Self {
        for contact in &mut self.contacts {
            contact.name = contact.name.detached();
        }
        for relay in &mut self.relays {
            relay.name = relay.name.detached();
        }
        self
    }

    /// What the pure device consists of.
    pub fn layout(&self) -> Layout {
        Layout {
            contacts: self.contacts.iter().map(|contact| contact.filter).collect(),
            relays: self.relays.iter().map(|relay| relay.at_restart).collect(),
            climate: self.climate.is_some(),
            interval: self.interval,
        }
    }
}
