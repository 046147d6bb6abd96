//! The box's own contacts, relays and chips, through embedded-hal 1.0 traits.
//!
//! Levels, registers and time go in, words of the core crate come out. Nothing here opens a device node or knows which
//! board it runs on; the shell hands in pins and buses (`linux-embedded-hal` on a real box, a mock in tests). Start with
//! [`device`], which makes contacts and relays a device like any other; each chip is one module.

pub mod climate;
pub mod contact;
pub mod device;
pub mod ds3231;
pub mod relay;
pub mod sht3x;

pub use device::{BoxDevice, Command, CommandResult, EdgeInput, Layout, Output};
pub use ds3231::{Ds3231, Ds3231Error, RtcReading};
pub use relay::{Opening, PulseOutput};
