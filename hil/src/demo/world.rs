//! Everything that runs during a demo, and the hands that break it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::books::Books;
use super::core::{Core, RESIDENTS, Secrets};
use super::script::Script;
use super::site::{DOOR, ENTRY, GATES, Latest, Role, Site};
use super::traffic::{Caller, Traffic};
use super::watch::Watch;
use crate::receive::{SharedTally, Subscriber};
use crate::rig::{Broker, Decided, Gateway, Link, Proxy, SiteFile, Status, binary};

/// How often the gateway is asked how it is.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long the gateway may take until its socket answers.
const START: Duration = Duration::from_secs(10);
/// One reply in so many is spoiled while a line is noisy.
const NOISE_EVERY: u32 = 5;
/// What happened, as many entries as the picture has lines for.
const KEPT_EVENTS: usize = 50;
/// How often somebody tries to end a fire release.
const RESETS: u32 = 20;
/// The site's id towards the core.
const SITE: &str = "demo";
/// The device whose supply surges.
pub(super) const SURGING: &str = "meter-101";

/// The running demo.
pub(super) struct World {
    // Dropped in this order: the gateway before what it talks to, the folders last.
    pub(super) gateway: Gateway,
    pub(super) traffic: Traffic,
    asker: Option<JoinHandle<()>>,
    stop_asking: Arc<AtomicBool>,
    pub(super) site: Site,
    pub(super) proxy: Proxy,
    pub(super) tally: SharedTally,
    pub(super) books: Books,
    _subscriber: Subscriber,
    _core: Core,
    broker: Broker,
    pub(super) latest: Latest,
    told: Arc<Mutex<(Status, Decided)>>,
    watch: Watch,
    pub(super) began: Instant,
    /// What happened, with the time since the beginning; the last entries.
    pub(super) events: VecDeque<(Duration, String)>,
    /// How many entries there were in all.
    pub(super) noted: usize,
    /// Position of the device that is silent.
    pub(super) silenced: Option<usize>,
    /// Whether the supply of a meter surges.
    pub(super) surging: bool,
    /// Whether it burns.
    pub(super) burning: bool,
    pub(super) marks: Marks,
    interrupted: Arc<AtomicBool>,
    folder: tempfile::TempDir,
    _memory: tempfile::TempDir,
}

/// What the faults of the run left behind, for the summary.
#[derive(Debug, Clone, Default)]
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
    /// Tickets that were open while the link was down, with the alarms that they are for.
    pub(super) tickets_in_outage: BTreeMap<u64, String>,
    /// Alarms that stood while the link was down.
    pub(super) alarms_in_outage: BTreeSet<String>,
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
        let books = Books::default();
        let judge = Box::new(site.judge(latest.clone(), books.clone()));
        let subscriber = Subscriber::start(broker.v4, "gatehouse/#", judge)?;
        wait_for("the receiver's subscription", START, || subscriber.subscribed() > 0)?;
        let secrets = Secrets::make(folder.path(), SITE, &GATES.map(|(gate, ..)| gate), &site.reader_key)?;
        let mut file = SiteFile::new(SITE, folder.path(), memory.path(), proxy.address, "");
        site.describe(&mut file, &secrets);
        let core = Core::start(broker.v4, SITE, secrets)?;
        let (path, log) = (file.write()?, folder.path().join("gateway.log"));
        let gateway = Gateway::start(&binary, &path, &file.socket(), &log)?;
        let doorway = site.doorway().context("the site has no door")?;
        let traffic = Traffic::start(gateway.api.clone(), site.lanes(), doorway)?;
        let mut world = World {
            gateway,
            traffic,
            asker: None,
            stop_asking: Arc::default(),
            site,
            proxy,
            tally: subscriber.tally.clone(),
            books,
            _subscriber: subscriber,
            _core: core,
            broker,
            latest,
            told: Arc::default(),
            watch: Watch::default(),
            began: Instant::now(),
            events: VecDeque::new(),
            noted: 0,
            silenced: None,
            surging: false,
            burning: false,
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
        let (api, told, stop) = (self.gateway.api.clone(), self.told.clone(), self.stop_asking.clone());
        let ask = move || {
            while !stop.load(Relaxed) {
                if let (Ok(status), Ok(decided)) = (api.status(), api.decided()) {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = (status, decided);
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
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// What it said last of what it decides.
    pub(super) fn decided(&self) -> Decided {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Asks the gateway now.
    pub(super) fn fresh_status(&self) -> Option<Status> {
        self.gateway.api.status().ok()
    }

    /// The script of a demo with an end; without one, cars and people come by themselves.
    pub(super) fn script(&self, run_for: Option<Duration>) -> Option<Script> {
        self.traffic.by_itself.store(run_for.is_none(), Relaxed);
        run_for.map(Script::new)
    }

    /// Where the broker listens and how to watch it.
    pub(super) fn greeting(&self) -> String {
        let port = self.broker.v4.port();
        format!(
            "the site runs: {} devices, {} of them meters; {} gates for {RESIDENTS} residents\n\
             the broker listens on 127.0.0.1:{port} (MQTT 3.1.1) and 127.0.0.1:{} (MQTT 5); watch it with\n\n    {}\n\n\
             site file, log and data: {}",
            self.site.devices.len(),
            self.site.devices.iter().filter(|device| device.role == Role::Meter).count(),
            GATES.len(),
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
        let (decided, down) = (self.decided(), status.uplink.as_ref().is_some_and(|uplink| uplink.state != "up"));
        if self.proxy.link() != Link::Up && down {
            let open = decided.tickets.iter().filter(|ticket| ticket.is_open());
            self.marks.tickets_in_outage.extend(open.map(|ticket| (ticket.ticket, ticket.cause.clone())));
            let active = decided.alarms.iter().filter(|alarm| alarm.active);
            self.marks.alarms_in_outage.extend(active.map(|alarm| alarm.alarm.clone()));
        }
        let notes = self.traffic.notes().into_iter().chain(self.watch.changes(&decided));
        notes.collect::<Vec<String>>().into_iter().for_each(|text| self.note(text));
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
        self.traffic.cut_off.store(link != Link::Up, Relaxed);
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

    /// Has the supply of a meter rise, or fall to where it was.
    pub(super) fn set_surge(&mut self, surging: bool) {
        if let Some(device) = self.site.devices.iter().find(|device| device.id == SURGING) {
            self.site.set_surge(device, surging);
        }
        self.surging = surging;
        self.note(if surging {
            format!("{SURGING}: the supply is 12 % too high")
        } else {
            format!("{SURGING}: the supply is right")
        });
    }

    /// Sends somebody to a gate.
    pub(super) fn call(&self, gate: &'static str, caller: Caller) {
        self.traffic.call(gate, caller);
    }

    /// Sends a car without a plate to the entry, where the guard opens.
    pub(super) fn call_guest(&self) {
        self.call(ENTRY, Caller::Guest);
    }

    /// Sends a resident with a card to the door.
    pub(super) fn call_card(&self) {
        self.call(DOOR, Caller::Resident(fastrand::u32(1..=RESIDENTS)));
    }

    /// Closes the fire panel's contact; or opens it, and has somebody on the spot end the release.
    pub(super) fn set_fire(&mut self, burns: bool) {
        self.site.set_fire(burns);
        self.burning = burns;
        self.note(if burns { "the fire panel reports a fire" } else { "the fire is out; the guard resets the gates" });
        if burns {
            return;
        }
        let api = self.gateway.api.clone();
        let reset = move || {
            for (gate, ..) in GATES {
                // A release ends once its contact is seen to be open: a moment later, at most.
                for _ in 0..RESETS {
                    let ended = api.command(&format!("gate:{gate}"), "reset_fire", "guard.wang");
                    if ended.is_ok_and(|end| end.outcome == "verified") {
                        break;
                    }
                    std::thread::sleep(ASK_EVERY);
                }
            }
        };
        // Without a thread the release stands, as it would without a guard.
        let _ = std::thread::Builder::new().name("guard".into()).spawn(reset);
    }

    /// The entries from number `from` on, as far as they are still kept.
    pub(super) fn events_since(&self, from: usize) -> impl Iterator<Item = &(Duration, String)> {
        self.events.iter().skip(from.saturating_sub(self.noted - self.events.len()))
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.events.back().is_some_and(|(_, last)| *last == text) {
            return;
        }
        if self.events.len() >= KEPT_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((self.began.elapsed(), text));
        self.noted += 1;
    }

    /// Mends everything that was broken.
    pub(super) fn heal(&mut self) {
        if self.proxy.link() != Link::Up {
            self.set_link(Link::Up);
        }
        if self.silenced.is_some() {
            self.silence(None);
        }
        if self.surging {
            self.set_surge(false);
        }
        if self.burning {
            self.set_fire(false);
        }
        self.traffic.by_itself.store(false, Relaxed);
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
