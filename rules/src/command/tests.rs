mod stories;
mod storms;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_core::{BootId, Lane, Mono, Name, Stamp, Trust, Wall};
use serde_json::Value;

use super::*;

/// 2026-11-23T10:00:00Z, when the worlds begin.
const BEGIN: i64 = 1_795_428_000_000_000;
const SECOND: i64 = 1_000_000;
const GUARD: Source = Source::Socket { uid: 1000 };

/// A box with its clock and its journal.
struct World {
    commands: Commands,
    settings: Settings,
    now: Stamp,
    kept: BTreeMap<Box<str>, Box<[u8]>>,
    events: Vec<(&'static str, Value)>,
}

impl World {
    fn new() -> Self {
        Self::with(Settings::new(Name::new("riverside-7").unwrap()))
    }

    fn with(settings: Settings) -> Self {
        let now = Stamp { boot: BootId(1), mono: Mono(0), wall: Wall(BEGIN), trust: Trust::Synchronised };
        let commands = Commands::new(settings.clone());
        World { commands, settings, now, kept: BTreeMap::new(), events: Vec::new() }
    }

    /// Time passes, on both clocks; the timers of meanwhile are not run.
    fn sleep(&mut self, seconds: u64) {
        self.now.mono = self.now.mono + Duration::from_secs(seconds);
        self.now.wall.0 += i64::try_from(seconds).unwrap() * SECOND;
    }

    /// Time passes, and the timers run.
    fn pass(&mut self, seconds: u64) -> Vec<Dispatch> {
        self.sleep(seconds);
        self.commands.handle_timeout(self.now);
        self.commit()
    }

    /// Writes what the last call wanted; what may then be done.
    fn commit(&mut self) -> Vec<Dispatch> {
        while let Some(effect) = self.commands.poll_effect() {
            match effect {
                Effect::Keep { key, value: Some(value) } => {
                    assert!(key.len() <= 256 && value.len() <= 12 * 1024);
                    self.kept.insert(key, value);
                }
                Effect::Keep { key, value: None } => drop(self.kept.remove(&key)),
                Effect::Event { lane, event, .. } => {
                    assert_eq!(lane, Lane::Audit);
                    self.events.push((event.kind, serde_json::from_str(&event.json).unwrap()));
                }
                Effect::Act(act) => panic!("commands do not act by themselves: {act:?}"),
            }
        }
        std::iter::from_fn(|| self.commands.poll_dispatch()).collect()
    }

    /// The process ends here; what was not committed is gone.
    fn restart(&mut self) {
        self.commands = Commands::new(self.settings.clone());
        for (key, value) in &self.kept {
            self.commands.restore(key, value).unwrap();
        }
    }

    /// A command as its issuer writes it, with so many seconds to live.
    fn message(&self, id: &str, target: &str, action: &str, seconds: i64) -> Request {
        let time = |wall: i64| jiff::Timestamp::from_microsecond(wall).unwrap();
        let (issued, expires) = (time(self.now.wall.0), time(self.now.wall.0 + seconds * SECOND));
        let text = format!(
            r#"{{"v":1,"id":"{id}","target":"{target}","action":"{action}","issuer":"desk-3",
                "issued_at":"{issued}","expires_at":"{expires}"}}"#
        );
        Request::parse(text.as_bytes()).unwrap()
    }

    fn receive(&mut self, source: Source, request: &Request) -> (Reception, Vec<String>) {
        let reception = self.commands.handle_request(self.now, source, false, request.clone());
        (reception, self.commit().into_iter().map(|d| d.request.id.to_string()).collect())
    }

    fn refused(&mut self, source: Source, request: &Request) -> String {
        let (reception, begun) = self.receive(source, request);
        assert_eq!(begun, [""; 0]);
        match reception {
            Reception::Ended(Outcome::Refused { reason, .. }) => reason.into(),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn step(&mut self, id: &str, step: Step) -> Vec<String> {
        assert!(self.commands.handle_step(self.now, &CommandId::new(id).unwrap(), step));
        self.commit().into_iter().map(|d| d.request.id.to_string()).collect()
    }

    /// The steps that were recorded of a command.
    fn steps(&self, id: &str) -> Vec<String> {
        let of = |event: &&(&str, Value)| event.0 == "command" && event.1["id"] == id;
        let text = |(_, event): &(&str, Value)| match event["reason"].as_str() {
            Some(reason) => format!("{} {reason}", event["step"].as_str().unwrap()),
            None => event["step"].as_str().unwrap().to_owned(),
        };
        self.events.iter().filter(of).map(text).collect()
    }

    fn answers(&mut self) -> Vec<(String, Outcome)> {
        std::iter::from_fn(|| self.commands.poll_answer()).map(|a| (a.id.to_string(), a.outcome)).collect()
    }
}

fn verified() -> Step {
    Step::Ended(Outcome::Verified { read_back: None })
}
