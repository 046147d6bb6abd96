//! Debian's mosquitto and its subscriber.

use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::eventually;
use crate::ledger::Ledger;
use crate::process::{Process, SECONDS};
use crate::stage::{Stage, free_port, program};

/// Who may connect to a [`Broker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Everybody on this machine, in the clear.
    Open,
    /// Those who show a certificate of the stage's authority ([`Stage::certificates`]), over TLS.
    Certificates,
}

/// A mosquitto that keeps its state over restarts.
#[derive(Debug)]
pub struct Broker<'s> {
    stage: &'s Stage,
    process: Process,
    port: u16,
    security: Security,
}

impl<'s> Broker<'s> {
    /// Starts a broker on a free port of 127.0.0.1.
    pub fn start(stage: &'s Stage, security: Security) -> Self {
        let port = free_port();
        let folder = stage.path().display();
        let mut config = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {folder}/\nautosave_on_changes true\nautosave_interval 1\n\
             max_queued_messages 0\nmax_inflight_messages 0\nlog_type all\nconnection_messages true\n"
        );
        if security == Security::Certificates {
            config += &format!(
                "cafile {folder}/ca.pem\ncertfile {folder}/broker.pem\nkeyfile {folder}/broker.key\n\
                 require_certificate true\nuse_identity_as_username true\n"
            );
        }
        stage.write("mosquitto.conf", &config);
        let process = Self::spawn(stage);
        Broker { stage, process, port, security }
    }

    fn spawn(stage: &Stage) -> Process {
        let mut command = program("mosquitto");
        // Its own word, not a connection: what answers may be another test that looks whether the port is free.
        let starts = |log: &str| log.matches(" running").count();
        let before = std::fs::read_to_string(stage.file("mosquitto.log")).map_or(0, |log| starts(&log));
        let mut process =
            Process::start("mosquitto", stage.path(), command.arg("-c").arg(stage.file("mosquitto.conf")));
        eventually("the broker", 10 * SECONDS, || {
            assert!(process.runs(), "mosquitto ended: {}", process.log());
            (starts(&process.log()) > before).then_some(())
        });
        process
    }

    /// Where it listens, as the site file says it.
    pub fn url(&self) -> String {
        let scheme = if self.security == Security::Open { "mqtt" } else { "mqtts" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Broker::kill`], on the same port and with what it had kept.
    pub fn restart(&mut self) {
        self.process = Self::spawn(self.stage);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// What it said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Subscribes to everything, with a session that outlives connections.
    pub fn subscribe(&self) -> Subscriber {
        let mut command = self.client("mosquitto_sub");
        command.args(["-q", "1", "-c", "-i", "receiver", "-x", "3600", "-t", "gatehouse/#", "-F", "%t %p"]);
        // Without this at most 20 messages are on their way to it, and the broker keeps acknowledged ones in its memory.
        command.args(["-D", "connect", "receive-maximum", "65535"]);
        let mut process = Process::start("mosquitto_sub", self.stage.path(), &mut command);
        let lines = process.lines();
        let subscriber = Subscriber { _process: process, lines, ledger: Ledger::default() };
        // Its own message coming back proves that the subscription stands.
        let mut publish = self.client("mosquitto_pub");
        publish.args(["-q", "1", "-t", "gatehouse/ready", "-m", "1"]);
        eventually("the subscription", 20 * SECONDS, || {
            assert!(publish.status().unwrap().success(), "mosquitto_pub: {}", self.log());
            let heard = subscriber.lines.recv_timeout(SECONDS / 2);
            heard.ok().filter(|line| line == "gatehouse/ready 1")
        });
        subscriber
    }

    /// Publishes with QoS 1, below the topic of `box-1`.
    pub fn publish(&self, topic: &str, payload: &str) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-q", "1", "-t", &format!("gatehouse/v1/box-1/{topic}"), "-m", payload]);
        assert!(command.status().unwrap().success(), "mosquitto_pub: {}", self.log());
    }

    fn client(&self, name: &str) -> Command {
        let mut command = program(name);
        command.args(["-V", "5", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if self.security == Security::Certificates {
            for (option, file) in [("--cafile", "ca.pem"), ("--cert", "receiver.pem"), ("--key", "receiver.key")] {
                command.arg(option).arg(self.stage.file(file));
            }
        }
        command
    }
}

/// A mosquitto_sub and the books of what it received.
#[derive(Debug)]
pub struct Subscriber {
    _process: Process,
    lines: Receiver<String>,
    ledger: Ledger,
}

impl Subscriber {
    /// Receives until `found` finds something in the books, and returns it.
    ///
    /// # Panics
    /// When `deadline` passes first; the message names `what` was waited for.
    pub fn until<T>(&mut self, what: &str, deadline: Duration, mut found: impl FnMut(&Ledger) -> Option<T>) -> T {
        let end = Instant::now() + deadline;
        loop {
            while let Ok(line) = self.lines.try_recv() {
                self.ledger.receive(&line);
            }
            if let Some(found) = found(&self.ledger) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still waiting after {deadline:?}: {what}\n{}", self.ledger.summary());
            if let Ok(line) = self.lines.recv_timeout(left.min(SECONDS / 10)) {
                self.ledger.receive(&line);
            }
        }
    }

    /// The books as they are.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
