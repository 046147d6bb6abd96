//! The daemon: wires the pure crates to ports, clocks, disk, broker and people.
//!
//! [`run`] starts everything and holds the main loop; [`bus`] runs one bus; [`hub`] turns its output into records;
//! `reload` applies a changed site file; [`report`] answers what people and metrics ask.

pub mod box_io;
pub mod bus;
pub mod clock;
pub mod command;
mod credentials;
pub mod decide;
pub mod decided;
pub mod device;
pub mod direct;
pub mod effector;
mod entrance;
pub mod health;
pub mod hub;
mod inbox;
pub mod lines;
mod load;
pub mod log;
pub mod memory;
pub mod meters;
pub mod metrics;
pub mod outbox;
pub mod own_device;
mod polling;
pub mod port;
pub mod reader_keys;
mod rekey;
mod reload;
mod reloaded;
pub mod report;
pub mod rtc;
pub mod run;
pub mod setup;
mod standing;
pub mod systemd;
pub mod timer;
mod watch;
mod wire;

use std::path::Path;

use gatehouse_config::Site;
use gatehouse_drivers::profile::Library;

/// Loads a site file; on failure gives all its problems as text.
///
/// Reading takes many times the memory of what is read, in pieces that lie between it. So it is done on a thread, whose
/// memory is its own; what stays is a copy, and the rest is given back.
///
/// # Errors
/// The problems, as `gatehouse check` shows them.
pub fn load(path: &Path) -> Result<Site, String> {
    let loaded = std::thread::scope(|scope| {
        let read = || gatehouse_config::load(path, &Library::new()).map_err(|problems| problems.to_string());
        scope.spawn(read).join().unwrap_or_else(|_| Err(format!("{}: the reader failed", path.display())))
    })?;
    for warning in &loaded.warnings {
        let (line, column) = warning.position();
        tracing::warn!(code = warning.code, "{}:{line}:{column}: {}", warning.file(), warning.message);
    }
    let site = loaded.site.detached();
    drop(loaded);
    memory::give_back();
    Ok(site)
}
