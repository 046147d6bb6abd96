//! The stage of one measure: broker, receiver and gateway around given slaves.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::Bench;
use super::identity::{Arrivals, IdentityJudge, device_id, point_name};
use super::process::Memory;
use crate::receive::{Subscriber, Tally};
use crate::rig::{Broker, BrokerKind, Gateway, Proxy, SiteFile};
use crate::slave::identity::{AnswerTimes, CLUSTER_STEP};

/// How long a thing may take that should come at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// The folders of one measure: on disk, and in memory for the tail.
pub(super) struct Folders {
    /// Site file, log and data.
    pub(super) disk: TempDir,
    /// The hot tail.
    pub(super) memory: TempDir,
}

impl Folders {
    pub(super) fn new() -> anyhow::Result<Self> {
        let builder = || tempfile::Builder::new().prefix("gatehouse-bench-").to_owned();
        let shm = Path::new("/dev/shm");
        let memory = if shm.is_dir() { builder().tempdir_in(shm) } else { builder().tempdir() }?;
        Ok(Folders { disk: builder().tempdir()?, memory })
    }
}

/// A running gateway between slaves and a receiver.
pub(super) struct Stage {
    // Dropped in this order: the gateway before what it talks to.
    pub(super) gateway: Gateway,
    pub(super) subscriber: Subscriber,
    pub(super) arrivals: Arrivals,
    pub(super) proxy: Option<Proxy>,
    pub(super) broker: Broker,
    binary: PathBuf,
    config: PathBuf,
    socket: PathBuf,
    /// From the gateway's start to the first delivered reading.
    pub(super) first_reading: Duration,
    pub(super) folders: Folders,
}

/// How a stage is set.
pub(super) struct Setting<'a> {
    /// When the answers of each device left, by the device's number.
    pub(super) times: Vec<Arc<AnswerTimes>>,
    /// Whether the way to the broker goes through a link that can be cut.
    pub(super) with_link: bool,
    /// Further lines of `[uplink]`.
    pub(super) uplink: &'a str,
    /// Adds buses and devices to the site file.
    pub(super) describe: &'a dyn Fn(&mut SiteFile),
}

impl Stage {
    /// Starts broker, receiver and gateway.
    pub(super) fn start(bench: &Bench, setting: Setting<'_>) -> anyhow::Result<Self> {
        let folders = Folders::new()?;
        let broker = Broker::best(folders.disk.path())?;
        let proxy = if setting.with_link { Some(Proxy::start(broker.v5)?) } else { None };
        let arrivals = Arrivals::default();
        let judge = IdentityJudge { times: setting.times, arrivals: arrivals.clone() };
        let subscriber = Subscriber::start(broker.v4, "gatehouse/#", Box::new(judge))?;
        wait_for("the receiver's subscription", || subscriber.subscribed() > 0)?;
        let way = proxy.as_ref().map_or(broker.v5, |proxy| proxy.address);
        let mut file = SiteFile::new("bench", folders.disk.path(), folders.memory.path(), way, setting.uplink);
        (setting.describe)(&mut file);
        let (config, socket) = (file.write()?, file.socket());
        let begin = Instant::now();
        let gateway = Gateway::start(bench.gateway()?, &config, &socket, &folders.disk.path().join("gateway.log"))?;
        let mut stage = Stage {
            gateway,
            subscriber,
            arrivals,
            proxy,
            broker,
            binary: bench.gateway()?.to_owned(),
            config,
            socket,
            first_reading: Duration::ZERO,
            folders,
        };
        stage.wait_for_values(1)?;
        stage.first_reading = begin.elapsed();
        Ok(stage)
    }

    /// Kills the gateway as a power cut would, and starts it again.
    pub(super) fn restart_gateway(&mut self) -> anyhow::Result<()> {
        self.gateway.kill();
        let log = self.folders.disk.path().join("gateway.log");
        self.gateway = Gateway::start(&self.binary, &self.config, &self.socket, &log)?;
        Ok(())
    }

    /// Waits until so many values have come.
    pub(super) fn wait_for_values(&mut self, values: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.subscriber.tally.with(|tally| tally.values) < values {
            if let Some(status) = self.gateway.ended() {
                bail!("the gateway ended with {status}; its last words:\n{}", self.last_words());
            }
            if Instant::now() > deadline {
                bail!("too few readings came; the gateway's last words:\n{}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folders.disk.path().join("gateway.log")).unwrap_or_default();
        let mut tail: Vec<&str> = log.lines().rev().take(8).collect();
        tail.reverse();
        tail.join("\n")
    }

    /// What has come.
    pub(super) fn tally(&self) -> Tally {
        self.subscriber.tally.with(|tally| tally.clone())
    }

    /// The gateway's memory.
    pub(super) fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.gateway.id())
    }

    /// The broker, for the table.
    pub(super) fn broker_name(&self) -> &'static str {
        match self.broker.kind() {
            BrokerKind::Rumqttd => "rumqttd (mosquitto is not installed)",
            BrokerKind::Mosquitto => "mosquitto",
        }
    }

    /// Where the broker listens, past any link.
    pub(super) fn broker_address(&self) -> SocketAddr {
        self.broker.v4
    }
}

/// Adds a device of `clusters` clusters of `points` floats to a site file, as [`crate::slave::identity::Identity`] is one.
pub(super) fn describe_device(
    file: &mut SiteFile,
    number: u32,
    bus: &str,
    unit: u8,
    interval: &str,
    shape: (u16, u16),
) {
    let (clusters, points) = shape;
    let mut more = String::with_capacity(usize::from(clusters * points) * 80);
    for point in 0..clusters * points {
        let name = point_name(u32::from(point));
        let address = point / points * CLUSTER_STEP + point % points * 2;
        // Writing to a String cannot fail.
        let _ = write!(
            more,
            "[[device.point]]\nname = {name:?}\ntable = \"holding\"\naddress = {address}\ntype = \"f32\"\n"
        );
    }
    file.device(&device_id(number), bus, unit, interval, &more);
}

/// Waits until something holds.
pub(super) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            bail!("{what} did not come within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// A unit address from a small number.
pub(super) fn unit(number: u32) -> anyhow::Result<u8> {
    u8::try_from(number + 1).context("too many units on one bus")
}
