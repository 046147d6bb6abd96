//! The MQTT client of the receiver, on a thread of its own; it subscribes anew after every connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use super::{Judge, SharedTally};
use crate::sim_clock::now_ns;

/// Pause before the next attempt to connect.
const RETRY: Duration = Duration::from_millis(20);
/// Largest packet that is taken.
const MAX_PACKET: usize = 4 << 20;

/// A running subscriber (MQTT 3.1.1, QoS 1). It ends when dropped.
pub struct Subscriber {
    /// What has come.
    pub tally: SharedTally,
    subscribed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes to `filter` at a broker and has every value judged.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(broker: SocketAddr, filter: &str, judge: Box<dyn Judge>) -> anyhow::Result<Self> {
        let tally = SharedTally::default();
        let (subscribed, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let client = format!("receiver-{}", std::process::id());
        let mut options = MqttOptions::new(client, broker.ip().to_string(), broker.port());
        options.set_keep_alive(Duration::from_secs(60)).set_clean_session(true);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        let session = Session {
            filter: filter.to_owned(),
            judge,
            tally: tally.clone(),
            subscribed: subscribed.clone(),
            stop: stop.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("receiver".into())
            .spawn(move || runtime.block_on(session.run(options)))
            .context("cannot start the receiver's thread")?;
        Ok(Subscriber { tally, subscribed, stop, thread: Some(thread) })
    }

    /// How many times the broker has confirmed the subscription.
    pub fn subscribed(&self) -> u64 {
        self.subscribed.load(Relaxed)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Session {
    filter: String,
    judge: Box<dyn Judge>,
    tally: SharedTally,
    subscribed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Session {
    async fn run(mut self, options: MqttOptions) {
        let (mut client, mut events) = AsyncClient::new(options.clone(), 256);
        while !self.stop.load(Relaxed) {
            match tokio::time::timeout(Duration::from_millis(200), Self::next(&mut events)).await {
                Err(_quiet) => {}
                Ok(Some(event)) => self.handle(&client, event),
                Ok(None) => {
                    tokio::time::sleep(RETRY).await;
                    (client, events) = AsyncClient::new(options.clone(), 256);
                }
            }
        }
    }

    /// The next event; `None` when the connection is gone. Cancelling it loses nothing but a connect under way.
    async fn next(events: &mut EventLoop) -> Option<Event> {
        events.poll().await.ok()
    }

    fn handle(&mut self, client: &AsyncClient, event: Event) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                // The queue is empty right after a connect, so that this cannot fail for want of room.
                let _ = client.try_subscribe(self.filter.clone(), QoS::AtLeastOnce);
            }
            Event::Incoming(Packet::SubAck(_)) => {
                self.subscribed.fetch_add(1, Relaxed);
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let now = now_ns();
                self.tally.with(|tally| tally.take(&publish.topic, &publish.payload, now, self.judge.as_mut()));
            }
            _ => {}
        }
    }
}
