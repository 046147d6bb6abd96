//! Weekly hours: spans of time on certain days, with holidays and shifted work days.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use gatehouse_core::Wall;
use jiff::civil::{Date, DateTime, time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use super::days::{Days, InvalidDays};
use super::zone::{local, next_shift, next_showing};

/// The most spans of one schedule.
pub const MAX_SPANS: usize = 64;

/// Minutes of a day.
pub(super) const DAY_MINUTES: u16 = 24 * 60;

/// How far [`Weekly::next_change`] looks ahead: over a year, so that a schedule of holidays finds its next one.
const DAYS_AHEAD: usize = 400;

/// One span of time on some days, written `mon-fri 08:00-18:00`.
///
/// The end is not part of it. An end before the beginning is on the next day, whatever day that is: `fri 22:00-06:00`
/// ends on Saturday morning, and on the morning of a holiday. 24:00 may end a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    days: Days,
    /// 0 to 1439.
    from_minute: u16,
    /// `from_minute + 1` to `from_minute + 1440`.
    until_minute: u16,
}

/// Spans that repeat weekly, written with semicolons: `mon-fri 08:00-18:00; holiday 10:00-14:00`.
///
/// It holds at the times that lie in one of its spans. [`Days`] says what the names of days mean and when holidays
/// have times of their own. It reckons in civil time: an hour that is skipped does not occur, an hour that comes twice
/// is judged alike both times. As a document it is its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Weekly {
    spans: Vec<Span>,
    holiday_named: bool,
}

/// Why a text is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpan {
    /// Days and times are not both there.
    #[error("a span is written DAYS FROM-TO, for example mon-fri 08:00-18:00")]
    Shape,
    /// The days are wrong.
    #[error(transparent)]
    Days(#[from] InvalidDays),
    /// A text that is no time of day.
    #[error("{0:?} is no time of day: write 00:00 to 23:59, or 24:00 as an end")]
    Time(String),
    /// A span that ends where it begins.
    #[error("it ends when it begins: write 00:00-24:00 for the whole day")]
    NoLength,
}

/// Why a text is no weekly schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWeekly {
    /// It has no spans.
    #[error("a schedule has at least one span, for example daily 00:00-24:00")]
    Empty,
    /// It has too many.
    #[error("{0} spans are more than the {MAX_SPANS} that a schedule may have")]
    TooMany(usize),
    /// One of them is wrong.
    #[error("{text:?}: {error}")]
    Span {
        /// The span as it was written.
        text: String,
        /// What is wrong.
        error: InvalidSpan,
    },
}

impl Span {
    /// A span from minute `from` (0 to 1439) to minute `to` (0 to 1440) of the day; `to` before `from` is on the next.
    ///
    /// # Errors
    /// [`InvalidSpan`] where no day is named, a minute is out of range, or both are the same.
    pub fn new(days: Days, from: u16, to: u16) -> Result<Self, InvalidSpan> {
        if days.is_empty() {
            return Err(InvalidDays::Empty.into());
        }
        if from >= DAY_MINUTES {
            return Err(InvalidSpan::Time(clock(from)));
        }
        if to > DAY_MINUTES {
            return Err(InvalidSpan::Time(clock(to)));
        }
        if from == to {
            return Err(InvalidSpan::NoLength);
        }
        let until_minute = if to < from { to + DAY_MINUTES } else { to };
        Ok(Span { days, from_minute: from, until_minute })
    }

    /// Its days.
    pub fn days(&self) -> Days {
        self.days
    }

    /// The minutes that it takes, counted from the midnight before it: up to 2879.
    pub fn minutes(&self) -> std::ops::Range<u16> {
        self.from_minute..self.until_minute
    }
}

impl Weekly {
    /// A schedule of these spans; they may overlap.
    ///
    /// # Errors
    /// [`InvalidWeekly`] for none, and for more than [`MAX_SPANS`].
    pub fn new(spans: Vec<Span>) -> Result<Self, InvalidWeekly> {
        match spans.len() {
            0 => Err(InvalidWeekly::Empty),
            1..=MAX_SPANS => {
                let holiday_named = spans.iter().any(|span| span.days.has(Days::HOLIDAY));
                Ok(Weekly { spans, holiday_named })
            }
            count => Err(InvalidWeekly::TooMany(count)),
        }
    }

    /// Its spans, as written.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// True if it holds at the civil time `at`.
    pub fn contains(&self, at: DateTime, calendar: &Calendar) -> bool {
        let minute = minute_of(at);
        self.on(at.date(), calendar).any(|span| span.minutes().contains(&minute))
            || at.date().yesterday().is_ok_and(|yesterday| {
                let minute = minute + DAY_MINUTES;
                self.on(yesterday, calendar).any(|span| span.minutes().contains(&minute))
            })
    }

    /// The first civil time after `at` at which [`Weekly::contains`] is no longer what it is at `at`; `None` where that
    /// is more than 400 days away.
    pub fn next_change(&self, at: DateTime, calendar: &Calendar) -> Option<DateTime> {
        let edges: BTreeSet<u16> =
            self.spans.iter().flat_map(|span| [span.from_minute, span.until_minute % DAY_MINUTES]).chain([0]).collect();
        let held = self.contains(at, calendar);
        let mut date = at.date();
        for _ in 0..=DAYS_AHEAD {
            let changed = |edge: &DateTime| *edge > at && self.contains(*edge, calendar) != held;
            if let Some(edge) = edges.iter().map(|minute| at_minute(date, *minute)).find(changed) {
                return Some(edge);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Until when what [`Weekly::contains`] says at `at` can be relied on: to the next change, or until the clocks of
    /// the site are put forward or back if that is sooner. Then ask again.
    pub fn steady_until(&self, at: Wall, zone: &TimeZone, calendar: &Calendar) -> Option<Wall> {
        let change = self.next_change(local(at, zone), calendar).and_then(|civil| next_showing(civil, at, zone));
        change.into_iter().chain(next_shift(at, zone)).min()
    }

    /// The spans that begin on `date`.
    fn on(&self, date: Date, calendar: &Calendar) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.days.apply(date, calendar, self.holiday_named))
    }
}

/// The minute of the day.
fn minute_of(at: DateTime) -> u16 {
    u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs())
}

/// This minute (below 1440) of the day.
fn at_minute(date: Date, minute: u16) -> DateTime {
    let (hour, minute) = (i8::try_from(minute / 60).unwrap_or(0), i8::try_from(minute % 60).unwrap_or(0));
    date.to_datetime(time(hour, minute, 0, 0))
}

/// `HH:MM` to minutes of the day, 24:00 included.
pub(super) fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes).filter(|minutes| *minutes < 60)?);
    Some(hours * 60 + minutes).filter(|minute| *minute <= DAY_MINUTES)
}

/// Minutes as `HH:MM`.
pub(super) fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let (days, times) = text.trim().rsplit_once(char::is_whitespace).ok_or(InvalidSpan::Shape)?;
        let (from, to) = times.split_once('-').ok_or(InvalidSpan::Shape)?;
        let from_minute = minute(from).filter(|from| *from < DAY_MINUTES);
        let from_minute = from_minute.ok_or_else(|| InvalidSpan::Time(from.to_owned()))?;
        let to_minute = minute(to).ok_or_else(|| InvalidSpan::Time(to.to_owned()))?;
        Span::new(days.parse()?, from_minute, to_minute)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let past_midnight = self.until_minute > DAY_MINUTES;
        let until = if past_midnight { self.until_minute - DAY_MINUTES } else { self.until_minute };
        write!(f, "{} {}-{}", self.days, clock(self.from_minute), clock(until))
    }
}

impl FromStr for Weekly {
    type Err = InvalidWeekly;

    fn from_str(text: &str) -> Result<Self, InvalidWeekly> {
        let spans = text
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().map_err(|error| InvalidWeekly::Span { text: text.to_owned(), error }));
        Weekly::new(spans.collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Weekly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ix, span) in self.spans.iter().enumerate() {
            write!(f, "{}{span}", if ix == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl From<Weekly> for String {
    fn from(weekly: Weekly) -> String {
        weekly.to_string()
    }
}

impl TryFrom<String> for Weekly {
    type Error = InvalidWeekly;

    fn try_from(text: String) -> Result<Self, InvalidWeekly> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
