//! What a site will cost before it runs: the load of its buses and the bytes of its link.
//!
//! `docs/site-file.md` has the method in words.

mod link;
mod load;

pub use link::{Assumptions, LinkForecast, link};
pub use load::{BusForecast, Changes, DeviceForecast, RequestForecast, bus};
