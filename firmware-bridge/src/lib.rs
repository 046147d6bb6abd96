//! The box's own chips, through embedded-hal 1.0 traits.
//!
//! Each chip is one module: registers in, words of the core crate out. Nothing here opens a device node or knows which
//! board it runs on; the shell hands in a bus (`linux-embedded-hal` on a real box, a mock in tests). Start with
//! [`ds3231`].

pub mod ds3231;

pub use ds3231::{Ds3231, Ds3231Error, RtcReading};
