//! What happened, brought into the order of time in bounded memory: sorted runs in one file without a name, merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::rc::Rc;

use gatehouse_core::{Decimal, DeviceIx, NoData, PointIx, PointReading, Value, Wall};

use super::records::Happened;

/// So many readings are held in memory, in about 50 bytes each. What is beyond is put into a file.
const HELD: usize = 1_000_000;
/// Bytes that are read of one run at once.
const AHEAD: usize = 16 << 10;

/// Takes what happened in any order.
#[derive(Debug)]
pub(super) struct Order {
    held: Vec<(Wall, Happened)>,
    /// Readings in `held`.
    readings: usize,
    most: usize,
    file: Option<Rc<File>>,
    /// Where each run begins and ends in the file, in the order in which they were read.
    runs: Vec<(u64, u64)>,
}

impl Default for Order {
    fn default() -> Self {
        Order::holding(HELD)
    }
}

impl Order {
    /// Holds at most so many readings in memory.
    fn holding(most: usize) -> Self {
        Order { held: Vec::new(), readings: 0, most, file: None, runs: Vec::new() }
    }

    /// Takes one thing that happened.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn push(&mut self, at: Wall, happened: Happened) -> io::Result<()> {
        self.readings += match &happened {
            Happened::Sample(_, readings) => readings.len(),
            Happened::Device(..) | Happened::Link(_) => 1,
        };
        self.held.push((at, happened));
        if self.readings >= self.most { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_by_key(|(at, _)| *at);
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.file.insert(Rc::new(nameless()?)).clone(),
        };
        let begin = self.runs.last().map_or(0, |(_, end)| *end);
        let mut out = io::BufWriter::new(&*file);
        let mut bytes = Vec::new();
        let mut end = begin;
        for (at, happened) in self.held.drain(..) {
            bytes.clear();
            put(&mut bytes, at, &happened);
            out.write_all(&bytes)?;
            end += bytes.len() as u64;
        }
        out.flush()?;
        self.runs.push((begin, end));
        self.readings = 0;
        Ok(())
    }

    /// Everything by time; what happened at once in the order in which it was taken.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn merge(mut self) -> io::Result<Merged> {
        self.held.sort_by_key(|(at, _)| *at);
        let file = self.file.take();
        let runs = self.runs.iter().zip(file.iter().cycle());
        let runs = runs.map(|((at, end), file)| {
            Source::File(BufReader::with_capacity(AHEAD, Part { file: file.clone(), at: *at, end: *end }))
        });
        // What is held was taken last.
        let mut sources: Vec<Source> = runs.collect();
        sources.push(Source::Held(self.held.into_iter()));
        let mut merged = Merged { sources, next: BinaryHeap::new(), waiting: Vec::new() };
        merged.waiting.resize_with(merged.sources.len(), || None);
        for run in 0..merged.sources.len() {
            merged.pull(run)?;
        }
        Ok(merged)
    }
}

/// A file that nobody else can open, and that is gone with this process.
fn nameless() -> io::Result<File> {
    let name = format!("gatehouse-replay-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// A part of a file, read from its beginning to its end.
#[derive(Debug)]
struct Part {
    file: Rc<File>,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read_at(buffer.get_mut(..most).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A run.
#[derive(Debug)]
enum Source {
    File(BufReader<Part>),
    Held(std::vec::IntoIter<(Wall, Happened)>),
}

/// Everything that happened, by time.
#[derive(Debug)]
pub(super) struct Merged {
    sources: Vec<Source>,
    /// The time of what each run has next; of several at once the earlier run goes first.
    next: BinaryHeap<Reverse<(Wall, usize)>>,
    waiting: Vec<Option<Happened>>,
}

impl Merged {
    /// When the next thing happened.
    pub(super) fn peek(&self) -> Option<Wall> {
        self.next.peek().map(|Reverse((at, _))| *at)
    }

    /// The next thing that happened.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<(Wall, Happened)>> {
        let Some(Reverse((at, run))) = self.next.pop() else { return Ok(None) };
        let happened = self.waiting.get_mut(run).and_then(Option::take);
        self.pull(run)?;
        Ok(happened.map(|happened| (at, happened)))
    }

    fn pull(&mut self, run: usize) -> io::Result<()> {
        let next = match self.sources.get_mut(run) {
            None => None,
            Some(Source::Held(held)) => held.next(),
            Some(Source::File(file)) => take(file)?,
        };
        if let (Some((at, happened)), Some(slot)) = (next, self.waiting.get_mut(run)) {
            *slot = Some(happened);
            self.next.push(Reverse((at, run)));
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, at: Wall, happened: &Happened) {
    out.extend(at.0.to_le_bytes());
    match happened {
        Happened::Link(up) => out.extend([0, u8::from(*up)]),
        Happened::Device(device, online, why) => {
            out.extend([1, u8::from(*online)]);
            out.extend(device.0.to_le_bytes());
            put_text(out, why);
        }
        Happened::Sample(device, readings) => {
            out.push(2);
            out.extend(device.0.to_le_bytes());
            out.extend((readings.len() as u64).to_le_bytes());
            for reading in readings {
                out.extend(reading.point.0.to_le_bytes());
                put_value(out, &reading.value);
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Result<Value, NoData>) {
    match value {
        Err(why) => {
            let (code, detail) = why.code();
            out.extend([0, code, detail]);
        }
        Ok(Value::Bool(on)) => out.extend([1, u8::from(*on)]),
        Ok(Value::Decimal(Decimal { mantissa, exponent })) => {
            out.push(2);
            out.extend(mantissa.to_le_bytes());
            out.extend(exponent.to_le_bytes());
        }
        Ok(Value::F32(number)) => {
            out.push(3);
            out.extend(number.to_bits().to_le_bytes());
        }
        Ok(Value::F64(number)) => {
            out.push(4);
            out.extend(number.to_bits().to_le_bytes());
        }
        Ok(Value::Text(text)) => {
            out.push(5);
            put_text(out, text);
        }
    }
}

/// What [`put`] has written; `None` at the end of a run.
fn take(from: &mut BufReader<Part>) -> io::Result<Option<(Wall, Happened)>> {
    if io::BufRead::fill_buf(from)?.is_empty() {
        return Ok(None);
    }
    let at = Wall(i64::from_le_bytes(bytes(from)?));
    let happened = match byte(from)? {
        0 => Happened::Link(byte(from)? != 0),
        1 => {
            let online = byte(from)? != 0;
            Happened::Device(DeviceIx(u32::from_le_bytes(bytes(from)?)), online, take_text(from)?)
        }
        2 => {
            let device = DeviceIx(u32::from_le_bytes(bytes(from)?));
            let count = u64::from_le_bytes(bytes(from)?);
            let reading = |_| {
                let point = PointIx(u16::from_le_bytes(bytes(from)?));
                Ok(PointReading::new(point, take_value(from)?))
            };
            Happened::Sample(device, (0..count).map(reading).collect::<io::Result<_>>()?)
        }
        _ => return Err(damaged()),
    };
    Ok(Some((at, happened)))
}

fn take_value(from: &mut impl Read) -> io::Result<Result<Value, NoData>> {
    Ok(match byte(from)? {
        0 => {
            let [code, detail] = bytes(from)?;
            Err(NoData::from_code(code, detail).ok_or_else(damaged)?)
        }
        1 => Ok(Value::Bool(byte(from)? != 0)),
        2 => {
            let mantissa = i128::from_le_bytes(bytes(from)?);
            Ok(Value::Decimal(Decimal { mantissa, exponent: i8::from_le_bytes(bytes(from)?) }))
        }
        3 => Ok(Value::F32(f32::from_bits(u32::from_le_bytes(bytes(from)?)))),
        4 => Ok(Value::F64(f64::from_bits(u64::from_le_bytes(bytes(from)?)))),
        5 => Ok(Value::Text(take_text(from)?.into())),
        _ => return Err(damaged()),
    })
}

fn take_text(from: &mut impl Read) -> io::Result<String> {
    let length = u64::from_le_bytes(bytes(from)?);
    let mut text = String::new();
    let read = from.take(length).read_to_string(&mut text)?;
    if read as u64 == length { Ok(text) } else { Err(damaged()) }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    bytes::<1>(from).map(|[byte]| byte)
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file of what was read is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(order: Order) -> Vec<(Wall, Happened)> {
        let mut merged = order.merge().unwrap();
        let mut all = Vec::new();
        while let Some(at) = merged.peek() {
            let next = merged.next().unwrap().unwrap();
            assert_eq!(next.0, at);
            all.push(next);
        }
        assert_eq!(merged.next().unwrap(), None);
        all
    }

    /// Anything that may have happened, at one of few times, so that several happen at once.
    fn happened(rng: &mut fastrand::Rng) -> (Wall, Happened) {
        let value = |rng: &mut fastrand::Rng| match rng.u8(0..6) {
            0 => Err(NoData::Exception(rng.u8(..))),
            1 => Ok(Value::Bool(rng.bool())),
            2 => Ok(Value::Decimal(Decimal { mantissa: rng.i128(..), exponent: rng.i8(-30..30) })),
            3 => Ok(Value::F32(rng.f32())),
            4 => Ok(Value::F64(rng.f64())),
            _ => Ok(Value::Text("Zähler".into())),
        };
        let device = DeviceIx(rng.u32(..));
        let happened = match rng.u8(0..4) {
            0 => Happened::Link(rng.bool()),
            1 => Happened::Device(device, rng.bool(), "timeout".to_owned()),
            _ => {
                let readings = (0..rng.u16(0..5)).map(|point| PointReading::new(PointIx(point), value(rng)));
                Happened::Sample(device, readings.collect())
            }
        };
        (Wall(rng.i64(-3..40)), happened)
    }

    #[test]
    fn what_does_not_fit_into_memory_comes_in_the_same_order_as_what_does() {
        let mut rng = fastrand::Rng::with_seed(7);
        for most in [1, 3, 50, 100_000] {
            let told: Vec<_> = (0..500).map(|_| happened(&mut rng)).collect();
            let mut order = Order::holding(most);
            for (at, happened) in told.clone() {
                order.push(at, happened).unwrap();
            }
            let mut expected = told;
            expected.sort_by_key(|(at, _)| *at);
            assert_eq!(all(order), expected, "at most {most} readings in memory");
        }
    }

    #[test]
    fn nothing_that_happened_is_nothing() {
        assert_eq!(all(Order::default()), []);
    }
}
