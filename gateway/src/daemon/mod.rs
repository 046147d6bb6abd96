//! The daemon: wires the pure crates to ports, clocks, disk, broker and people.
//!
//! [`run`] starts everything and holds the main loop; [`bus`] runs one bus; [`hub`] turns its output into records;
//! [`reload`] applies a changed site file; [`report`] answers what people and metrics ask.

pub mod bus;
pub mod clock;
pub mod command;
pub mod device;
pub mod direct;
pub mod hub;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod outbox;
pub mod port;
pub mod reload;
pub mod report;
pub mod run;
pub mod systemd;
pub mod timer;

use std::path::Path;

use gatehouse_config::Site;
use gatehouse_drivers::profile::Library;

/// Loads a site file; on failure gives all its problems as text.
///
/// # Errors
/// The problems, as `gatehouse check` shows them.
pub fn load(path: &Path) -> Result<Site, String> {
    let loaded = gatehouse_config::load(path, &Library::new()).map_err(|problems| problems.to_string())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.site)
}
