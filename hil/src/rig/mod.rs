//! What a run needs beside the devices: broker, link, the gateway as a child process, and its site file.

mod broker;
mod child;
mod gateway;
mod proxy;
mod site_file;

pub use broker::{Broker, BrokerKind};
pub use child::Child;
pub use gateway::{
    AccessStatus, AlarmStatus, Api, BusStatus, CommandEnd, Decided, DeviceStatus, GateStatus, Gateway, LaneStatus,
    ModeStatus, Presented, SpoolStatus, Status, TicketStatus, UplinkStatus, binary,
};
pub use proxy::{Link, Proxy, Traffic};
pub use site_file::SiteFile;

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;

/// A port of 127.0.0.1 that is free now.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}
