//! Everything that runs during a demo, and the hands that break it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::site::{Latest, Role, Site};
use crate::receive::{SharedTally, Subscriber};
use crate::rig::{Broker, Gateway, Link, Proxy, SiteFile, Status, binary};

/// How often the gateway is asked how it is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long the gateway may take until its socket answers.
const START: Duration = Duration::from_secs(10);
/// One reply in so many is spoiled while a line is noisy.
const NOISE_EVERY: u32 = 5;
/// What happened, as many entries as the picture has lines for.
const KEPT_EVENTS: usize = 50;

/// The running demo.
pub(super) struct World {
    // Dropped in this order: the gateway before what it talks to, the folders last.
    pub(super) gateway: Gateway,
    asker: Option<JoinHandle<()>>,
    stop_asking: Arc<AtomicBool>,
    pub(super) site: Site,
    pub(super) proxy: Proxy,
    pub(super) tally: SharedTally,
    _subscriber: Subscriber,
    broker: Broker,
    pub(super) latest: Latest,
    status: Arc<Mutex<Status>>,
    pub(super) began: Instant,
    /// What happened, with the time since the beginning.
    pub(super) events: Vec<(Duration, String)>,
    /// Position of the device that is silent.
    pub(super) silenced: Option<usize>,
    pub(super) marks: Marks,
    interrupted: Arc<AtomicBool>,
    folder: tempfile::TempDir,
    _memory: tempfile::TempDir,
}

/// What the faults of the run left behind, for the summary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// When the link was cut or frozen last.
    pub(super) cut: Option<Instant>,
    /// Most records that were held while it was.
    pub(super) most_held: u64,
    /// When it was mended last.
    pub(super) mended: Option<Instant>,
    /// From mending until nothing older was held any more.
    pub(super) drained: Option<Duration>,
    /// Whether the gateway called the silenced device offline or said why its points were missing.
    pub(super) silence_noticed: bool,
    /// Most devices that were online at a time.
    pub(super) most_online: usize,
}

impl World {
    /// Starts site, broker, link, receiver and gateway.
    pub(super) fn start(port: Option<u16>, gateway: Option<PathBuf>) -> anyhow::Result<Self> {
        let binary = binary(gateway)?;
        let folder = tempfile::Builder::new().prefix("gatehouse-demo-").tempdir()?;
        let in_memory = std::path::Path::new("/dev/shm");
        let builder = tempfile::Builder::new().prefix("gatehouse-demo-").to_owned();
        let memory = if in_memory.is_dir() { builder.tempdir_in(in_memory) } else { builder.tempdir() }?;
        let site = Site::start()?;
        let broker = Broker::embedded(port)?;
        let proxy = Proxy::start(broker.v5)?;
        let latest = Latest::default();
        let subscriber = Subscriber::start(broker.v4, "gatehouse/#", Box::new(site.judge(latest.clone())))?;
        wait_for("the receiver's subscription", START, || subscriber.subscribed() > 0)?;
        let mut file = SiteFile::new("demo", folder.path(), memory.path(), proxy.address, "");
        site.describe(&mut file);
        let (path, log) = (file.write()?, folder.path().join("gateway.log"));
        let gateway = Gateway::start(&binary, &path, &file.socket(), &log)?;
        let status = Arc::<Mutex<Status>>::default();
        let mut world = World {
            gateway,
            asker: None,
            stop_asking: Arc::default(),
            site,
            proxy,
            tally: subscriber.tally.clone(),
            _subscriber: subscriber,
            broker,
            latest,
            status,
            began: Instant::now(),
            events: Vec::new(),
            silenced: None,
            marks: Marks::default(),
            interrupted: catch_interrupts()?,
            folder,
            _memory: memory,
        };
        if let Err(error) = world.wait_for_gateway() {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let mut tail: Vec<&str> = log.lines().rev().take(20).collect();
            tail.reverse();
            return Err(error.context(format!("the gateway did not start; its last words:\n{}", tail.join("\n"))));
        }
        world.start_asking()?;
        world.began = Instant::now();
        Ok(world)
    }

    fn wait_for_gateway(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.gateway.ended() {
                bail!("it ended with {status}");
            }
            match self.gateway.api.status() {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn start_asking(&mut self) -> anyhow::Result<()> {
        let (api, status, stop) = (self.gateway.api.clone(), self.status.clone(), self.stop_asking.clone());
        let ask = move || {
            while !stop.load(Relaxed) {
                if let Ok(answer) = api.status() {
                    *status.lock().unwrap_or_else(PoisonError::into_inner) = answer;
                }
                std::thread::sleep(ASK_EVERY);
            }
        };
        self.asker = Some(std::thread::Builder::new().name("asker".into()).spawn(ask).context("no thread")?);
        Ok(())
    }

    /// Whether somebody wants the demo to end (SIGINT or SIGTERM).
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Relaxed)
    }

    /// What the gateway said of itself last.
    pub(super) fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the gateway now.
    pub(super) fn fresh_status(&self) -> Option<Status> {
        self.gateway.api.status().ok()
    }

    /// Where the broker listens and how to watch it.
    pub(super) fn greeting(&self) -> String {
        let port = self.broker.v4.port();
        format!(
            "the site runs: {} devices, {} of them meters\n\
             the broker listens on 127.0.0.1:{port} (MQTT 3.1.1) and 127.0.0.1:{} (MQTT 5); watch it with\n\n    {}\n\n\
             site file, log and data: {}",
            self.site.devices.len(),
            self.site.devices.iter().filter(|device| device.role == Role::Meter).count(),
            self.broker.v5.port(),
            self.watch_command(),
            self.folder.path().display()
        )
    }

    /// The command that shows every message.
    pub(super) fn watch_command(&self) -> String {
        format!("mosquitto_sub -h 127.0.0.1 -p {} -t 'gatehouse/#' -v", self.broker.v4.port())
    }

    /// Keeps the folder beyond the end.
    pub(super) fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_owned()
    }

    /// Takes note of what the gateway and the receiver say; to be called a few times a second.
    pub(super) fn observe(&mut self) {
        let status = self.status();
        let held: u64 = status.spool.lanes.iter().map(|lane| lane.held).sum();
        let online = status.devices.iter().filter(|device| device.state == "online").count();
        self.marks.most_online = self.marks.most_online.max(online);
        if self.proxy.link() != Link::Up {
            self.marks.most_held = self.marks.most_held.max(held);
        } else if let (Some(mended), None) = (self.marks.mended, self.marks.drained) {
            let up = status.uplink.as_ref().is_some_and(|uplink| uplink.state == "up");
            if up && held <= 5 {
                self.marks.drained = Some(mended.elapsed());
            }
        }
        let silenced = self.silenced.and_then(|at| self.site.devices.get(at)).map(|device| device.id);
        if let Some(id) = silenced {
            let offline = status.devices.iter().any(|device| device.id == id && device.state == "offline");
            let explained = self.latest.with(|latest| latest.get(id).is_some_and(|record| record.missing.is_some()));
            self.marks.silence_noticed |= offline || explained;
        }
        if let Some(status) = self.gateway.ended() {
            self.note(format!("the gateway ended: {status}"));
        }
    }

    /// Cuts, freezes or mends the link.
    pub(super) fn set_link(&mut self, link: Link) {
        self.proxy.set(link);
        match link {
            Link::Up => {
                (self.marks.mended, self.marks.drained) = (Some(Instant::now()), None);
                self.note("the link is mended");
            }
            Link::Cut => {
                self.marks.cut = Some(Instant::now());
                self.note("the link is cut");
            }
            Link::Frozen => {
                self.marks.cut = Some(Instant::now());
                self.note("the link is frozen: connections stay and carry nothing");
            }
        }
    }

    /// Silences the device at this position, and lets the one before answer again.
    pub(super) fn silence(&mut self, device: Option<usize>) {
        if let Some(before) = self.silenced.take().and_then(|at| self.site.devices.get(at)) {
            self.site.set_silent(before, false);
            let text = format!("{} answers again", before.id);
            self.note(text);
        }
        if let Some(device) = device.and_then(|at| self.site.devices.get(at)) {
            self.site.set_silent(device, true);
            let text = format!("{} is silent", device.id);
            self.note(text);
        }
        self.silenced = device;
    }

    /// Adds noise to a line or takes it away.
    pub(super) fn set_noise(&mut self, line: usize, noisy: bool) {
        let (id, line) = &self.site.lines[line];
        line.faults.noise_every.store(if noisy { NOISE_EVERY } else { 0 }, Relaxed);
        self.note(if noisy {
            format!("{id}: one reply in {NOISE_EVERY} is spoiled")
        } else {
            format!("{id} is clean")
        });
    }

    /// Whether a line is noisy.
    pub(super) fn is_noisy(&self, line: usize) -> bool {
        self.site.lines[line].1.faults.noise_every.load(Relaxed) != 0
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.events.last().is_some_and(|(_, last)| *last == text) {
            return;
        }
        if self.events.len() >= KEPT_EVENTS {
            self.events.remove(0);
        }
        self.events.push((self.began.elapsed(), text));
    }

    /// Mends everything that was broken.
    pub(super) fn heal(&mut self) {
        if self.proxy.link() != Link::Up {
            self.set_link(Link::Up);
        }
        if self.silenced.is_some() {
            self.silence(None);
        }
        for line in 0..self.site.lines.len() {
            if self.is_noisy(line) {
                self.set_noise(line, false);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_asking.store(true, Relaxed);
        if let Some(asker) = self.asker.take() {
            let _ = asker.join();
        }
    }
}

/// A flag that SIGINT and SIGTERM set in place of ending the process, so that the account is drawn up and folders go.
fn catch_interrupts() -> anyhow::Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::<AtomicBool>::default();
    let set = flag.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
                return;
            };
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            set.store(true, Relaxed);
        });
    })?;
    Ok(flag)
}

/// Waits until something holds.
pub(super) fn wait_for(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() > deadline {
            bail!("{what} did not come within {} s", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
