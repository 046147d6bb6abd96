//! Start, main loop and stop.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatehouse_config::{Device, Site};
use gatehouse_core::{DeviceIx, Lane, Mono, Trust, Wall};
use gatehouse_rules::words::Mode;
use gatehouse_store::{Batch, CommitTicket, LastStop, OpenReport, Store, StoreEvent};
use gatehouse_uplink::{BudgetUse, UplinkEvent, UplinkHandle};
use sd_notify::NotifyState;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::bus::{self, BusHandle};
use super::clock::{self, Clock, Offer, Source};
use super::credentials::Intake;
use super::device::DeviceRuntime;
use super::effector::{Route, Way};
use super::hub::Hub;
use super::outbox::StoreOutbox;
use super::own_device::OwnDevice;
use super::reader_keys::{Held, ReaderKeys, secrets};
use super::rekey::Rekey;
use super::reloaded::{Asked, Unwritten};
use super::report::SiteInventory;
use super::setup::Prepared;
use super::{lines, systemd};
use crate::api::{Ask, Desk, server};
use crate::cli::{Failure, exit};

/// How often clocks, loads and the watchdog are looked at.
const TICK: Duration = Duration::from_secs(2);
/// How long a stop waits for what is on its way to the core.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often the day's use of the telemetry budget is kept: a crash forgets at most this much of it.
const KEEP_BUDGET: Duration = Duration::from_secs(1800);
/// Where it is kept.
const BUDGET_KEY: &[u8] = b"uplink/budget";
/// Where the latest time is kept that the clock was known to have passed.
const KNOWN_PAST_KEY: &[u8] = b"clock/known-past";
/// How often that is renewed: it only has to tell which certificates have surely expired.
const KEEP_KNOWN_PAST: Duration = Duration::from_secs(6 * 3600);
/// How often the box's disk, memory, temperature and credentials are looked at: several times within the minute after which
/// they are an alarm, so that no alarm is made of one look.
const SEE_HEALTH: Duration = Duration::from_secs(15);
/// Bus load is measured over this time.
const LOAD_WINDOW: Duration = Duration::from_secs(60);

/// A bus at run time.
pub struct BusRuntime {
    /// The task.
    pub handle: BusHandle,
    /// Its devices, in the order of the site file.
    pub devices: Vec<DeviceIx>,
    busy: VecDeque<(Mono, Duration)>,
    /// When it began.
    pub(super) began: Mono,
    /// What its readers that have a key go by.
    pub(super) readers: BTreeMap<DeviceIx, Held>,
    /// Whether another master asks on it, as the engine was told last.
    pub(super) foreign_master: Option<bool>,
}

impl BusRuntime {
    /// Busy share of the line over the last minute, 0 to 1.
    pub fn load(&self, now: Mono) -> f64 {
        let busy = self.handle.line.borrow().stats().busy;
        let Some((since, before)) = self.busy.front() else { return 0.0 };
        let passed = now.since(*since).as_secs_f64();
        if passed <= 0.0 { 0.0 } else { (busy.saturating_sub(*before).as_secs_f64() / passed).min(1.0) }
    }

    fn tick(&mut self, now: Mono) {
        let busy = self.handle.line.borrow().stats().busy;
        self.busy.push_back((now, busy));
        while self.busy.front().is_some_and(|(at, _)| now.since(*at) > LOAD_WINDOW) {
            self.busy.pop_front();
        }
    }
}

/// The running daemon.
pub struct Daemon {
    /// The site file.
    pub path: PathBuf,
    /// What it said when it was last loaded.
    pub site: Rc<Site>,
    /// Shared state of the buses.
    pub hub: Rc<Hub>,
    /// Buses, in the order of the site file.
    pub buses: Vec<BusRuntime>,
    /// The box's own contacts, if it has any.
    pub own: Option<OwnDevice>,
    /// The link, if there is one.
    pub uplink: Option<UplinkHandle>,
    /// When the daemon started.
    pub started: Mono,
    /// Whether points are polled as they are while the site is cut off.
    pub(super) cut_off: bool,
    /// Whether the link was up when last heard of.
    pub link_up: bool,
    /// Why `/metrics` and `/health` are not served, if they are to be.
    pub http_trouble: Arc<Mutex<Option<String>>>,
    /// Where credentials of the core are handed in, if the site has any.
    pub(super) intake: Option<Intake>,
    /// Why credentials cannot be used since the start; `""` for nothing.
    pub(super) credentials_trouble: String,
    pub(super) health_seen: Mono,
    /// The newest number of each lane when the link came up: what is older and not taken yet is owed.
    pub(super) owed_up_to: [u64; Lane::ALL.len()],
    budget_kept: (Mono, BudgetUse),
    pub(super) durable: Option<CommitTicket>,
    known_past_kept: Mono,
    /// The keys that readers were given.
    pub(super) keys: ReaderKeys,
    /// Readers that are being given one.
    pub(super) rekeys: Vec<Rekey>,
    /// The last time when they were sealed anew.
    pub(super) sealed_anew: Option<CommitTicket>,
    /// A reload that waits for the disk.
    pub(super) unwritten: Option<Unwritten>,
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// What could not be started, with its exit code.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let site = crate::cli::load_site(path)?;
    // One thread: everything shares state without locks. Names of brokers and devices resolve on helper threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, async move {
        let (mut daemon, inputs) = start(path, site).await?;
        daemon.turn(inputs).await
    });
    // A resolver that hangs must not hold up the exit.
    runtime.shutdown_background();
    result
}

/// What the main loop listens to.
struct Inputs {
    asks: mpsc::Receiver<Ask>,
    store_wake: Arc<Notify>,
    signals: Signals,
}

/// The signals that mean something to the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn start(path: &Path, site: Site) -> anyhow::Result<(Daemon, Inputs)> {
    let clock = Rc::new(Clock::open());
    super::rtc::start(&clock, site.clock.rtc.as_deref());
    let started = clock.mono();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), site = %site.id, config = %path.display(), "starting");
    // People's doors first: a socket in use means another daemon, before anything is touched.
    let socket = server::bind_socket(&site.api.socket).map_err(|e| Failure::error(exit::UNEXPECTED, e.to_string()))?;
    let signals = Signals::new()?;
    let store_wake = Arc::new(Notify::new());
    let waker = store_wake.clone();
    let (store, opened) = Store::open(site.store.clone(), clock.now(), Arc::new(move || waker.notify_one()))
        .map_err(|e| Failure::error(exit::STORE, e.to_string()))?;
    let Prepared { engine, key, trouble } = super::setup::engine(&site, &store, 0);
    let keys = ReaderKeys::load(&store);
    let cut_off = engine.mode() != Mode::Online;
    let store = Rc::new(RefCell::new(store));
    let hub = Rc::new(Hub::new(clock, store, engine, store_wake.clone()));
    tell_opened(&hub, &opened);

    let mut daemon = Daemon {
        path: path.to_owned(),
        intake: key.map(|key| Intake::spawn(hub.clone(), &site.store.dir, key)),
        credentials_trouble: trouble,
        site: Rc::new(site),
        hub,
        buses: Vec::new(),
        own: None,
        uplink: None,
        started,
        cut_off,
        link_up: false,
        http_trouble: Arc::default(),
        health_seen: started,
        owed_up_to: [0; Lane::ALL.len()],
        budget_kept: (started, BudgetUse::default()),
        durable: None,
        known_past_kept: started,
        keys,
        rekeys: Vec::new(),
        sealed_anew: None,
        unwritten: None,
    };
    daemon.open_reader_keys();
    daemon.resume_rekeys();
    daemon.look_at_clock();
    daemon.start_uplink();
    daemon.buses = (0..daemon.site.buses.len()).filter_map(|at| daemon.start_bus(at, started)).collect();
    daemon.start_own();
    daemon.set_routes();
    daemon.hub.start_engine();
    daemon.look_at_health();
    let (desk, asks) = Desk::new();
    tokio::spawn(server::serve_api(socket, desk.clone(), daemon.site.api.operators.clone()));
    if let Some(addr) = daemon.site.http {
        tokio::spawn(server::serve_http(addr, desk, daemon.http_trouble.clone()));
    }
    daemon
        .hub
        .audit("started", &json!({ "version": env!("CARGO_PKG_VERSION"), "last_stop": last_stop(opened.last_stop) }));
    systemd::notify(&[NotifyState::Ready]);
    tracing::info!(buses = daemon.buses.len(), devices = daemon.site.devices.len(), "running");
    Ok((daemon, Inputs { asks, store_wake, signals }))
}

fn last_stop(stop: LastStop) -> &'static str {
    match stop {
        LastStop::First => "first",
        LastStop::Clean => "clean",
        LastStop::Killed => "killed",
        LastStop::PowerCut => "power_cut",
    }
}

fn tell_opened(hub: &Hub, opened: &OpenReport) {
    if let Some(aside) = &opened.journal_set_aside {
        tracing::error!(aside = %aside.display(), "the journal could not be opened and was put aside; a fresh one goes on");
    }
    for file in &opened.quarantined {
        tracing::error!(file = %file.display(), "damaged records were put aside");
    }
    for file in &opened.foreign {
        tracing::warn!(file = %file.display(), "a file in the data folder is not the store's; it is left alone");
    }
    for (lane, first, last, why) in &opened.gaps {
        tracing::warn!(lane = %lane, first, last, reason = why, "a gap record accounts for missing numbers");
    }
    if opened.new_epoch && opened.last_stop != LastStop::First {
        tracing::error!("every copy of the sequence was lost: a new epoch begins");
        hub.audit("new_epoch", &json!({}));
    }
}

impl Daemon {
    /// Starts the task of the bus at this position, with fresh devices. A reply to what was asked before may still come
    /// until `late_until`; nobody can tell what an earlier process asked, so that a serial line is listened to first.
    pub fn start_bus(&self, position: usize, late_until: Mono) -> Option<BusRuntime> {
        let bus = self.site.buses.get(position)?;
        let now = self.hub.clock.mono();
        let here: Vec<_> = self.site.devices_on(position).collect();
        let added = here.iter().map(|(place, device)| {
            self.hub.add(DeviceRuntime::new((*place, Arc::clone(device)), Some(bus.id.clone())))
        });
        let devices: Vec<DeviceIx> = added.collect();
        let on_line = devices.iter().copied().zip(here.iter().map(|(_, device)| &***device));
        let readers: BTreeMap<DeviceIx, Held> =
            on_line.clone().filter_map(|(ix, device)| Some((ix, self.keys.held(device)?))).collect();
        let secrets = |ix: DeviceIx, device: &Device| secrets(readers.get(&ix), device);
        let line = lines::line((position, bus), on_line, fastrand::u64(..), secrets, (self.started, now));
        let quiet_until = late_until.max(now + bus.line.timeout_ceiling);
        let port = (bus.id.as_str(), bus.port.clone());
        let handle = bus::spawn(port, line, quiet_until, self.hub.clone(), self.hub.clock.clone());
        let (busy, foreign_master) = (VecDeque::new(), None);
        let mut runtime = BusRuntime { handle, devices, busy, began: now, readers, foreign_master };
        runtime.tick(now);
        self.set_intervals(&runtime);
        Some(runtime)
    }

    /// All devices at run time.
    pub(super) fn indexes(&self) -> impl Iterator<Item = DeviceIx> {
        self.buses.iter().flat_map(|bus| bus.devices.iter().copied()).chain(self.own.iter().map(|own| own.device))
    }

    /// Where commands to a device go.
    pub(super) fn way(&self, device: DeviceIx) -> Option<Way> {
        if let Some(own) = self.own.as_ref().filter(|own| own.device == device) {
            return Some(Way::Own(own.io.commands()));
        }
        let bus = self.buses.iter().find(|bus| bus.devices.contains(&device))?;
        Some(Way::Bus(bus.handle.commands(), Rc::downgrade(&bus.handle.line)))
    }

    /// Tells the hub how each device is reached.
    pub fn set_routes(&self) {
        let mut routes = vec![None; self.site.devices.len()];
        for device in self.indexes() {
            let place = self.hub.with(device, |device| device.place).and_then(|place| usize::try_from(place.0).ok());
            if let Some(slot) = place.and_then(|place| routes.get_mut(place)) {
                *slot = self.way(device).map(|way| Route { device, way });
            }
        }
        self.hub.set_routes(routes);
    }

    /// Starts the link to the core, if the site file names one.
    pub fn start_uplink(&mut self) {
        self.uplink = self.uplink_settings().map(|settings| {
            let outbox = Rc::new(RefCell::new(StoreOutbox(self.hub.store.clone())));
            let clock = self.hub.clock.clone();
            let inventory = Rc::new(SiteInventory(self.site.clone()));
            gatehouse_uplink::spawn_local(settings, outbox, inventory, Rc::new(move || clock.now()))
        });
        self.hub.set_uplink(self.uplink.clone());
        // Without a link records wait as they do while it is down: with few writes to the flash.
        let now = self.hub.clock.mono();
        self.hub.store.borrow_mut().handle_link(now, false);
        let kept = self.hub.store.borrow().state(BUDGET_KEY);
        if let (Some(uplink), Some(used)) = (&self.uplink, kept.and_then(|text| decode_budget(&text))) {
            uplink.restore_budget(used);
        }
    }

    /// The site file's settings of the link, with what the box knows of the past.
    pub fn uplink_settings(&self) -> Option<gatehouse_uplink::Settings> {
        let mut settings = self.site.uplink.clone()?;
        let kept = self.hub.store.borrow().state(KNOWN_PAST_KEY);
        let kept = kept.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).map(Wall);
        settings.known_past = settings.known_past.max(clock::built()).max(kept.unwrap_or_default());
        Some(settings)
    }

    /// Keeps the time as one that has certainly passed, if a time source or the core vouches for it.
    fn keep_known_past(&mut self) {
        let now = self.hub.clock.now();
        self.known_past_kept = now.mono;
        let by_core = self.hub.clock.offered().is_some_and(|offer| offer.source == Source::Core);
        if now.trust == Trust::Synchronised || by_core {
            self.put_state(KNOWN_PAST_KEY, now.wall.0.to_string());
        }
    }

    /// Sets a small piece of state.
    fn put_state(&self, key: &[u8], value: String) {
        let batch = Batch { state: vec![(key.into(), Some(value.into_bytes().into()))], events: Vec::new() };
        let committed = self.hub.store.borrow_mut().commit(batch);
        if let Err(e) = committed {
            tracing::error!(error = %e, "state could not be kept");
        }
    }

    /// Keeps the day's use of the telemetry budget, if there is a budget and it was used.
    fn keep_budget(&mut self, now: Mono) {
        let limited = self.site.uplink.as_ref().is_some_and(|u| u.daily_telemetry_bytes.is_some());
        let Some(used) = self.uplink.as_ref().filter(|_| limited).map(|u| u.status().budget) else { return };
        if used == self.budget_kept.1 {
            return;
        }
        self.budget_kept = (now, used);
        self.put_state(BUDGET_KEY, format!("{} {}", used.day, used.bytes));
    }

    async fn turn(&mut self, mut inputs: Inputs) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(systemd::watchdog_interval().map_or(TICK, |w| w.min(TICK)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let (store_due, engine_due) = (self.store_due(), self.engine_due());
            tokio::select! {
                Some(ask) = inputs.asks.recv() => self.answer(ask),
                () = inputs.store_wake.notified() => {}
                () = tokio::time::sleep_until(store_due) => {
                    let now = self.hub.clock.mono();
                    self.hub.store.borrow_mut().handle_timeout(now);
                }
                () = tokio::time::sleep_until(engine_due) => self.hub.handle_engine_timeout(),
                event = next_event(self.uplink.as_ref()) => self.on_uplink(event),
                _ = tick.tick() => self.on_tick(),
                _ = inputs.signals.hangup.recv() => self.on_hangup(),
                _ = inputs.signals.terminate.recv() => break,
                _ = inputs.signals.interrupt.recv() => break,
            }
            self.drain_store();
            self.tell_reloaded();
            self.follow_mode();
        }
        // Who still asks is told that the daemon is stopping.
        drop(inputs.asks);
        self.stop(&inputs.store_wake).await
    }

    /// When the store wants to be woken; far away when it does not.
    fn store_due(&self) -> Instant {
        self.instant(self.hub.arm_store())
    }

    /// When the engine wants to be woken; far away when it does not.
    fn engine_due(&self) -> Instant {
        self.instant(self.hub.engine_due())
    }

    fn instant(&self, due: Option<Mono>) -> Instant {
        let now = self.hub.clock.mono();
        Instant::now() + due.map_or(Duration::from_secs(3600), |due| now.until(due))
    }

    /// Acts on what the store says; gives the last ticket that became durable.
    fn drain_store(&mut self) -> Option<CommitTicket> {
        loop {
            let event = self.hub.store.borrow_mut().poll_event();
            match event {
                None => break,
                Some(StoreEvent::Sendable { lane, .. }) => self.hub.sendable(lane),
                Some(StoreEvent::Committed(ticket)) => self.durable = Some(ticket),
                Some(StoreEvent::Trouble(trouble)) => {
                    tracing::error!(kind = trouble.kind.as_str(), text = trouble.text, "the store is in trouble");
                    self.hub.audit("store_trouble", &json!({ "kind": trouble.kind.as_str(), "text": trouble.text }));
                }
                Some(StoreEvent::Recovered(kind)) => tracing::info!(kind = kind.as_str(), "the store has recovered"),
            }
        }
        if let Some(ticket) = self.durable {
            self.hub.handle_durable(ticket);
        }
        self.durable
    }

    fn on_tick(&mut self) {
        let now = self.hub.clock.mono();
        for bus in &mut self.buses {
            bus.tick(now);
        }
        self.look_at_clock();
        self.tell_backlog();
        self.tell_ports();
        self.tell_foreign_masters(now);
        self.advance_rekeys(now);
        self.drop_old_readings();
        if now.since(self.health_seen) >= SEE_HEALTH || self.own.as_mut().is_some_and(OwnDevice::has_news) {
            self.look_at_health();
        }
        if now.since(self.budget_kept.0) >= KEEP_BUDGET {
            self.keep_budget(now);
        }
        if now.since(self.known_past_kept) >= KEEP_KNOWN_PAST {
            self.keep_known_past();
        }
        systemd::notify(&[NotifyState::Watchdog]);
    }

    /// Stores and tells a changed relation of the clocks, so that earlier stamps can be mended.
    fn look_at_clock(&mut self) {
        let Some(change) = self.hub.clock.poll_change() else { return };
        let trust = change.stamp.trust;
        let offset = gatehouse_store::ClockOffset { boot: change.stamp.boot, offset_us: change.offset_us, trust };
        let kept = self.hub.store.borrow_mut().put_clock_offset(offset);
        if let Err(e) = kept {
            tracing::error!(error = %e, "the clock's offset could not be stored; it is tried again at the next change");
        }
        tracing::info!(trust = trust.as_str(), before = change.before.as_str(), step_us = change.step_us, "clock");
        let fields = json!({
            "trust": trust.as_str(), "before": change.before.as_str(), "step_us": change.step_us,
            "boot": change.stamp.boot.to_string(), "offset_us": change.offset_us,
            "source": change.offer.map_or("box", |offer| offer.source.as_str()),
            "accuracy_ms": change.offer.map(|offer| offer.accuracy.as_millis()),
        });
        self.hub.audit("clock_set", &fields);
        self.keep_known_past();
        self.hub.decide(|engine, now| engine.handle_clock(now));
    }

    fn on_uplink(&mut self, event: UplinkEvent) {
        let now = self.hub.clock.mono();
        match event {
            UplinkEvent::LinkUp { broker } => {
                self.link_up = true;
                self.owed_up_to = Lane::ALL.map(|lane| self.hub.store.borrow().newest(lane));
                self.hub.decide(|engine, now| engine.handle_link(now, true));
                self.hub.store.borrow_mut().handle_link(now, true);
                self.hub.audit("link", &json!({ "up": true, "broker": broker }));
            }
            UplinkEvent::LinkDown { broker, fault } => {
                self.hub.store.borrow_mut().handle_link(now, false);
                self.hub.decide(|engine, now| engine.handle_link(now, false));
                if std::mem::take(&mut self.link_up) {
                    self.hub.audit("link", &json!({ "up": false, "broker": broker, "fault": fault.code() }));
                }
            }
            UplinkEvent::TimeOffer { wall, accuracy, authentic, received } => {
                let wanted = self.site.clock.core_time != gatehouse_config::CoreTime::Never;
                if wanted && authentic && wall > clock::built() {
                    let late = i64::try_from(now.since(received).as_micros()).unwrap_or(0);
                    self.hub.clock.offer(Wall(wall.0 + late), Offer { source: Source::Core, accuracy });
                    self.look_at_clock();
                }
            }
            UplinkEvent::Message(message) => self.on_message(message),
            UplinkEvent::SubscriptionRefused { topic } => {
                self.hub.audit("subscription_refused", &json!({ "topic": topic }));
            }
            UplinkEvent::LaneBlocked { lane, reason, message } => {
                tracing::error!(lane = %lane, reason, text = message, "the broker holds up a lane");
                self.hub.audit("lane_blocked", &json!({ "lane": lane.as_str(), "reason": reason }));
            }
            UplinkEvent::LaneFreed { lane } => {
                tracing::info!(lane = %lane, "the lane moves again");
                self.hub.audit("lane_freed", &json!({ "lane": lane.as_str() }));
            }
            UplinkEvent::RecordRefused { lane, seq, message } => {
                tracing::error!(lane = %lane, seq, text = message, "a record was refused and put aside");
                self.hub.audit("record_refused", &json!({ "lane": lane.as_str(), "seq": seq, "why": message }));
                self.hub.sendable(lane);
            }
            UplinkEvent::BudgetExhausted { bytes } => {
                tracing::warn!(bytes, "the day's telemetry budget is used up; telemetry waits in the spool");
                self.hub.audit("budget_exhausted", &json!({ "bytes": bytes }));
            }
        }
    }

    fn on_hangup(&mut self) {
        systemd::notify(&[NotifyState::Reloading]);
        self.reload(Asked::Signal);
    }

    async fn stop(&mut self, store_wake: &Notify) -> anyhow::Result<()> {
        systemd::notify(&[NotifyState::Stopping]);
        tracing::info!("stopping");
        self.buses.clear();
        // The tasks of the buses end when they are next polled; commands get their outcome into the audit trail by it.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        if let Some(own) = self.own.take() {
            own.io.stop().await;
        }
        let ticket = self.hub.audit("stopping", &json!({}));
        let durable = async {
            while self.drain_store() < ticket {
                store_wake.notified().await;
            }
        };
        // A disk that hangs must not keep the rest from stopping in order.
        let _ = tokio::time::timeout(DRAIN, durable).await;
        self.tell_reloaded();
        if let Some(uplink) = &self.uplink {
            let _ = tokio::time::timeout(2 * DRAIN, uplink.drain(DRAIN)).await;
        }
        let now = self.hub.clock.mono();
        self.keep_budget(now);
        self.keep_known_past();
        self.hub.store.borrow_mut().shutdown(now).map_err(|e| Failure::error(exit::STORE, e.to_string()))?;
        let _ = std::fs::remove_file(&self.site.api.socket);
        let held: u64 =
            Lane::ALL.iter().map(|lane| u64::from(self.hub.store.borrow().next_unacked(*lane, 0).is_some())).sum();
        tracing::info!(lanes_holding = held, "stopped");
        Ok(())
    }
}

/// The link's next event; never ready without a link.
async fn next_event(uplink: Option<&UplinkHandle>) -> UplinkEvent {
    match uplink {
        Some(uplink) => uplink.next_event().await,
        None => std::future::pending().await,
    }
}

/// Reads back what [`Daemon::keep_budget`] wrote; anything else is as if nothing had been kept.
fn decode_budget(value: &[u8]) -> Option<BudgetUse> {
    let (day, bytes) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some(BudgetUse { day: day.parse().ok()?, bytes: bytes.parse().ok()? })
}
