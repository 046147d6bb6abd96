//! A store on temporary folders whose box can be killed and lose its power.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{
    BootId, Decimal, Event, Kind, Lane, Mono, Name, PointIx, PointReading, Record, Schema, SchemaPoint, Stamp, Trust,
    Value, Wall,
};

use crate::api::{Batch, CommitTicket, OpenReport, StoreEvent};
use crate::disk::Disk;
use crate::{Settings, Store};

pub(super) struct Rig {
    pub(super) settings: Settings,
    pub(super) disk: Disk,
    pub(super) boot: u128,
    pub(super) now: Mono,
    pub(super) store: Option<Store>,
    pub(super) report: OpenReport,
    pub(super) heard: Vec<StoreEvent>,
    schemas: Vec<Arc<Schema>>,
    shadow: std::path::PathBuf,
    /// Last: the store goes before its folders do.
    _root: tempfile::TempDir,
}

pub(super) fn schema(device: &str) -> Arc<Schema> {
    let point = |name: &str, kind| SchemaPoint { name: Name::new(name).unwrap(), kind };
    let points = vec![
        point("energy", Kind::Decimal { exponent: -2 }),
        point("voltage", Kind::F32),
        point("on", Kind::Bool),
        point("text", Kind::Text),
    ];
    Arc::new(Schema { device: Name::new(device).unwrap(), points })
}

/// Readings that differ for each tag, so that a record under another number is seen.
pub(super) fn readings(tag: u64) -> Vec<PointReading> {
    let reading = |point, value| PointReading::new(PointIx(point), value);
    #[expect(clippy::cast_precision_loss, reason = "any float will do")]
    let volts = 230.0 + tag as f32 / 8.0;
    let mut all = vec![
        reading(0, Ok(Value::Decimal(Decimal { mantissa: i128::from(tag) * 7, exponent: -2 }))),
        reading(1, Ok(Value::F32(volts))),
        reading(2, Ok(Value::Bool(tag.is_multiple_of(2)))),
        reading(3, Ok(Value::Text(format!("t{tag}").into()))),
    ];
    if tag.is_multiple_of(5) {
        all[1].value = Err(gatehouse_core::NoData::Timeout);
    }
    if tag.is_multiple_of(7) {
        all.remove(2);
    }
    all
}

pub(super) fn event(tag: u64) -> Event {
    Event { kind: "test", json: format!("{{\"tag\":{tag}}}").into() }
}

impl Rig {
    pub(super) fn new(tune: impl FnOnce(&mut Settings)) -> Rig {
        let memory = std::path::Path::new("/dev/shm");
        let root = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let mut settings = Settings::new(root.path().join("data"), root.path().join("tail"));
        tune(&mut settings);
        let disk = Disk::default();
        let shadow = root.path().join("shadow");
        *disk.faults.shadow.lock().unwrap() = Some((settings.dir.clone(), shadow.clone()));
        let schemas = ["meter-1", "meter-2", "door-1"].map(schema).to_vec();
        let now = Mono(1_000_000_000);
        let (store, report) = open(&settings, &disk, stamp(1, now));
        Rig {
            _root: root,
            settings,
            disk,
            boot: 1,
            now,
            store: Some(store),
            report,
            heard: Vec::new(),
            schemas,
            shadow,
        }
    }

    pub(super) fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    pub(super) fn stamp(&self) -> Stamp {
        stamp(self.boot, self.now)
    }

    pub(super) fn append(&mut self, lane: Lane, tag: u64) -> u64 {
        self.now = self.now + Duration::from_micros(1500);
        let schema = Arc::clone(&self.schemas[usize::try_from(tag % 3).unwrap()]);
        let stamp = self.stamp();
        self.store().append_sample(lane, stamp, &schema, &readings(tag)).unwrap()
    }

    pub(super) fn commit(&mut self, state: &[(&str, Option<&str>)], events: &[(Lane, u64)]) -> CommitTicket {
        let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
        let stamp = self.stamp();
        let state = state.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
        let events = events.iter().map(|&(lane, tag)| (lane, stamp, event(tag))).collect();
        self.store().commit(Batch { state, events }).unwrap()
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        let now = self.now;
        self.store().handle_timeout(now);
        self.hear();
    }

    /// Lets the I/O thread finish all that it was given.
    pub(super) fn settle(&mut self) {
        let store = self.store.as_mut().unwrap();
        while store.spools.iter().any(|spool| spool.sealing) || !store.checkpoints.is_empty() || store.thinning {
            let reply = store.replies.recv().unwrap();
            store.handle_reply(reply);
        }
        let full = self.disk.faults.journal.load(std::sync::atomic::Ordering::SeqCst);
        while store.waiting() > 0 && !full {
            let reply = store.replies.recv().unwrap();
            store.handle_reply(reply);
        }
        // A commit may have come with work of its own.
        if store.spools.iter().any(|spool| spool.sealing) || !store.checkpoints.is_empty() {
            return self.settle();
        }
        self.hear();
    }

    pub(super) fn hear(&mut self) {
        while let Some(event) = self.store().poll_event() {
            self.heard.push(event);
        }
    }

    pub(super) fn read(&mut self, lane: Lane) -> Vec<Record> {
        let mut records = Vec::new();
        self.store()
            .read(lane, 1, &mut |record| {
                records.push(record.clone());
                ControlFlow::Continue(())
            })
            .unwrap();
        self.hear();
        records
    }

    fn reopen(&mut self) {
        let (store, report) = open(&self.settings, &self.disk, self.stamp());
        self.store = Some(store);
        self.report = report;
        self.heard.clear();
    }

    /// Kills the process: nothing of its memory is left.
    pub(super) fn kill(&mut self) {
        drop(self.store.take());
        self.reopen();
    }

    /// Changes files between a kill and the next start.
    pub(super) fn kill_and(&mut self, change: impl FnOnce(&Settings)) {
        drop(self.store.take());
        change(&self.settings);
        self.reopen();
    }

    /// Stops in order; false if the disk did not let it.
    pub(super) fn stop(&mut self) -> bool {
        let now = self.now;
        let done = self.store.take().unwrap().shutdown(now).is_ok();
        self.reopen();
        done
    }

    /// Cuts the power: the tail is gone, and of the data folder what was synced is left.
    pub(super) fn cut(&mut self) {
        let mut shadow = self.disk.faults.shadow.lock().unwrap().take().unwrap();
        drop(self.store.take());
        std::fs::remove_dir_all(&self.settings.tail_dir).unwrap();
        std::fs::remove_dir_all(&self.settings.dir).unwrap();
        std::fs::rename(&self.shadow, &self.settings.dir).unwrap();
        copy_all(&self.settings.dir, &self.shadow);
        shadow.1.clone_from(&self.shadow);
        *self.disk.faults.shadow.lock().unwrap() = Some(shadow);
        self.boot += 1;
        self.now = Mono(1_000_000_000);
        self.reopen();
    }
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn stamp(boot: u128, now: Mono) -> Stamp {
    let wall = Wall(1_700_000_000_000_000 + i64::try_from(now.0 / 1000).unwrap());
    Stamp { boot: BootId(boot), mono: now, wall, trust: Trust::Synchronised }
}

fn open(settings: &Settings, disk: &Disk, now: Stamp) -> (Store, OpenReport) {
    crate::open::open(settings.clone(), now, Arc::new(|| {}), disk.clone()).unwrap()
}
