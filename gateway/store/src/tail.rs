//! The hot tail of a lane: what was appended and is neither acknowledged nor sealed, in memory and on tmpfs.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_core::{BootId, Lane, Mono, PointReading, Schema, Stamp};

use crate::intervals::Intervals;
use crate::row::{self, Row};
use crate::wire::Take;

const MAGIC: [u8; 8] = *b"GHTAIL1\n";
const FILE_HEAD: usize = 8 + 16 + 8;
/// Bytes of samples at which a generation is closed: small enough that a healthy link frees memory soon.
const GENERATION_BYTES: usize = 128 << 10;
/// After a file could not be written, the next one is tried this much later at the soonest.
const RETRY: Duration = Duration::from_secs(5);

/// What the I/O thread needs of a generation to seal it.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Sample frames, without schema frames.
    pub(crate) bytes: Vec<u8>,
    pub(crate) schemas: Vec<Arc<Schema>>,
}

/// Where a sample stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    pub(crate) offset: u32,
    at: Mono,
}

/// Where a generation's samples go beside the memory.
#[derive(Debug)]
enum Sink {
    /// To its file.
    File(File),
    /// Nowhere, until a new generation tries a file again: the file could not be opened or written.
    Memory { retry: Mono },
    /// Nothing is appended any more.
    Closed,
}

#[derive(Debug)]
struct Generation {
    path: PathBuf,
    rows: Arc<Rows>,
    places: Vec<Place>,
    sink: Sink,
    /// Holds samples that went to no file.
    exposed: bool,
    numbers: HashMap<usize, u32>,
    written: u64,
}

/// The hot tail of one lane.
#[derive(Debug)]
pub(crate) struct Tail {
    lane: Lane,
    dir: PathBuf,
    boot: BootId,
    epoch: u64,
    generations: VecDeque<Generation>,
    next_file: u64,
    frame: Vec<u8>,
    /// Bytes of samples in memory.
    pub(crate) bytes: usize,
    /// The last sample went to no file.
    pub(crate) failing: bool,
}

/// What is to be sealed: the rows of each generation, and where the samples stand in them.
pub(crate) type Sealable = Vec<(Arc<Rows>, Vec<Place>)>;

/// Removes a frame's file when it is no longer wanted; a failure leaves a file whose numbers are known to be done.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

impl Tail {
    pub(crate) fn new(lane: Lane, dir: &Path, boot: BootId, epoch: u64, next_file: u64) -> Self {
        let (generations, frame) = (VecDeque::new(), Vec::new());
        Tail { lane, dir: dir.into(), boot, epoch, generations, next_file, frame, bytes: 0, failing: false }
    }

    /// Adds a sample; with `failing` it is in memory only. An error says why, once for each file that was tried.
    pub(crate) fn append(
        &mut self,
        seq: u64,
        at: Mono,
        stamp: &Stamp,
        schema: &Arc<Schema>,
        readings: &[PointReading],
    ) -> io::Result<()> {
        let begun = if self.is_open(at) { Ok(()) } else { self.begin(at) };
        let boot = self.boot;
        let generation = self.generations.back_mut().expect("`begin` leaves one, whatever fails");
        let rows = Arc::get_mut(&mut generation.rows).expect("an open generation is shared with nobody");
        self.frame.clear();
        let key = Arc::as_ptr(schema) as usize;
        let number = match generation.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(rows.schemas.len()).unwrap_or(u32::MAX);
                rows.schemas.push(Arc::clone(schema));
                generation.numbers.insert(key, number);
                row::put_schema_frame(&mut self.frame, number, schema);
                number
            }
        };
        let offset = rows.bytes.len();
        row::put_sample_frame(&mut rows.bytes, boot, seq, number, stamp, readings);
        let bytes = &rows.bytes[offset..];
        self.bytes += bytes.len();
        let written = match &mut generation.sink {
            Sink::File(file) => write(file, [&self.frame, bytes], &mut generation.written),
            Sink::Memory { .. } | Sink::Closed => Ok(()),
        };
        if written.is_err() {
            // Were the file written on, samples could stand in it whose schema does not.
            generation.sink = Sink::Memory { retry: at + RETRY };
        }
        self.failing = !matches!(generation.sink, Sink::File(_));
        generation.exposed |= self.failing;
        generation.places.push(Place { seq, offset: u32::try_from(offset).unwrap_or(u32::MAX), at });
        begun.and(written)
    }

    /// True while samples are here that went to no file, whether or not files are written again.
    pub(crate) fn is_exposed(&self) -> bool {
        self.generations.iter().any(|generation| generation.exposed)
    }

    /// True when the last generation takes the next sample.
    fn is_open(&self, at: Mono) -> bool {
        self.generations.back().is_some_and(|last| {
            last.rows.bytes.len() < GENERATION_BYTES
                && match last.sink {
                    Sink::File(_) => true,
                    Sink::Memory { retry } => at < retry,
                    Sink::Closed => false,
                }
        })
    }

    /// Closes the last generation and begins a new one: in memory only if there is an error.
    fn begin(&mut self, at: Mono) -> io::Result<()> {
        self.close();
        let path = self.dir.join(format!("{}-{:010}.tail", self.lane, self.next_file));
        self.next_file += 1;
        let mut head = Vec::with_capacity(FILE_HEAD);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&self.boot.0.to_le_bytes());
        head.extend_from_slice(&self.epoch.to_le_bytes());
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        let opened = opened.and_then(|mut file| file.write_all(&head).map(|()| file));
        let (sink, result) = match opened {
            Ok(file) => (Sink::File(file), Ok(())),
            Err(error) => {
                remove(&path);
                (Sink::Memory { retry: at + RETRY }, Err(error))
            }
        };
        self.generations.push_back(Generation {
            path,
            rows: Arc::default(),
            places: Vec::new(),
            sink,
            exposed: false,
            numbers: HashMap::new(),
            written: FILE_HEAD as u64,
        });
        result
    }

    fn close(&mut self) {
        if let Some(last) = self.generations.back_mut() {
            last.sink = Sink::Closed;
            last.numbers = HashMap::new();
        }
    }

    /// Drops generations from the front whose samples are all in `done`; true if a file went.
    pub(crate) fn wants_trim(&self, done: &Intervals) -> bool {
        self.generations.front().is_some_and(|front| front.is_closed() && is_done(front, done))
    }

    /// See [`Tail::wants_trim`]; the acknowledgements must be on tmpfs by now.
    pub(crate) fn trim(&mut self, done: &Intervals) {
        while self.wants_trim(done) {
            self.drop_front();
        }
    }

    /// Drops all generations that end at or before `sealed`.
    pub(crate) fn drop_sealed(&mut self, sealed: u64) {
        let all = |front: &Generation| front.places.last().is_none_or(|place| place.seq <= sealed);
        while self.generations.front().is_some_and(|front| front.is_closed() && all(front)) {
            self.drop_front();
        }
    }

    /// Drops the oldest generation, whatever it holds; gives its first and last number.
    pub(crate) fn drop_oldest(&mut self) -> Option<(u64, u64)> {
        if self.generations.len() == 1 {
            self.close();
        }
        let front = self.generations.front()?;
        let span = (front.places.first()?.seq, front.places.last()?.seq);
        self.drop_front();
        Some(span)
    }

    fn drop_front(&mut self) {
        if let Some(front) = self.generations.pop_front() {
            self.bytes -= front.rows.bytes.len();
            remove(&front.path);
        }
    }

    /// Closes the last generation and gives all samples that are not in `done`.
    pub(crate) fn seal(&mut self, done: &Intervals) -> Sealable {
        self.close();
        let open = |generation: &Generation| -> Vec<Place> {
            generation.places.iter().filter(|place| !done.contains(place.seq)).copied().collect()
        };
        let all = self.generations.iter().map(|generation| (Arc::clone(&generation.rows), open(generation)));
        all.filter(|(_, places)| !places.is_empty()).collect()
    }

    /// When the first sample that is not in `done` was appended, and its number.
    pub(crate) fn oldest(&self, done: &Intervals) -> Option<(u64, Mono)> {
        let first = self.generations.front()?.places.first()?.seq;
        let seq = done.next_missing(first);
        self.find(seq).map(|(_, place)| (place.seq, place.at))
    }

    /// The first sample from `seq` on.
    fn find(&self, seq: u64) -> Option<(&Generation, Place)> {
        let at = self.generations.partition_point(|g| g.places.last().is_none_or(|place| place.seq < seq));
        let generation = self.generations.get(at)?;
        let place = generation.places.partition_point(|place| place.seq < seq);
        Some((generation, *generation.places.get(place)?))
    }

    /// Decodes the sample `seq`, if it is here.
    pub(crate) fn read(&self, seq: u64, readings: &mut Vec<PointReading>) -> Option<(Stamp, Arc<Schema>)> {
        let (generation, place) = self.find(seq).filter(|(_, place)| place.seq == seq)?;
        decode(&generation.rows, place, self.boot, readings)
    }
}

impl Generation {
    fn is_closed(&self) -> bool {
        matches!(self.sink, Sink::Closed)
    }
}

fn is_done(generation: &Generation, done: &Intervals) -> bool {
    match (generation.places.first(), generation.places.last()) {
        (Some(first), Some(last)) => {
            done.covers(first.seq, last.seq) || generation.places.iter().all(|place| done.contains(place.seq))
        }
        _ => true,
    }
}

/// Writes a schema frame, which may be empty, and a sample frame, or neither.
fn write(file: &mut File, [schema, sample]: [&[u8]; 2], written: &mut u64) -> io::Result<()> {
    let result = file.write_all(schema).and_then(|()| file.write_all(sample));
    match result {
        Ok(()) => *written += (schema.len() + sample.len()) as u64,
        // A torn frame at the end would be taken for damage: cut it off.
        Err(_) => file.set_len(*written)?,
    }
    result
}

/// Decodes a sample of a generation.
pub(crate) fn decode(
    rows: &Rows,
    place: Place,
    boot: BootId,
    readings: &mut Vec<PointReading>,
) -> Option<(Stamp, Arc<Schema>)> {
    let payload = row::own_payload(rows.bytes.get(usize::try_from(place.offset).ok()?..)?)?;
    match row::decode(payload, boot, readings)? {
        Row::Sample { stamp, schema, .. } => Some((stamp, Arc::clone(rows.schemas.get(schema)?))),
        Row::Schema(..) => None,
    }
}

/// A sample found in an old tail.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) lane: Lane,
    pub(crate) seq: u64,
    pub(crate) stamp: Stamp,
    pub(crate) schema: Arc<Schema>,
    pub(crate) readings: Vec<PointReading>,
}

/// The tail files of a folder: path, lane and file number, ascending.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<(PathBuf, Lane, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".tail"));
        let parts = name.and_then(|name| name.rsplit_once('-'));
        if let Some((lane, number)) = parts.and_then(|(lane, n)| Some((Lane::from_name(lane)?, n.parse().ok()?))) {
            files.push((path, lane, number));
        }
    }
    files.sort_by_key(|(_, lane, number)| (*lane, *number));
    Ok(files)
}

/// Reads a tail file: its samples, if it is of this epoch, and how many bytes at its end are no whole frame.
pub(crate) fn recover(path: &Path, lane: Lane, epoch: u64, found: &mut Vec<Found>) -> io::Result<usize> {
    let bytes = fs::read(path)?;
    let mut take = Take(&bytes);
    let head = (|| Some((take.array::<8>()?, BootId(u128::from_le_bytes(take.array()?)), take.le_u64()?)))();
    let Some((magic, boot, of)) = head else { return Ok(bytes.len()) };
    if magic != MAGIC || of != epoch {
        return Ok(0);
    }
    let mut rest = take.0;
    let mut schemas: HashMap<u64, Arc<Schema>> = HashMap::new();
    while let Some(payload) = row::payload(rest) {
        let mut readings = Vec::new();
        match row::decode(payload, boot, &mut readings) {
            Some(Row::Schema(number, schema)) => {
                schemas.insert(number, Arc::new(schema));
            }
            Some(Row::Sample { seq, schema, stamp }) => {
                if let Some(schema) = schemas.get(&(schema as u64)).cloned() {
                    found.push(Found { lane, seq, stamp, schema, readings });
                }
            }
            None => break,
        }
        rest = &rest[row::FRAME_HEAD + payload.len()..];
    }
    Ok(rest.len())
}
