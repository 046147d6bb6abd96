//! The core of the demo: it signs the residents' credentials, gives tickets their numbers, and closes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatehouse_rules::access::plate::Plate;
use gatehouse_rules::access::snapshot::FORMAT;
use gatehouse_rules::access::wiegand::Card;
use gatehouse_rules::access::{Change, Credential, CredentialId, CredentialKind, Header, LookupKey, Snapshot};
use gatehouse_rules::words::HolderClass;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};

use crate::sim_clock::wall_us;

/// Residents with a car.
pub(super) const RESIDENTS: u32 = 300;
/// The group of gates that they may pass.
const GROUP: &str = "garage";
/// The version of the one snapshot.
const VERSION: u64 = 1;
/// What the box has not confirmed is sent again after this time.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a snapshot is good, in seconds.
const GOOD_FOR_S: u32 = 86_400;

/// The facility code of the residents' cards, and their format.
const FACILITY: u32 = 12;
const CARDS: &str = "H10301-26";

/// A resident's card, as its reader sends it: how many bits, the first one highest in the first byte.
pub(super) fn card(resident: u32) -> (u16, [u8; 4]) {
    // Facility and number, and a bit of parity on each side: over each half the ones are even, then odd.
    let data = FACILITY << 16 | resident & 0xFFFF;
    let ones = |half: u32| (half & 0xFFF).count_ones();
    let (even, odd) = (ones(data >> 12) & 1, ones(data) & 1 ^ 1);
    (26, ((even << 25 | data << 1 | odd) << 6).to_be_bytes())
}

/// The name that a resident's credentials are held under.
pub(super) fn holder(resident: u32) -> String {
    format!("resident-{resident:03}")
}

/// The plate of a resident's car.
pub(super) fn plate(resident: u32) -> String {
    format!("沪A{:05}", 10_000 + resident * 7)
}

/// Keys and credentials, made for one run.
pub(super) struct Secrets {
    /// The lookup key's file.
    pub(super) lookup: PathBuf,
    /// The seal key's file.
    pub(super) seal: PathBuf,
    /// The file with the card reader's key.
    pub(super) reader: PathBuf,
    /// The core's public key, in base64.
    pub(super) public: String,
    /// The signed snapshot of all residents.
    snapshot: Vec<u8>,
}

impl Secrets {
    /// Makes keys, keeps those that the box needs as files in `folder`, with that of its card reader, and signs the
    /// residents' credentials.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(super) fn make(folder: &Path, site: &str, gates: &[&str], reader_key: &[u8; 16]) -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let failed = |_| anyhow!("the system gives no random bytes");
        let (mut lookup, mut seal) = ([0; 32], [0; 32]);
        random.fill(&mut lookup).map_err(failed)?;
        random.fill(&mut seal).map_err(failed)?;
        let document = Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?;
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|why| anyhow!("the core's key: {why}"))?;
        let paths = (folder.join("lookup.key"), folder.join("seal.key"), folder.join("reader.key"));
        write_secret(&paths.0, &lookup)?;
        write_secret(&paths.1, &seal)?;
        write_secret(&paths.2, reader_key)?;
        let public = STANDARD.encode(key.public_key().as_ref());
        let snapshot = sign(site, gates, &LookupKey::new(&lookup), &key);
        Ok(Secrets { lookup: paths.0, seal: paths.1, reader: paths.2, public, snapshot })
    }
}

fn write_secret(path: &Path, key: &[u8]) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file
        .as_mut()
        .map_err(|why| why.to_string())
        .and_then(|file| file.write_all(key).map_err(|why| why.to_string()));
    written.map_err(|why| anyhow!("cannot write {}: {why}", path.display()))
}

fn sign(site: &str, gates: &[&str], lookup: &LookupKey, key: &Ed25519KeyPair) -> Vec<u8> {
    let now = u32::try_from(wall_us() / 1_000_000).unwrap_or(u32::MAX - GOOD_FOR_S);
    let header = Header {
        format: FORMAT.to_owned(),
        site: site.to_owned(),
        lookup_key: lookup.id().to_owned(),
        version: VERSION,
        base_version: None,
        created: now,
        expires_at: now + GOOD_FOR_S,
        count: 0,
        groups: Some(BTreeMap::from([(GROUP.to_owned(), gates.iter().map(|gate| (*gate).to_owned()).collect())])),
        schedules: None,
        quotas: None,
    };
    let residents = (1..=RESIDENTS).flat_map(|resident| {
        let plate = Plate::read(&plate(resident)).map(|plate| lookup.plate(&plate));
        let held = Card { facility: Some(FACILITY), number: u64::from(resident) };
        let card = (CredentialKind::Card, lookup.card(CARDS, held));
        let both = plate.map(|plate| (CredentialKind::Plate, plate)).into_iter().chain([card]);
        both.map(move |(kind, id)| Change::Put(credential(resident, kind, id)))
    });
    Snapshot::sign(&header, residents, key)
}

fn credential(resident: u32, kind: CredentialKind, id: CredentialId) -> Credential {
    Credential {
        id,
        kind,
        who: holder(resident),
        class: HolderClass::Resident,
        household: format!("flat-{resident:03}"),
        gates: Vec::new(),
        groups: vec![GROUP.to_owned()],
        from: None,
        until: None,
        schedule: String::new(),
        flags: Vec::new(),
        number: None,
    }
}

/// The running core. It ends when dropped.
pub(super) struct Core {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Core {
    /// Connects to the broker, on the far side of the link that the demo cuts.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(broker: SocketAddr, site: &str, secrets: Secrets) -> anyhow::Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let ended = stop.clone();
        let desk = Desk::new(format!("gatehouse/v1/{site}"), &secrets.snapshot);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(serve(broker, desk, &ended));
        let thread =
            std::thread::Builder::new().name("core".into()).spawn(run).context("cannot start the core's thread")?;
        Ok(Core { stop, thread: Some(thread) })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(broker: SocketAddr, mut desk: Desk, stop: &AtomicBool) {
    let mut options = MqttOptions::new(format!("core-{}", std::process::id()), broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(60)).set_clean_session(true).set_max_packet_size(4 << 20, 4 << 20);
    let (client, mut events) = AsyncClient::new(options, 256);
    while !stop.load(Relaxed) {
        match tokio::time::timeout(Duration::from_millis(200), events.poll()).await {
            Err(_quiet) => {}
            Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                for topic in desk.topics() {
                    // The queue is empty right after a connect, so that this cannot fail for want of room.
                    let _ = client.try_subscribe(topic, QoS::AtLeastOnce);
                }
            }
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => desk.hear(&publish.topic, &publish.payload),
            Ok(Ok(_)) => {}
            Ok(Err(_gone)) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        for (topic, payload) in desk.due(Instant::now()) {
            // What finds no room is due again.
            let _ = client.try_publish(topic, QoS::AtLeastOnce, false, payload);
        }
    }
}

/// What the core wants of the box until it sees that it happened: by the name under which the box confirms it.
struct Desk {
    base: String,
    online: bool,
    wishes: BTreeMap<String, Wish>,
    /// The revisions of each ticket that were answered with an update.
    answered: BTreeMap<u64, BTreeSet<u64>>,
}

struct Wish {
    topic: &'static str,
    payload: Value,
    sent: Option<Instant>,
}

impl Desk {
    fn new(base: String, snapshot: &[u8]) -> Self {
        let payload = json!({ "v": 1, "id": "residents-1", "part": 1, "of": 1, "data": STANDARD.encode(snapshot) });
        let wish = Wish { topic: "credentials", payload, sent: None };
        Desk {
            base,
            online: false,
            wishes: BTreeMap::from([("credentials".to_owned(), wish)]),
            answered: BTreeMap::new(),
        }
    }

    fn topics(&self) -> [String; 5] {
        ["status", "audit/live", "audit/backfill", "tickets/live", "tickets/backfill"]
            .map(|topic| format!("{}/{topic}", self.base))
    }

    /// Takes a message of the box.
    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(payload) else { return };
        if topic.ends_with("/status") {
            self.online = message.get("state").and_then(Value::as_str) == Some("online");
            // What was sent over a link that broke may be gone: everything again.
            self.wishes.values_mut().for_each(|wish| wish.sent = None);
            return;
        }
        for record in message.get("records").and_then(Value::as_array).into_iter().flatten() {
            let (Some(event), Some(data)) = (record.get("event").and_then(Value::as_str), record.get("data")) else {
                continue;
            };
            match event {
                "credentials" if data.get("version").and_then(Value::as_u64) == Some(VERSION) => {
                    self.wishes.remove("credentials");
                }
                "ticket" => self.hear_ticket(data),
                _ => {}
            }
        }
    }

    fn hear_ticket(&mut self, data: &Value) {
        let text = |key| data.get(key).and_then(Value::as_str);
        let number = |key| data.get(key).and_then(Value::as_u64);
        let Some(ticket) = number("ticket") else { return };
        match text("change") {
            Some("opened" | "reopened") => {
                let more = json!({ "state": "accepted", "core_number": format!("WO-{}", 1000 + ticket), "assignee": "Li Wei" });
                self.update(ticket, number("box_rev"), more);
            }
            Some("close_proposed") => self.update(ticket, number("box_rev"), json!({ "state": "done" })),
            Some("updated") => {
                if let Some(id) = data.pointer("/update/id").and_then(Value::as_str) {
                    self.wishes.remove(id);
                }
            }
            _ => {}
        }
    }

    /// Wants a ticket changed; once, however often the box tells what it answers.
    fn update(&mut self, ticket: u64, seen: Option<u64>, mut payload: Value) {
        let Some(seen) = seen else { return };
        let answered = self.answered.entry(ticket).or_default();
        if !answered.insert(seen) {
            return;
        }
        let (id, rev) = (format!("ticket-{ticket}-{seen}"), answered.len());
        let named = [
            ("v", json!(1)),
            ("ticket", json!(ticket)),
            ("update", json!(id)),
            ("rev", json!(rev)),
            ("seen_box_rev", json!(seen)),
        ];
        for (key, value) in named {
            payload[key] = value;
        }
        self.wishes.insert(id, Wish { topic: "ticket", payload, sent: None });
    }

    /// What is to be sent now.
    fn due(&mut self, now: Instant) -> Vec<(String, String)> {
        if !self.online {
            return Vec::new();
        }
        let due = self.wishes.values_mut().filter(|wish| wish.sent.is_none_or(|sent| now - sent >= AGAIN));
        due.map(|wish| {
            wish.sent = Some(now);
            (format!("{}/{}", self.base, wish.topic), wish.payload.to_string())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_rules::access::Expected;

    use super::*;

    #[test]
    fn the_keys_are_for_their_owner_alone_and_the_snapshot_is_one_that_a_box_takes() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::make(folder.path(), "demo", &["garage-entry"], &[7; 16]).unwrap();
        for path in [&secrets.lookup, &secrets.seal, &secrets.reader] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let lookup: [u8; 32] = std::fs::read(&secrets.lookup).unwrap().try_into().unwrap();
        let key = STANDARD.decode(&secrets.public).unwrap().try_into().unwrap();
        let expected = Expected { keys: vec![key], site: "demo".to_owned(), lookup: LookupKey::new(&lookup) };
        let verified = Snapshot::verify(&secrets.snapshot, &expected).unwrap();
        assert_eq!(verified.header().count, 2 * RESIDENTS, "a plate and a card each");
    }

    #[test]
    fn a_resident_s_card_is_one_of_its_format() {
        use gatehouse_rules::access::wiegand::{Bits, Format};
        let [format, ..] = Format::built_in();
        for resident in [1, 17, RESIDENTS] {
            let (count, bytes) = card(resident);
            let bits = Bits::from_left_aligned(&bytes, usize::from(count)).unwrap();
            let read = format.decode(bits).unwrap();
            assert_eq!((read.facility, read.number), (Some(FACILITY), u64::from(resident)));
        }
    }

    fn tell(desk: &mut Desk, data: &Value) {
        let message = json!({ "records": [{ "seq": 1, "event": "ticket", "data": data }] });
        desk.hear("gatehouse/v1/demo/tickets/live", message.to_string().as_bytes());
    }

    #[test]
    fn wishes_are_sent_again_with_each_link_until_the_box_confirms_them() {
        let mut desk = Desk::new("gatehouse/v1/demo".to_owned(), b"signed");
        let now = Instant::now();
        assert!(desk.due(now).is_empty(), "the box is not there");
        let online = |desk: &mut Desk| desk.hear("gatehouse/v1/demo/status", br#"{"state":"online"}"#);
        online(&mut desk);
        assert_eq!(desk.due(now).len(), 1);
        assert!(desk.due(now).is_empty());
        online(&mut desk);
        assert_eq!(desk.due(now).len(), 1);
        desk.hear("gatehouse/v1/demo/audit/live", br#"{"records":[{"event":"credentials","data":{"version":1}}]}"#);
        assert!(desk.due(now + AGAIN).is_empty());
    }

    #[test]
    fn a_ticket_is_accepted_once_and_closed_when_the_box_proposes_it() {
        let mut desk = Desk::new("b".to_owned(), b"");
        desk.online = true;
        let _ = desk.due(Instant::now());
        for _ in 0..2 {
            tell(&mut desk, &json!({ "ticket": 4, "box_rev": 1, "change": "opened" }));
        }
        let due = desk.due(Instant::now());
        assert_eq!(due.len(), 1);
        let update: Value = serde_json::from_str(&due[0].1).unwrap();
        assert_eq!((update["rev"].as_u64(), update["state"].as_str()), (Some(1), Some("accepted")));
        tell(
            &mut desk,
            &json!({ "ticket": 4, "box_rev": 2, "change": "updated", "update": { "id": update["update"], "rev": 1 } }),
        );
        tell(&mut desk, &json!({ "ticket": 4, "box_rev": 3, "change": "close_proposed" }));
        tell(&mut desk, &json!({ "ticket": 4, "box_rev": 1, "change": "opened" }));
        let due = desk.due(Instant::now());
        let update: Value = serde_json::from_str(&due[0].1).unwrap();
        assert_eq!((due.len(), update["rev"].as_u64(), update["state"].as_str()), (1, Some(2), Some("done")));
    }
}
