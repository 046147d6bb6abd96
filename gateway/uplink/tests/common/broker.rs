//! Debian's mosquitto as the broker, and a receiver behind it that plays the core.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use gatehouse_core::{BootId, Lane, Mono, Stamp, Trust, Wall};
use gatehouse_uplink::payload::open;
use gatehouse_uplink::schema::RecordsMessage;
use gatehouse_uplink::{Clock, Inventory, Settings, UplinkEvent, UplinkHandle, spawn_local};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use rustix::process::{Pid, Signal, kill_process};

use super::MemoryOutbox;

const MOSQUITTO: &str = "/usr/sbin/mosquitto";
/// Nothing here takes a fraction of it; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// True when there is no mosquitto here, which is said.
pub(crate) fn without_mosquitto() -> bool {
    let missing = !Path::new(MOSQUITTO).exists();
    if missing {
        eprintln!("skipped: {MOSQUITTO} is not installed");
    }
    missing
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One mosquitto on a loopback port; killed when dropped.
pub(crate) struct Mosquitto {
    child: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Mosquitto {
    /// Starts it with a plain listener and more lines of configuration, in which `$DIR` is its folder.
    pub(crate) fn start(more: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), more)
    }

    /// Starts it in a folder that has files already.
    pub(crate) fn start_in(folder: tempfile::TempDir, more: &str) -> Self {
        let port = free_port();
        let dir = folder.path().display().to_string();
        let config = format!(
            "per_listener_settings true\nmax_queued_messages 0\nlog_type all\nlog_dest file {dir}/log\n\
             user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n{}\n",
            more.replace("$DIR", &dir)
        );
        fs::write(folder.path().join("conf"), config).unwrap();
        let mut broker = Mosquitto { child: Self::spawn(folder.path()), folder, port };
        broker.wait_for_port();
        broker
    }

    fn spawn(folder: &Path) -> Child {
        let errors = File::create(folder.join("errors")).unwrap();
        let mut command = Command::new(MOSQUITTO);
        command.arg("-c").arg(folder.join("conf")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        command.spawn().unwrap()
    }

    fn wait_for_port(&mut self) {
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let gone = self.child.try_wait().unwrap();
            assert!(gone.is_none() && began.elapsed() < PATIENCE, "mosquitto does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("log") + &read("errors")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = Self::spawn(self.folder.path());
        self.wait_for_port();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the receiver has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) records: BTreeSet<(Lane, u64)>,
    pub(crate) duplicates: usize,
    pub(crate) out_of_order: usize,
    pub(crate) live: usize,
    last: BTreeMap<String, u64>,
    /// The last payload of each other topic, by the part behind the box.
    pub(crate) other: BTreeMap<String, Vec<u8>>,
    pub(crate) connects: usize,
}

impl Seen {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        let rest = topic.strip_prefix("gatehouse/v1/box-1/").unwrap().to_owned();
        let Some((lane, stream)) = rest.split_once('/').filter(|(lane, _)| Lane::from_name(lane).is_some()) else {
            self.other.insert(rest, payload.to_vec());
            return;
        };
        self.live += usize::from(stream == "live");
        let lane = Lane::from_name(lane).unwrap();
        let message: RecordsMessage = serde_json::from_slice(&open(payload, 1 << 20).unwrap()).unwrap();
        for record in message.records {
            let new = self.records.insert((lane, record.seq));
            self.duplicates += usize::from(!new);
            let before = self.last.get(&rest).copied().unwrap_or(0);
            self.out_of_order += usize::from(new && record.seq < before);
            self.last.insert(rest.clone(), record.seq.max(before));
        }
    }

    /// What a core would publish as its watermark.
    pub(crate) fn have(&self, lane: Lane) -> Vec<(u64, u64)> {
        let mut have: Vec<(u64, u64)> = Vec::new();
        for &(_, seq) in self.records.iter().filter(|(of, _)| *of == lane) {
            match have.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => have.push((seq, seq)),
            }
        }
        have
    }
}

/// A receiver by rumqttc's own event loop, subscribed to everything of the box.
pub(crate) struct Core {
    pub(crate) client: AsyncClient,
    pub(crate) seen: Rc<RefCell<Seen>>,
}

impl Core {
    pub(crate) fn start(port: u16) -> Core {
        let mut options = MqttOptions::new("core", "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut events) = AsyncClient::new(options, 64);
        let core = Core { client: client.clone(), seen: Rc::default() };
        let seen = core.seen.clone();
        tokio::task::spawn_local(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        client.try_subscribe("gatehouse/v1/box-1/#", QoS::AtLeastOnce).unwrap();
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => seen.borrow_mut().connects += 1,
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        seen.borrow_mut().take(&publish.topic, &publish.payload);
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        core
    }

    pub(crate) async fn publish(&self, rest: &str, payload: impl Into<Vec<u8>>) {
        let topic = format!("gatehouse/v1/box-1/{rest}");
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }
}

/// The machine's own clocks, synchronised.
pub(crate) fn clock() -> Stamp {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Stamp {
        boot: BootId(1),
        mono: Mono(u64::try_from(boot.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(boot.tv_nsec).unwrap()),
        wall: Wall(i64::try_from(wall.as_micros()).unwrap()),
        trust: Trust::Synchronised,
    }
}

/// The box: a store and its uplink.
pub(crate) struct Box1 {
    pub(crate) outbox: Rc<RefCell<MemoryOutbox>>,
    pub(crate) uplink: UplinkHandle,
    pub(crate) told: Vec<UplinkEvent>,
}

impl Box1 {
    pub(crate) fn start(settings: Settings, inventory: Inventory) -> Self {
        Self::start_at(settings, inventory, Rc::new(clock))
    }

    pub(crate) fn start_at(settings: Settings, inventory: Inventory, clock: Clock) -> Self {
        let outbox = Rc::new(RefCell::new(MemoryOutbox::default()));
        let uplink = spawn_local(settings, outbox.clone(), Rc::new(inventory), clock);
        Box1 { outbox, uplink, told: Vec::new() }
    }

    pub(crate) fn store(&self, lane: Lane, body: gatehouse_core::Body) {
        self.outbox.borrow_mut().store(lane, clock(), body);
        self.uplink.stored(lane);
    }

    /// Waits for an event, whatever else is told before.
    pub(crate) async fn event(&mut self, wanted: impl Fn(&UplinkEvent) -> bool) -> UplinkEvent {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.uplink.next_event()).await;
            let event = event.unwrap_or_else(|_| panic!("told only {:?}; {:?}", self.told, self.uplink.status()));
            self.told.push(event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn up(&mut self) {
        self.event(|event| matches!(event, UplinkEvent::LinkUp { .. })).await;
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An authority that signs certificates for the tests.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// Writes `<file>.crt` and `<file>.key` for a name, valid for the given years.
    pub(crate) fn issue(&self, dir: &Path, file: &str, name: &str, years: (i32, i32)) -> (PathBuf, PathBuf) {
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        fs::write(&paths.0, certificate.pem()).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}
