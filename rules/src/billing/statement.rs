//! A month's account of all meters: segments, what is missing and why, and masters against their submeters.
//!
//! Pure reckoning over what is kept. A consumption is given only where both of its ends are there and nothing breaks
//! between; otherwise there is the reason.

use std::collections::BTreeMap;

use gatehouse_core::{Decimal, Stamp};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize, Serializer};

use super::judge::Flag;
use super::record::{FixedReading, Installation, Source, Taken};
use crate::instant::Instant;
use crate::schedule::zone;

/// Everything that a statement is made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Books {
    /// The site.
    pub site: String,
    /// Its IANA zone.
    pub timezone: String,
    /// When the books were read, in microseconds since 1970.
    pub now_us: i64,
    /// Fixed-clock readings of the site file.
    pub readings: Vec<ReadingBook>,
    /// Devices with billing points.
    pub meters: Vec<MeterBook>,
    /// Masters with their submeters.
    pub balances: Vec<BalanceBook>,
    /// The readings that are kept of the month, and of the day after it.
    pub kept: Vec<FixedReading>,
}

/// A fixed-clock reading of the site file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingBook {
    /// Its name.
    pub name: String,
    /// The day of the month on which it is due; `None`: each day.
    pub day: Option<u8>,
    /// Hour and minute.
    pub at: (u8, u8),
    /// The points of each device that it reads.
    pub of: BTreeMap<String, Vec<String>>,
}

/// A device with billing points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterBook {
    /// The device.
    pub device: String,
    /// For people.
    pub title: String,
    /// Its registers.
    pub registers: Vec<RegisterBook>,
    /// Its installations, ascending.
    pub installations: Vec<Installation>,
}

/// A register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterBook {
    /// The point.
    pub point: String,
    /// Its unit.
    pub unit: String,
    /// True for what only counts up.
    pub counter: bool,
}

/// A master with its submeters, each as device and point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceBook {
    /// Its name.
    pub id: String,
    /// The master.
    pub master: (String, String),
    /// The submeters.
    pub submeters: Vec<(String, String)>,
}

/// A month's account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// The site.
    pub site: String,
    /// The month, `2026-11`.
    pub month: String,
    /// The settlement days that it lies between.
    pub from: String,
    /// The day after its last.
    pub to: String,
    /// The reading that settles it.
    pub reading: String,
    /// Each register of each meter.
    pub lines: Vec<Line>,
    /// Readings that are not there, and why.
    pub gaps: Vec<Gap>,
    /// How many readings were due in the month, and how many are there.
    pub complete: (usize, usize),
    /// Masters against their submeters.
    pub balances: Vec<Balance>,
}

/// One register in a month.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The device.
    pub device: String,
    /// For people.
    pub title: String,
    /// The point.
    pub point: String,
    /// The register's unit.
    pub unit: String,
    /// What was used, of all segments; `None`: it cannot be told.
    #[serde(serialize_with = "maybe_text")]
    pub consumption: Option<Decimal>,
    /// From one installation or settlement to the next.
    pub segments: Vec<Segment>,
    /// The widest distance of its two settlement readings from their times, in seconds.
    pub skew_s: Option<i64>,
}

/// A register under one installation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    /// The installation; `None`: none is recorded.
    pub version: Option<u32>,
    /// The meter's serial number.
    pub serial: String,
    /// The ratio; `None`: none is recorded, and the register is taken as it is.
    #[serde(serialize_with = "maybe_text")]
    pub multiplier: Option<Decimal>,
    /// Its beginning and its end.
    pub opening: End,
    /// Its end.
    pub closing: End,
    /// What the register counted, without the ratio.
    #[serde(serialize_with = "maybe_text")]
    pub counted: Option<Decimal>,
    /// The same times the ratio.
    #[serde(serialize_with = "maybe_text")]
    pub consumption: Option<Decimal>,
    /// Why it cannot be told; `""` where it can.
    pub why: String,
}

/// One end of a segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct End {
    /// The day or instant in the site's zone.
    pub when: String,
    /// What the register showed.
    pub taken: Option<Taken>,
    /// How long after its time that is from, in seconds.
    pub skew_s: Option<i64>,
    /// How far the meter's clock was ahead, in seconds.
    pub clock_offset_s: Option<i64>,
    /// Why there is none; `""` where there is.
    pub missing: String,
}

/// A reading that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The day.
    pub day: String,
    /// The reading of the site file.
    pub reading: String,
    /// The device.
    pub device: String,
    /// The points, where not all of them are missing.
    pub points: Vec<String>,
    /// Why.
    pub why: String,
}

/// A master against its submeters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Balance {
    /// Its name.
    pub id: String,
    /// The master's consumption.
    #[serde(serialize_with = "maybe_text")]
    pub master: Option<Decimal>,
    /// The sum of the submeters'; `None` where one of them cannot be told.
    #[serde(serialize_with = "maybe_text")]
    pub submeters: Option<Decimal>,
    /// What is left for all: the master's less the submeters'.
    #[serde(serialize_with = "maybe_text")]
    pub shared: Option<Decimal>,
    /// The widest distance between two readings that should be of one time, in seconds.
    pub skew_s: Option<i64>,
    /// Whose consumption cannot be told, or has another unit.
    pub missing: Vec<String>,
}

/// Why there is no statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The month is none.
    #[error("{0:?} is no month: write it as 2026-11")]
    Month(String),
    /// No reading settles a month.
    #[error("the site file has no fixed-clock reading: add [[reading]] with every = \"month\" or \"day\"")]
    NoReading,
    /// No such reading.
    #[error("the site file has no fixed-clock reading {0:?}")]
    UnknownReading(String),
}

/// The months and days that a statement needs readings of: the month, and the settlement day of the one after it.
///
/// # Errors
/// [`StatementError::Month`].
pub fn needed(month: &str) -> Result<[String; 2], StatementError> {
    let first: Date = format!("{month}-01").parse().map_err(|_| StatementError::Month(month.to_owned()))?;
    let next = first.last_of_month().tomorrow().map_err(|_| StatementError::Month(month.to_owned()))?;
    let text = |date: Date| format!("{:04}-{:02}", date.year(), date.month());
    if text(first) != month {
        return Err(StatementError::Month(month.to_owned()));
    }
    Ok([text(first), text(next)])
}

/// The account of a month, in the site's zone. `reading` names what settles it; `None`: the first monthly reading, else the first daily one.
///
/// # Errors
/// [`StatementError`].
pub fn statement(
    books: &Books,
    zone: &TimeZone,
    month: &str,
    reading: Option<&str>,
) -> Result<Statement, StatementError> {
    let [_, next] = needed(month)?;
    let monthly = || books.readings.iter().find(|one| one.day.is_some()).or(books.readings.first());
    let spec = match reading {
        Some(name) => books
            .readings
            .iter()
            .find(|one| one.name == name)
            .ok_or_else(|| StatementError::UnknownReading(name.to_owned()))?,
        None => monthly().ok_or(StatementError::NoReading)?,
    };
    let day = spec.day.unwrap_or(1);
    let account = Account {
        books,
        zone,
        spec,
        from: format!("{month}-{day:02}"),
        to: format!("{next}-{day:02}"),
        by_key: books.kept.iter().fold(BTreeMap::new(), |mut all: Index<'_>, one| {
            all.entry((one.device.as_str(), one.day.as_str())).or_default().push(one);
            all
        }),
    };
    let lines: Vec<Line> = books.meters.iter().flat_map(|meter| account.lines(meter)).collect();
    let (gaps, complete) = account.gaps(month);
    let balances = books.balances.iter().map(|one| balance(one, &lines)).collect();
    Ok(Statement {
        site: books.site.clone(),
        month: month.to_owned(),
        reading: spec.name.clone(),
        lines,
        gaps,
        complete,
        balances,
        from: account.from,
        to: account.to,
    })
}

type Index<'b> = BTreeMap<(&'b str, &'b str), Vec<&'b FixedReading>>;

struct Account<'b> {
    books: &'b Books,
    zone: &'b TimeZone,
    spec: &'b ReadingBook,
    from: String,
    to: String,
    by_key: Index<'b>,
}

impl Account<'_> {
    fn lines(&self, meter: &MeterBook) -> Vec<Line> {
        let reads = |point: &String| self.spec.of.get(&meter.device).is_some_and(|points| points.contains(point));
        let registers = meter.registers.iter().filter(|register| reads(&register.point));
        registers.map(|register| self.line(meter, register)).collect()
    }

    fn line(&self, meter: &MeterBook, register: &RegisterBook) -> Line {
        let point = register.point.as_str();
        let (first, last) =
            (self.settled(&meter.device, point, &self.from), self.settled(&meter.device, point, &self.to));
        let skew_s = first.skew_s.into_iter().chain(last.skew_s).max_by_key(|skew| skew.abs());
        let bounds = (self.instant(&self.from), self.instant(&self.to));
        let here: Vec<&Installation> = meter.installations.iter().filter(|one| overlaps(one, bounds)).collect();
        let mut segments = Vec::new();
        if here.is_empty() {
            segments.push(segment(None, first, last, register.counter));
        } else {
            // What is before the first installation that is recorded belongs to none.
            let unowned = here.first().filter(|one| one.version == 1 && wall(one.from) > bounds.0);
            if let Some(one) = unowned.filter(|_| first.taken.is_some()) {
                let nothing = End { missing: "no_installation".to_owned(), ..self.end(one.from, None) };
                segments.push(segment(None, first.clone(), nothing, register.counter));
            }
            for one in here {
                let begins = wall(one.from) <= bounds.0;
                let ends = one.to.is_none_or(|to| wall(to) >= bounds.1);
                let opening = if begins { first.clone() } else { self.end(one.from, one.opening.get(point)) };
                let closing = match one.to {
                    Some(to) if !ends => self.end(to, one.closing.get(point)),
                    _ => last.clone(),
                };
                segments.push(segment(Some(one), opening, closing, register.counter));
            }
        }
        let parts = segments.iter().map(|segment| segment.consumption);
        let consumption = parts.reduce(|sum, one| sum?.checked_add(one?)).flatten();
        Line {
            device: meter.device.clone(),
            title: meter.title.clone(),
            point: point.to_owned(),
            unit: register.unit.clone(),
            consumption,
            segments,
            skew_s,
        }
    }

    /// The reading of a settlement day: of the settling reading, else of another of the same time, else a person's.
    fn settled(&self, device: &str, point: &str, day: &str) -> End {
        let kept = self.by_key.get(&(device, day)).map(Vec::as_slice).unwrap_or_default();
        let same_time = |name: &str| {
            name == self.spec.name || self.books.readings.iter().any(|one| one.name == name && one.at == self.spec.at)
        };
        let with = |one: &&&FixedReading| one.values.contains_key(point);
        let by_box = || kept.iter().filter(|one| one.by.is_none() && same_time(&one.reading));
        let found = by_box()
            .filter(with)
            .max_by_key(|one| one.reading == self.spec.name)
            .or_else(|| kept.iter().filter(|one| one.by.is_some()).filter(with).max_by_key(|one| one.at.map(wall)));
        let why = || {
            let own = by_box().find(|one| one.reading == self.spec.name);
            let told = own.and_then(|one| one.missing.get(point));
            let early = self.instant(day) > self.books.now_us;
            told.cloned().unwrap_or_else(|| if early { "not_due_yet" } else { "not_recorded" }.to_owned())
        };
        End {
            when: day.to_owned(),
            taken: found.and_then(|one| one.values.get(point).cloned()),
            skew_s: found.and_then(|one| one.skew_s),
            clock_offset_s: found.and_then(|one| one.clock_offset_s),
            missing: if found.is_some() { String::new() } else { why() },
        }
    }

    fn end(&self, at: Instant, taken: Option<&Taken>) -> End {
        let time = zone::local(Stamp::from(at).wall, self.zone);
        let skew = taken.and_then(|one| one.at_us).map(|taken| (taken - wall(at)).div_euclid(1_000_000));
        End {
            when: time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            taken: taken.cloned(),
            skew_s: skew,
            clock_offset_s: None,
            missing: if taken.is_some() { String::new() } else { "no_reading_at_the_swap".to_owned() },
        }
    }

    fn instant(&self, day: &str) -> i64 {
        let (hour, minute) = self.spec.at;
        let time = day.parse::<Date>().ok().and_then(|date| {
            let at = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
            zone::wall(at, self.zone)
        });
        time.map_or(i64::MAX, |time| time.0)
    }

    /// What was due in the month and is not there, with how many were due and how many are there.
    fn gaps(&self, month: &str) -> (Vec<Gap>, (usize, usize)) {
        let (mut gaps, mut due, mut there) = (Vec::new(), 0, 0);
        let Ok(first) = format!("{month}-01").parse::<Date>() else { return (gaps, (0, 0)) };
        let days = std::iter::successors(Some(first), |day| day.tomorrow().ok())
            .take_while(|day| day.month() == first.month());
        for date in days {
            let day = date.to_string();
            for spec in &self.books.readings {
                let on = spec.day.is_none_or(|of| of == date.day().unsigned_abs());
                if !on || self.instant(&day) > self.books.now_us {
                    continue;
                }
                for (device, points) in &spec.of {
                    due += 1;
                    match self.gap(spec, device, points, &day) {
                        None => there += 1,
                        Some(gap) => gaps.push(gap),
                    }
                }
            }
        }
        (gaps, (due, there))
    }

    fn gap(&self, spec: &ReadingBook, device: &str, points: &[String], day: &str) -> Option<Gap> {
        let kept = self.by_key.get(&(device, day)).map(Vec::as_slice).unwrap_or_default();
        let of: Vec<_> = kept.iter().filter(|one| one.reading == spec.name).collect();
        let there = |point: &String| of.iter().any(|one| one.values.contains_key(point));
        let absent: Vec<&String> = points.iter().filter(|point| !there(point)).collect();
        let first = absent.first()?;
        let why = of.iter().find_map(|one| one.missing.get(*first)).cloned();
        Some(Gap {
            day: day.to_owned(),
            reading: spec.name.clone(),
            device: device.to_owned(),
            points: if absent.len() == points.len() { Vec::new() } else { absent.into_iter().cloned().collect() },
            why: why.unwrap_or_else(|| "not_recorded".to_owned()),
        })
    }
}

fn maybe_text<S: Serializer>(number: &Option<Decimal>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => serializer.collect_str(number),
        None => serializer.serialize_none(),
    }
}

fn wall(instant: Instant) -> i64 {
    Stamp::from(instant).wall.0
}

fn overlaps(one: &Installation, (from, to): (i64, i64)) -> bool {
    wall(one.from) < to && one.to.is_none_or(|end| wall(end) > from)
}

fn segment(of: Option<&Installation>, opening: End, closing: End, counter: bool) -> Segment {
    let (counted, why) = if counter { counted(&opening, &closing) } else { (None, "no_counter".to_owned()) };
    let multiplier = of.map(|one| one.multiplier);
    let ratio = multiplier.unwrap_or(Decimal::whole(1));
    Segment {
        version: of.map(|one| one.version),
        serial: of.map(|one| one.serial.clone()).unwrap_or_default(),
        multiplier,
        consumption: counted.and_then(|counted| counted.checked_mul(ratio)),
        counted,
        opening,
        closing,
        why,
    }
}

/// What a register counted between two readings that go on from each other.
fn counted(opening: &End, closing: &End) -> (Option<Decimal>, String) {
    let (Some(first), Some(last)) = (&opening.taken, &closing.taken) else {
        let which = if opening.taken.is_none() { ("opening", opening) } else { ("closing", closing) };
        return (None, format!("{}: {}", which.0, which.1.missing));
    };
    let broken = first.flags.iter().chain(&last.flags).find(|flag: &&Flag| flag.breaks());
    if let Some(flag) = broken {
        return (None, format!("flagged: {}", flag.as_str()));
    }
    let end = |one: &Taken| one.value.checked_add(one.carried);
    let counted = end(last).zip(end(first)).and_then(|(last, first)| last.checked_sub(first));
    match counted {
        Some(counted) if counted.mantissa < 0 => (None, "flagged: regression".to_owned()),
        Some(counted) => (Some(counted), String::new()),
        None => (None, "out_of_range".to_owned()),
    }
}

fn balance(book: &BalanceBook, lines: &[Line]) -> Balance {
    let line =
        |(device, point): &(String, String)| lines.iter().find(|line| line.device == *device && line.point == *point);
    let master = line(&book.master);
    let unit = master.map_or("", |line| line.unit.as_str());
    let mut missing = Vec::new();
    let mut skews: Vec<i64> = Vec::new();
    let mut sum = Some(Decimal::whole(0));
    for (member, is_master) in [(&book.master, true)].into_iter().chain(book.submeters.iter().map(|one| (one, false))) {
        let found = line(member).filter(|line| line.unit == unit);
        let ends = found.iter().flat_map(|line| line.segments.first().into_iter().chain(line.segments.last()));
        skews.extend(ends.flat_map(|segment| [segment.opening.skew_s, segment.closing.skew_s]).flatten());
        let consumption = found.and_then(|line| line.consumption);
        if consumption.is_none() {
            missing.push(format!("{}/{}", member.0, member.1));
        }
        if !is_master {
            sum = sum.zip(consumption).and_then(|(sum, one)| sum.checked_add(one));
        }
    }
    let used = master.and_then(|line| line.consumption);
    Balance {
        id: book.id.clone(),
        master: used,
        submeters: sum,
        shared: used.zip(sum).and_then(|(used, sum)| used.checked_sub(sum)),
        skew_s: skews.iter().max().zip(skews.iter().min()).map(|(most, least)| most - least),
        missing,
    }
}

impl Segment {
    /// All flags of its two ends, each once.
    pub fn flags(&self) -> Vec<Flag> {
        let ends = [&self.opening, &self.closing];
        let mut flags: Vec<Flag> =
            ends.iter().filter_map(|end| end.taken.as_ref()).flat_map(|one| one.flags.clone()).collect();
        flags.sort_unstable();
        flags.dedup();
        flags
    }
}

impl End {
    /// Where its value is from.
    pub fn source(&self) -> Option<Source> {
        self.taken.as_ref().map(|taken| taken.source)
    }
}
