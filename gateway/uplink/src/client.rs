//! The task that owns the link: it finds a broker, keeps the connection, and feeds the [`Session`].

mod incoming;
mod serve;

use std::collections::BTreeSet;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::connection::Connection;
use crate::fault::Fault;
use crate::handle::{Clock, Shared, SharedOutbox, UplinkHandle};
use crate::inventory::InventorySource;
use crate::packet::{Admission, Connect, Incoming};
use crate::publish::{self, InventoryMessages};
use crate::resolve::{Lookup, Resolver, system_lookup};
use crate::session::Session;
use crate::settings::{Broker, Settings};
use crate::status::{LinkState, UplinkEvent};
use crate::tls::{Dates, Tls};
use crate::topics::Topics;

/// The packet id of the one SUBSCRIBE of a link, above every window.
const SUBSCRIBE_ID: u16 = 60_000;
/// The least that a broker must allow as packet size.
const MIN_PACKET: u32 = 4096;
/// How long a time-only connection waits for an offer.
const TIME_OFFER_WAIT: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);
/// A connection that lived this long was useful: the next failure backs off from the start.
const USEFUL: Duration = Duration::from_secs(10);

/// Starts the uplink on the current `LocalSet`.
///
/// `clock` gives both clocks and the trust in them; `inventory` is asked for what changed whenever a link comes up.
///
/// # Panics
/// Outside a `LocalSet`.
pub fn spawn_local(
    settings: Settings,
    outbox: SharedOutbox,
    inventory: Rc<dyn InventorySource>,
    clock: Clock,
) -> UplinkHandle {
    spawn_with(settings, outbox, inventory, clock, system_lookup)
}

fn spawn_with(
    settings: Settings,
    outbox: SharedOutbox,
    inventory: Rc<dyn InventorySource>,
    clock: Clock,
    lookup: Lookup,
) -> UplinkHandle {
    let shared = Rc::new(Shared::default());
    shared.status.borrow_mut().since = clock().mono;
    let uplink = Uplink {
        topics: Topics::new(&settings),
        session: Session::new(settings.clone()),
        backoff: Backoff::new(settings.backoff, settings.brokers.len(), fastrand::u64(..)),
        resolver: Resolver::new(lookup),
        inventory: InventoryMessages::new(inventory),
        published_at: None,
        told: None,
        status_refused: false,
        mode: None,
        unsubscribed: BTreeSet::new(),
        shared: shared.clone(),
        scratch: Vec::new(),
        settings,
        outbox,
        clock,
    };
    tokio::task::spawn_local(uplink.run());
    UplinkHandle { shared }
}

/// Why a connection was left.
enum Ended {
    Fault(Fault),
    /// Asked for: new settings or new certificates.
    Reopen,
    /// A time-only connection brought the time.
    TimeCame,
    /// Drained, for good.
    Drained,
}

struct Uplink {
    settings: Settings,
    topics: Topics,
    session: Session,
    backoff: Backoff,
    resolver: Resolver,
    inventory: InventoryMessages,
    published_at: Option<Broker>,
    /// The trouble that was told last, while the link is down.
    told: Option<Fault>,
    status_refused: bool,
    /// How the site stands, as the status says it.
    mode: Option<&'static str>,
    /// Topics that the broker does not let the box subscribe to.
    unsubscribed: BTreeSet<String>,
    shared: Rc<Shared>,
    scratch: Vec<u8>,
    outbox: SharedOutbox,
    clock: Clock,
}

impl Uplink {
    async fn run(mut self) {
        loop {
            self.take_wishes();
            if self.shared.wishes.borrow().drain.is_some() {
                break;
            }
            let began = Instant::now();
            let (ended, connected) = self.attempt().await;
            self.session.handle_disconnected();
            let pause = match ended {
                Ended::Drained => break,
                Ended::Reopen => {
                    self.set_state(LinkState::Down);
                    continue;
                }
                Ended::TimeCame => Duration::from_secs(1),
                Ended::Fault(fault) => {
                    if connected && began.elapsed() >= USEFUL {
                        self.backoff.handle_success();
                    }
                    self.down(fault);
                    self.backoff.handle_failure(connected)
                }
            };
            self.set_state(LinkState::Down);
            let shared = self.shared.clone();
            // New settings, certificates or the end do not wait for the pause.
            let _ = tokio::time::timeout(pause, wished(&shared)).await;
        }
        self.set_state(LinkState::Stopped);
        self.shared.ended.set(true);
        self.shared.end.notify_one();
    }

    fn take_wishes(&mut self) {
        let mut wishes = self.shared.wishes.borrow_mut();
        wishes.reconnect = false;
        if let Some(inventory) = wishes.inventory.take() {
            self.inventory.replace(inventory);
        }
        if let Some(used) = wishes.budget.take() {
            self.session.handle_budget(used);
        }
        self.mode = wishes.mode.take().or(self.mode);
        if let Some(settings) = wishes.settings.take() {
            self.topics = Topics::new(&settings);
            self.session.handle_settings(settings.clone());
            self.backoff.handle_settings(settings.backoff, settings.brokers.len());
            self.settings = settings;
            self.published_at = None;
            self.status_refused = false;
            self.unsubscribed.clear();
        }
    }

    fn set_state(&self, state: LinkState) {
        let mut status = self.shared.status.borrow_mut();
        if status.state != state {
            status.state = state;
            status.since = (self.clock)().mono;
        }
        status.in_flight = 0;
    }

    /// Notes a trouble; tells it when its kind is new.
    fn down(&mut self, fault: Fault) {
        let broker = {
            let mut status = self.shared.status.borrow_mut();
            status.counters.failures += 1;
            status.last_error = Some(fault.clone());
            status.broker.clone()
        };
        if self.told.as_ref().is_none_or(|told| !told.same_kind(&fault)) {
            tracing::warn!(broker, code = fault.code(), error = %fault, "uplink down");
            self.told = Some(fault.clone());
            self.shared.push_event(UplinkEvent::LinkDown { broker, fault });
        }
    }

    /// Tries one broker, and stays with it while it holds. Also tells whether the broker had admitted the box.
    async fn attempt(&mut self) -> (Ended, bool) {
        let Some(broker) = self.settings.brokers.get(self.backoff.broker()).cloned() else {
            return (Ended::Fault(Fault::Refused { why: "no broker is configured".to_owned() }), false);
        };
        self.shared.status.borrow_mut().broker = broker.to_string();
        let shared = self.shared.clone();
        let opened = tokio::select! {
            opened = self.open(&broker) => opened,
            () = wished(&shared) => return (Ended::Reopen, false),
        };
        match opened {
            Err(fault) => (Ended::Fault(fault), false),
            Ok((connection, _, Dates::Early | Dates::Expired)) => (self.serve_time_only(connection).await, true),
            Ok((connection, admission, Dates::Good)) => {
                if self.published_at.as_ref() != Some(&broker) {
                    self.inventory.forget();
                    self.published_at = Some(broker.clone());
                }
                (self.serve(connection, admission, &broker).await, true)
            }
        }
    }

    /// Resolves, connects and is admitted, at the first address that answers.
    async fn open(&mut self, broker: &Broker) -> Result<(Connection, Admission, Dates), Fault> {
        let limit = self.settings.connect_timeout;
        let addresses = self.resolver.resolve(&broker.host, broker.port, limit).await?;
        let mut last = Fault::Dns { host: broker.host.clone(), why: "no address".to_owned() };
        // As many as a well-kept name has; more would make one attempt last for minutes.
        for address in addresses.into_iter().take(4) {
            match tokio::time::timeout(limit, self.admitted(broker, address)).await {
                Ok(Ok(open)) => return Ok(open),
                Ok(Err(fault)) => last = fault,
                Err(_) => last = Fault::Slow { address: address.to_string(), seconds: limit.as_secs() },
            }
        }
        Err(last)
    }

    async fn admitted(
        &self,
        broker: &Broker,
        address: std::net::SocketAddr,
    ) -> Result<(Connection, Admission, Dates), Fault> {
        let settings = &self.settings;
        let tls = match broker.tls {
            true => Some(Tls::new(&settings.tls, (self.clock)(), settings.known_past)?),
            false => None,
        };
        let name = settings.tls.server_name.as_deref().unwrap_or(&broker.host);
        let secure = tls.as_ref().map(|tls| (tls, name));
        let mut connection = Connection::open(address, secure, (settings.version, settings.max_packet)).await?;
        let dates = tls.as_ref().map_or(Dates::Good, Tls::dates);
        let password = self.password()?;
        // A broker whose certificate had surely expired may tell the time, but does not get the password.
        let login = settings.username.as_deref().filter(|_| dates != Dates::Expired);
        let keep_alive = u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX);
        let connect = Connect {
            client_id: &settings.client_id,
            keep_alive,
            login: login.map(|name| (name, password.as_str())),
            will: (dates == Dates::Good).then(|| (&self.topics.status, publish::will(settings))),
        };
        let admission = connection.admit(connect).await?;
        if admission.max_packet < MIN_PACKET {
            let why = format!("it takes packets of {} bytes only; {MIN_PACKET} are needed", admission.max_packet);
            return Err(Fault::Refused { why });
        }
        Ok((connection, admission, dates))
    }

    fn password(&self) -> Result<String, Fault> {
        let Some(path) = &self.settings.password_file else { return Ok(String::new()) };
        let unusable = |why: String| Fault::File { path: path.clone(), why };
        let mut text = fs::read_to_string(path).map_err(|error| unusable(format!("cannot be read: {error}")))?;
        if text.ends_with('\n') {
            text.pop();
        }
        if text.is_empty() {
            return Err(unusable("the password file is empty".to_owned()));
        }
        Ok(text)
    }

    /// Asks for the time and for nothing else.
    async fn serve_time_only(&mut self, mut connection: Connection) -> Ended {
        self.set_state(LinkState::TimeOnly);
        let time = [(self.topics.time.as_str(), true)];
        if let Err(fault) = connection.packets.subscribe(&mut connection.out, SUBSCRIBE_ID, time.into_iter()) {
            return Ended::Fault(fault);
        }
        let shared = self.shared.clone();
        let deadline = Instant::now() + TIME_OFFER_WAIT.min(self.settings.keep_alive);
        let ended = loop {
            tokio::select! {
                turned = connection.turn(usize::MAX) => if let Err(fault) = turned { break Ended::Fault(fault) },
                () = tokio::time::sleep_until(deadline) => break Ended::Fault(Fault::TimeOnly),
                () = wished(&shared) => break Ended::Reopen,
            }
            match self.take_time(&mut connection) {
                Ok(true) => break Ended::TimeCame,
                Ok(false) => {}
                Err(fault) => break Ended::Fault(fault),
            }
        };
        connection.close(false, self.goodbye()).await;
        ended
    }

    /// How long a goodbye may take now: a drain's limit holds for it, too.
    fn goodbye(&self) -> Duration {
        let drain = self.shared.wishes.borrow().drain;
        drain.map_or(GOODBYE, |until| until.saturating_duration_since(Instant::now()).min(GOODBYE))
    }

    fn take_time(&mut self, connection: &mut Connection) -> Result<bool, Fault> {
        while let Some(incoming) = connection.packet()? {
            if let Incoming::Publish { topic, payload, retained, .. } = incoming
                && *topic == *self.topics.time.as_bytes()
                && self.offer_time(&payload, retained, true)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Waits until the handle asks for something that ends the present attempt or pause.
async fn wished(shared: &Shared) {
    loop {
        {
            let wishes = shared.wishes.borrow();
            if wishes.settings.is_some() || wishes.reconnect || wishes.drain.is_some() {
                return;
            }
        }
        shared.wake.notified().await;
    }
}
