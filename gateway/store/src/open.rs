//! Opening: what the last run left is found, accounted for number by number, and carried on from.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use gatehouse_core::{BootId, Lane, Stamp};

use crate::acks::{self, Acks, Said};
use crate::api::{ClockOffset, LastStop, OpenReport, Written};
use crate::book::Book;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::floors::{self, Floors, FloorsFile};
use crate::gap::{Gap, Reason};
use crate::intervals::Intervals;
use crate::io::{IoThread, Work};
use crate::journal::{self, Journal};
use crate::quarantine::Quarantine;
use crate::segment::{self, Segment};
use crate::settings::Settings;
use crate::store::{Commits, QUARANTINE, SPOOL, Spool, Store, Timers, Wake, reserve, spool_dir, spool_of};
use crate::tail::{self, Found, Tail};
use crate::wire::{Take, trust_code, trust_from};

/// Most foreign files that are named.
const NAMED_FOREIGN: usize = 16;
const LOCK: &str = "lock";

/// What was found on the disk, before it is put together.
struct Disks {
    floors_file: FloorsFile,
    floors: Option<Floors>,
    journal: Journal,
    aside: Option<PathBuf>,
    segments: Vec<Segment>,
    held: [Intervals; 2],
    done: [Intervals; 2],
    next_segment: u64,
    quarantine: Quarantine,
    quarantined: Vec<PathBuf>,
    foreign: Vec<PathBuf>,
}

pub(crate) fn open(
    mut settings: Settings,
    now: Stamp,
    wake: Wake,
    disk: Disk,
) -> Result<(Store, OpenReport), StoreError> {
    let began = Instant::now();
    settings.max_bytes = settings.max_bytes.max(1 << 20);
    settings.segment_bytes = settings.segment_bytes.min(settings.max_bytes / 8).max(16 << 10);
    let unusable = |what, path: &Path| {
        let path = path.to_path_buf();
        move |error: io::Error| StoreError::unusable(what, &path, error)
    };
    let spool = spool_dir(&settings);
    fs::create_dir_all(&spool).map_err(unusable("cannot create the data folder", &spool))?;
    fs::create_dir_all(&settings.tail_dir)
        .map_err(unusable("cannot create the folder of the hot tail", &settings.tail_dir))?;
    let lock = lock(&settings.dir)?;
    let found = find(&settings, &disk).map_err(unusable("cannot open the data folder", &settings.dir))?;
    let known_epoch = found.floors.as_ref().map(|floors| floors.epoch);
    let epoch = known_epoch.unwrap_or_else(|| new_epoch(&now));
    let said = acks::recover(&settings.tail_dir, now.boot, epoch);
    let had_data = !found.segments.is_empty() || found.aside.is_some();
    let last_stop = match (&found.floors, &said) {
        (None, _) if !had_data => LastStop::First,
        (Some(floors), _) if floors.clean => LastStop::Clean,
        (Some(_), Some(_)) => LastStop::Killed,
        _ => LastStop::PowerCut,
    };
    let tail_unusable = |error| StoreError::unusable("cannot read the hot tail in", &settings.tail_dir, error);
    let (old_tails, rows) = recover_tails(&settings.tail_dir, epoch).map_err(tail_unusable)?;
    let mut sums = Sums { stamp: now, said: said.unwrap_or_default(), last_stop, gaps: Vec::new() };
    let (books, rows, event_bytes) =
        account(&found, rows, &mut sums).map_err(unusable("cannot read the journal in", &settings.dir))?;
    let next_file = old_tails.iter().map(|(_, number)| number + 1).max().unwrap_or(1);
    let tails =
        [Lane::Billing, Lane::Telemetry].map(|lane| Tail::new(lane, &settings.tail_dir, now.boot, epoch, next_file));
    let offsets = read_offsets(&found.journal).map_err(unusable("cannot read the journal in", &settings.dir))?;
    let report = OpenReport {
        last_stop,
        new_epoch: known_epoch.is_none(),
        journal_set_aside: found.aside.clone(),
        quarantined: found.quarantined.clone(),
        foreign: found.foreign.clone(),
        gaps: sums.gaps,
        took: began.elapsed(),
    };
    let counter = found.floors.as_ref().map_or(0, |floors| floors.counter);
    let mut store =
        start(settings, now, wake, disk, found, Start { epoch, counter, books, tails, offsets, event_bytes, lock })?;
    for row in rows {
        let Some(at) = spool_of(row.lane) else { continue };
        // What is in the tail is not on the disk: the floors account for what lies before.
        let spool = &mut store.spools[at];
        spool.accounted = spool.accounted.min(row.seq - 1);
        let appended = store.spools[at].tail.append(row.seq, now.mono, &row.stamp, &row.schema, &row.readings);
        store.check_tail(appended);
    }
    for (path, _) in old_tails {
        let _ = fs::remove_file(path);
    }
    store.try_seal(0);
    for at in 0..2 {
        store.drop_delivered(at);
        store.relieve();
    }
    if store.spools.iter().any(|spool| !spool.segments.is_empty()) {
        store.want_housekeeping();
    }
    Ok((store, OpenReport { took: began.elapsed(), ..report }))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| StoreError::unusable("cannot write in the data folder", dir, error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked(dir.into())),
        Err(error) => Err(StoreError::unusable("cannot lock the data folder", dir, error)),
    }
}

/// 48 bits that no earlier epoch of this box has, whatever its clock says.
fn new_epoch(now: &Stamp) -> u64 {
    let mut seed = now.boot.0.to_le_bytes().to_vec();
    seed.extend_from_slice(&now.mono.0.to_le_bytes());
    seed.extend_from_slice(&now.wall.0.to_le_bytes());
    let low = u64::from(crc32fast::hash(&seed));
    seed.push(1);
    let high = u64::from(crc32fast::hash(&seed)) & 0xffff;
    (high << 32 | low).max(1)
}

fn find(settings: &Settings, disk: &Disk) -> io::Result<Disks> {
    let dir = &settings.dir;
    let (floors_file, floors) = FloorsFile::open(dir, disk)?;
    let (journal, aside) = Journal::open(dir, disk)?;
    let copy = journal::with(&journal.shared(), |db| db.get(journal::FLOORS_KEY))?;
    let copy = copy.and_then(|bytes| Floors::decode(&bytes));
    let floors = match (floors, copy) {
        (Some(mut floors), Some(copy)) if copy.epoch == floors.epoch => {
            floors.raise(&copy);
            Some(floors)
        }
        // What was delivered since the copy was made is not in it, so that it cannot be a clean stop.
        (None, Some(copy)) => Some(Floors { clean: false, ..copy }),
        (floors, _) => floors,
    };
    let mut found = Disks {
        floors_file,
        floors,
        journal,
        aside,
        segments: Vec::new(),
        held: Default::default(),
        done: Default::default(),
        next_segment: 1,
        quarantine: Quarantine::new(dir.join(QUARANTINE), disk.clone()),
        quarantined: Vec::new(),
        foreign: Vec::new(),
    };
    find_foreign(dir, &mut found.foreign)?;
    find_segments(settings, &mut found)?;
    found.foreign.truncate(NAMED_FOREIGN);
    Ok(found)
}

fn find_foreign(dir: &Path, foreign: &mut Vec<PathBuf>) -> io::Result<()> {
    let ours = [LOCK, floors::NAME, "ballast", journal::FOLDER, SPOOL, QUARANTINE, crate::GUEST_FOLDER];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !ours.contains(&&*name) && !name.starts_with("journal.bad-") {
            foreign.push(entry.path());
        }
    }
    foreign.sort();
    Ok(())
}

fn find_segments(settings: &Settings, found: &mut Disks) -> io::Result<()> {
    let mut files: Vec<(u64, Lane, PathBuf)> = Vec::new();
    for entry in fs::read_dir(spool_dir(settings))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match segment::parse_name(&name) {
            Some((lane, id)) => files.push((id, lane, path)),
            // A thinning that a stop cut short; the segment itself is still there.
            None if name.ends_with(".thin") => fs::remove_file(&path)?,
            None => found.foreign.push(path),
        }
    }
    files.sort();
    for (id, lane, path) in files {
        found.next_segment = found.next_segment.max(id + 1);
        let scan = segment::scan(&path, lane, id)?;
        for &(offset, len) in &scan.damage {
            let bytes = segment::read_vec(&File::open(&path)?, offset, len)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = format!("{name}-{offset}.bad");
            // Zeros are room that was reserved.
            if bytes.iter().any(|byte| *byte != 0) && found.quarantine.put(&name, &bytes) {
                found.quarantined.push(found.quarantine.path(&name));
            }
        }
        let Some(segment) = scan.segment else { continue };
        let epoch = found.floors.as_ref().map(|floors| floors.epoch);
        if epoch.is_some_and(|epoch| segment.epoch != epoch && segment.epoch != 0) {
            found.foreign.push(path);
            continue;
        }
        let at = usize::from(lane == Lane::Telemetry);
        for &(first, last) in scan.held.ranges() {
            found.held[at].insert(first, last);
        }
        for &(first, last) in scan.done.ranges() {
            found.done[at].insert(first, last);
        }
        found.segments.push(segment);
    }
    found.segments.sort_by_key(|segment| (segment.first, segment.id));
    Ok(())
}

type TailFiles = Vec<(PathBuf, u64)>;

fn recover_tails(dir: &Path, epoch: u64) -> io::Result<(TailFiles, Vec<Found>)> {
    let (mut files, mut rows) = (Vec::new(), Vec::new());
    for (path, lane, number) in tail::files(dir)? {
        let torn = tail::recover(&path, lane, epoch, &mut rows)?;
        if torn > 0 {
            tracing::info!(path = %path.display(), bytes = torn, "the hot tail ends in an unfinished sample");
        }
        files.push((path, number));
    }
    Ok((files, rows))
}

/// What accounting needs beside what the disk says, and the gaps that it leaves.
struct Sums {
    stamp: Stamp,
    said: Said,
    last_stop: LastStop,
    gaps: Vec<(Lane, u64, u64, &'static str)>,
}

impl Sums {
    /// The number to go on with.
    fn next(&self, book: &Book, known: u64) -> u64 {
        let said = self.said.next.iter().filter(|(lane, _)| *lane == book.lane).map(|(_, next)| *next).max();
        let seen = (known + 1).max(book.next).max(said.unwrap_or(1));
        match self.last_stop {
            LastStop::PowerCut => seen.max(book.ceiling + 1),
            LastStop::First | LastStop::Clean | LastStop::Killed => seen,
        }
    }

    fn leave(&mut self, book: &mut Book, first: u64, last: u64, lost: u64, reason: Reason) {
        if first <= last && book.add_gap(Gap { first, last, lost, reason, stamp: self.stamp }) > 0 {
            self.gaps.push((book.lane, first, last, reason.as_str()));
        }
    }
}

/// Accounts for every number of every lane: the books, the rows of the tail that are still wanted, bytes of events.
fn account(found: &Disks, rows: Vec<Found>, sums: &mut Sums) -> io::Result<([Book; 6], Vec<Found>, [u64; 6])> {
    let mut books = found.floors.as_ref().map_or_else(|| Lane::ALL.map(Book::new), |floors| floors.books.clone());
    for (lane, first, last) in std::mem::take(&mut sums.said.done) {
        let book = &mut books[lane.index()];
        book.done.insert(first, last);
        let done = &book.done;
        book.gaps.retain(|gap| !done.covers(gap.first, gap.last));
    }
    let mut wanted: BTreeMap<(Lane, u64), Found> = BTreeMap::new();
    for row in rows {
        let (Some(at), book) = (spool_of(row.lane), &books[row.lane.index()]) else { continue };
        if !found.held[at].contains(row.seq) && !book.done.contains(row.seq) && book.gap_at(row.seq).is_none() {
            wanted.insert((row.lane, row.seq), row);
        }
    }
    for lane in [Lane::Billing, Lane::Telemetry] {
        account_spool(&mut books[lane.index()], found, &wanted, sums);
    }
    let mut bytes = [0; 6];
    for lane in Lane::ALL.into_iter().filter(|lane| lane.is_event()) {
        bytes[lane.index()] = account_events(&mut books[lane.index()], found, sums)?;
    }
    Ok((books, wanted.into_values().collect(), bytes))
}

fn account_spool(book: &mut Book, found: &Disks, wanted: &BTreeMap<(Lane, u64), Found>, sums: &mut Sums) {
    let at = usize::from(book.lane == Lane::Telemetry);
    let held = &found.held[at];
    let mut holes = found.done[at].clone();
    for &(first, last) in held.ranges() {
        holes.remove(first, last);
    }
    for gap in &book.gaps {
        holes.remove(gap.first, gap.last);
    }
    for &(first, last) in holes.ranges() {
        book.done.insert(first, last);
    }
    let mut known = book.done.clone();
    for &(first, last) in held.ranges() {
        known.insert(first, last);
    }
    for gap in &book.gaps {
        known.insert(gap.first, gap.last);
    }
    for &(lane, seq) in wanted.keys() {
        if lane == book.lane {
            known.insert(seq, seq);
        }
    }
    let sealed = held.last();
    let whole = sums.last_stop != LastStop::PowerCut;
    book.next = sums.next(book, known.last());
    for (first, last) in known.missing(1, book.next - 1) {
        // Up to the last sealed number everything had been sealed or delivered; without a power cut, up to the end.
        let cut = if whole { last } else { last.min(sealed) };
        sums.leave(book, first, cut, (cut + 1).saturating_sub(first), Reason::Damaged);
        sums.leave(book, first.max(cut + 1), last, 0, Reason::UncleanStop);
    }
    let first_row = wanted.keys().find(|(lane, _)| *lane == book.lane).map(|(_, seq)| *seq);
    book.newest = match first_row {
        Some(seq) if book.lane == Lane::Billing => seq - 1,
        _ => book.next - 1,
    };
}

fn account_events(book: &mut Book, found: &Disks, sums: &mut Sums) -> io::Result<u64> {
    let lane = book.lane;
    let shared = found.journal.shared();
    let range = journal::event_key(lane, 0)..=journal::event_key(lane, u64::MAX);
    let mut held = Intervals::default();
    let mut bytes = 0;
    let next = journal::with(&shared, |db| {
        for entry in db.range(range) {
            let (key, value) = entry?;
            if let Some(seq) = journal::seq_of(&key) {
                held.insert(seq, seq);
                bytes += value.len() as u64;
            }
        }
        db.get(journal::next_key(lane))
    })?;
    let next = next.and_then(|value| Take(&value).array().map(u64::from_be_bytes));
    // Events that are no longer in the journal, below its own count, were acknowledged and deleted.
    let told = next.unwrap_or(1).max(held.last() + 1);
    let mut absent = Intervals::default();
    absent.insert(1, told - 1);
    for &(first, last) in held.ranges() {
        absent.remove(first, last);
    }
    for gap in &book.gaps {
        absent.remove(gap.first, gap.last);
    }
    for &(first, last) in absent.ranges() {
        book.done.insert(first, last);
    }
    // An event that is in the journal and was dropped or refused is told by its gap.
    let mut known = book.done.clone();
    known.insert(1, told - 1);
    for gap in &book.gaps {
        known.insert(gap.first, gap.last);
    }
    book.next = sums.next(book, known.last());
    if found.aside.is_some() {
        book.next = book.next.max(book.ceiling + 1);
    }
    let reason = if found.aside.is_some() { Reason::Damaged } else { Reason::UncleanStop };
    for (first, last) in known.missing(1, book.next - 1) {
        sums.leave(book, first, last, 0, reason);
    }
    book.newest = book.next - 1;
    Ok(bytes)
}

fn read_offsets(journal: &Journal) -> io::Result<Vec<ClockOffset>> {
    let entries =
        journal::with(&journal.shared(), |db| db.scan_prefix([journal::OFFSET]).collect::<Result<Vec<_>, _>>())?;
    let mut offsets: Vec<(u64, ClockOffset)> = Vec::new();
    for (key, value) in entries {
        let boot = key.get(1..).and_then(|boot| boot.try_into().ok()).map(u128::from_be_bytes);
        let mut take = Take(&value);
        let told = (|| Some((take.le_u64()?, take.le_i64()?, trust_from(take.byte()?)?)))();
        if let (Some(boot), Some((order, offset_us, trust))) = (boot, told) {
            offsets.push((order, ClockOffset { boot: BootId(boot), offset_us, trust }));
        }
    }
    offsets.sort_by_key(|(order, offset)| (*order, offset.boot));
    Ok(offsets.into_iter().map(|(_, offset)| offset).collect())
}

pub(crate) fn encode_offset(offset: &ClockOffset, order: u64) -> Vec<u8> {
    let mut out = order.to_le_bytes().to_vec();
    out.extend_from_slice(&offset.offset_us.to_le_bytes());
    out.push(trust_code(offset.trust));
    out
}

/// What a start takes from recovery.
struct Start {
    epoch: u64,
    counter: u64,
    books: [Book; 6],
    tails: [Tail; 2],
    offsets: Vec<ClockOffset>,
    event_bytes: [u64; 6],
    lock: File,
}

/// Reserves numbers durably, starts the I/O thread and puts the facade together.
fn start(
    settings: Settings,
    now: Stamp,
    wake: Wake,
    disk: Disk,
    mut found: Disks,
    mut with: Start,
) -> Result<Store, StoreError> {
    for book in &mut with.books {
        let used = book.next > 1 || !book.lane.is_event();
        book.ceiling = book.ceiling.max(book.next - 1 + if used { reserve(book.lane) } else { 0 });
    }
    let counter = with.counter + 1;
    let books = with.books;
    let floors = Floors { counter, epoch: with.epoch, boot: now.boot, clean: false, books: books.clone() };
    let unusable = |error| StoreError::unusable("cannot write the sequence numbers in", &settings.dir, error);
    found.floors_file.write(&floors.encode()).map_err(unusable)?;
    let copied = found.journal.commit([(journal::FLOORS_KEY.to_vec(), Some(floors.journal_copy()))].into_iter());
    if let Err(error) = copied {
        tracing::warn!(%error, "the journal does not take the copy of the sequence numbers yet");
    }
    let acks = Acks::create(&settings.tail_dir, now.boot, with.epoch, &books)
        .map_err(|error| StoreError::unusable("cannot write the hot tail in", &settings.tail_dir, error))?;
    let (jobs, job_queue) = mpsc::channel();
    let (reply_queue, replies) = mpsc::channel();
    let shared = found.journal.shared();
    let thread = IoThread {
        dir: spool_dir(&settings),
        epoch: with.epoch,
        boot: now.boot,
        segment_bytes: settings.segment_bytes,
        next_segment: found.next_segment,
        disk: disk.clone(),
        floors: found.floors_file,
        journal: found.journal,
        quarantine: found.quarantine,
        jobs: job_queue,
        replies: reply_queue,
        wake,
        work: Work::default(),
    };
    let lock = with.lock;
    let thread = std::thread::Builder::new().name("store-io".into()).spawn(move || {
        // The lock goes when the thread has written its last.
        thread.run();
        // Not by closing alone: a process that is being started holds copies of all files for a moment.
        let _ = rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock);
    });
    let thread =
        thread.map_err(|error| StoreError::unusable("cannot start the I/O thread for", &settings.dir, error))?;
    let [billing, telemetry] = with.tails;
    let mut segments = [VecDeque::new(), VecDeque::new()];
    for segment in found.segments {
        segments[usize::from(segment.lane == Lane::Telemetry)].push_back(segment);
    }
    let [billing_segments, telemetry_segments] = segments;
    let spool = |lane: Lane, tail: Tail, segments: VecDeque<Segment>, accounted: u64| Spool {
        lane,
        tail,
        segments,
        open: None,
        sealing: false,
        retry: None,
        accounted,
        cursor: None,
    };
    let floor = |lane: Lane| books[lane.index()].next - 1;
    let spools = [
        spool(Lane::Billing, billing, billing_segments, floor(Lane::Billing)),
        spool(Lane::Telemetry, telemetry, telemetry_segments, floor(Lane::Telemetry)),
    ];
    Ok(Store {
        settings,
        disk,
        epoch: with.epoch,
        boot: now.boot,
        counter,
        books,
        spools,
        acks,
        journal: shared,
        jobs,
        replies,
        thread: Some(thread),
        events: VecDeque::new(),
        troubles: BTreeMap::new(),
        commits: Commits { event_bytes: with.event_bytes, ..Commits::default() },
        offsets: with.offsets,
        timers: Timers { now: now.mono, ..Timers::default() },
        checkpoints: VecDeque::new(),
        thinning: false,
        written: Written::default(),
        stamp: now,
        scratch: None,
    })
}
