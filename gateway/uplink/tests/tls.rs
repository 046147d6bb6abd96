//! TLS against Debian's mosquitto: client certificates, their reload, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation, reason = "here a panic is the report")]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::broker::{Authority, Box1, Core, Mosquitto, clock, free_port, until, without_mosquitto};
use common::{TEN, name, sample};
use gatehouse_core::{Lane, Stamp, Trust, Wall};
use gatehouse_uplink::schema::TimeMessage;
use gatehouse_uplink::{BackoffSettings, Broker, Clock, Fault, Inventory, LinkState, Settings, TlsFiles, UplinkEvent};
use tokio::task::LocalSet;

/// Years in which the test machine's clock, whatever it says, lies.
const NOW: (i32, i32) = (2024, 2040);

struct Place {
    broker: Mosquitto,
    authority: Authority,
    port: u16,
}

/// A broker whose TLS listener has a certificate for `server`, valid in `years`.
fn place(server: &str, years: (i32, i32), more: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    authority.issue(folder.path(), "server", server, years);
    authority.issue(folder.path(), "box", "first", NOW);
    let port = free_port();
    let config = format!(
        "listener {port} 127.0.0.1\ncafile $DIR/ca.pem\ncertfile $DIR/server.crt\nkeyfile $DIR/server.key\n{more}"
    );
    Place { broker: Mosquitto::start_in(folder, &config), authority, port }
}

impl Place {
    fn settings(&self) -> Settings {
        let broker = Broker::parse(&format!("mqtts://localhost:{}", self.port)).unwrap();
        let dir = self.broker.folder.path();
        let quick = BackoffSettings { first: Duration::from_millis(50), last: Duration::from_millis(200) };
        let tls = TlsFiles {
            ca: Some(dir.join("ca.pem")),
            cert: Some(dir.join("box.crt")),
            key: Some(dir.join("box.key")),
            server_name: None,
        };
        Settings { backoff: quick, tls, ..Settings::new(name("box-1"), vec![broker]) }
    }
}

const BY_CERTIFICATE: &str = "allow_anonymous false\nrequire_certificate true\nuse_identity_as_username true";

#[tokio::test(flavor = "current_thread")]
async fn new_certificates_change_the_identity_without_a_restart() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let place = place("localhost", NOW, BY_CERTIFICATE);
        let mut site = Box1::start(place.settings(), Inventory::default());
        site.up().await;
        until("the first identity", || place.broker.log().contains("u'first'")).await;
        place.authority.issue(place.broker.folder.path(), "box", "second", NOW);
        site.uplink.reconnect();
        site.up().await;
        until("the second identity", || place.broker.log().contains("u'second'")).await;
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_message_that_came_over_tls_is_authentic() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let place = place("localhost", NOW, "allow_anonymous true");
        let core = Core::start(place.broker.port);
        until("the core listens", || core.seen.borrow().connects == 1).await;
        let mut site = Box1::start(place.settings(), Inventory::default());
        site.up().await;
        until("the status", || core.seen.borrow().other.contains_key("status")).await;
        core.publish("command", "{}").await;
        let event = site.event(|event| matches!(event, UplinkEvent::Message(_))).await;
        assert!(matches!(event, UplinkEvent::Message(message) if message.authentic));
    };
    LocalSet::new().run_until(work).await;
}

async fn refused(place: &Place, settings: Settings) -> Fault {
    let mut site = Box1::start(settings, Inventory::default());
    let down = site.event(|event| matches!(event, UplinkEvent::LinkDown { .. } | UplinkEvent::LinkUp { .. })).await;
    let UplinkEvent::LinkDown { fault, .. } = down else { panic!("{down:?}: {}", place.broker.log()) };
    until("more attempts", || site.uplink.status().counters.failures >= 3).await;
    assert_eq!(site.uplink.try_event(), None, "said once");
    assert_eq!(site.uplink.status().state, LinkState::Down);
    site.uplink.drain(Duration::ZERO).await;
    fault
}

#[tokio::test(flavor = "current_thread")]
async fn every_wrong_certificate_is_refused_and_says_what_to_do() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let good = place("localhost", NOW, BY_CERTIFICATE);
        let dir = good.broker.folder.path();

        let stranger = dir.join("stranger.pem");
        std::fs::write(&stranger, Authority::new().pem).unwrap();
        let mut settings = good.settings();
        settings.tls.ca = Some(stranger);
        assert_eq!(refused(&good, settings).await, Fault::UnknownAuthority);

        let mut settings = good.settings();
        settings.tls.server_name = Some("core.example".to_owned());
        let fault = refused(&good, settings).await;
        assert_eq!(
            fault.to_string(),
            "the broker's certificate is not for core.example; check the broker's address or set `server_name`"
        );

        let mut settings = good.settings();
        (settings.tls.cert, settings.tls.key) = (None, None);
        let fault = refused(&good, settings).await;
        assert!(matches!(fault, Fault::OwnCertificateRefused { .. }), "{fault:?}");

        let mut settings = good.settings();
        settings.tls.key = Some(dir.join("server.key"));
        let fault = refused(&good, settings).await.to_string();
        assert!(fault.contains("server.key: does not fit"), "{fault}");

        let mut settings = good.settings();
        settings.tls.ca = Some(dir.join("nowhere.pem"));
        let fault = refused(&good, settings).await.to_string();
        assert!(fault.contains("nowhere.pem: cannot be read: No such file"), "{fault}");

        let mut settings = good.settings();
        settings.brokers[0].port = good.broker.port;
        settings.connect_timeout = Duration::from_secs(2);
        let fault = refused(&good, settings).await;
        assert!(matches!(fault, Fault::Lost { .. } | Fault::Tls { .. } | Fault::Slow { .. }), "{fault:?}");

        let old = place("localhost", (2020, 2021), BY_CERTIFICATE);
        let fault = refused(&old, old.settings()).await;
        assert_eq!(fault, Fault::CertificateExpired { when: "2021-01-01T00:00:00Z".to_owned() });

        let closed = place("localhost", NOW, "allow_anonymous false");
        let fault = refused(&closed, closed.settings()).await;
        assert!(matches!(fault, Fault::Credentials { .. }), "{fault:?}");
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_box_without_a_clock_takes_the_time_from_a_certificate_of_the_future_and_nothing_else() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        // Valid long after the time that the box last knew.
        let place = place("localhost", (2045, 2049), "allow_anonymous true");
        let core = Core::start(place.broker.port);
        until("the core listens", || core.seen.borrow().connects == 1).await;
        let set: Rc<Cell<Option<Wall>>> = Rc::default();
        let (wall, mut settings) = (set.clone(), place.settings());
        settings.known_past = Wall(TEN);
        let unset: Clock = Rc::new(move || match wall.get() {
            Some(wall) => Stamp { wall, ..clock() },
            None => Stamp { wall: Wall(0), trust: Trust::Unset, ..clock() },
        });
        let mut site = Box1::start_at(settings, Inventory::default(), unset);
        site.store(Lane::Telemetry, sample("meter-1", 8, 230));
        until("the time-only link", || site.uplink.status().state == LinkState::TimeOnly).await;
        let offer = TimeMessage { v: 1, time: "2046-01-01T00:00:00Z".to_owned(), accuracy_ms: 50 };
        let began = std::time::Instant::now();
        let offered = loop {
            assert!(began.elapsed() < common::broker::PATIENCE);
            core.publish("time", serde_json::to_vec(&offer).unwrap()).await;
            let event = tokio::time::timeout(Duration::from_millis(50), site.uplink.next_event()).await;
            if let Ok(UplinkEvent::TimeOffer { wall, authentic, .. }) = event {
                assert!(authentic);
                break wall;
            }
        };
        assert_eq!(core.seen.borrow().records.len(), 0, "no record over a link of unknown date");
        assert!(!core.seen.borrow().other.contains_key("status"));
        set.set(Some(offered));
        site.up().await;
        until("the record", || core.seen.borrow().records.len() == 1).await;
    };
    LocalSet::new().run_until(work).await;
}

#[tokio::test(flavor = "current_thread")]
async fn without_a_pinned_authority_or_with_a_trusted_clock_dates_are_never_forgiven() {
    if without_mosquitto() {
        return;
    }
    let work = async {
        let place = place("localhost", (2045, 2049), "allow_anonymous true");
        let fault = refused(&place, place.settings()).await;
        assert_eq!(fault, Fault::CertificateNotYetValid { when: "2045-01-01T00:00:00Z".to_owned() });
    };
    LocalSet::new().run_until(work).await;
}
