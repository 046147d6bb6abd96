//! Timetables: at which times of which days something is due.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use gatehouse_core::Wall;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::calendar::Calendar;
use super::days::{Days, InvalidDays};
use super::weekly::{DAY_MINUTES, InvalidSpan, Span, clock, minute};
use super::zone::{local, wall};

/// The most lines of a timetable.
pub const MAX_LINES: usize = 16;

/// The most times of one line, where they are listed.
pub const MAX_TIMES: usize = 48;

/// The shortest interval, and the longest, in minutes.
const INTERVAL: std::ops::RangeInclusive<u16> = 5..=DAY_MINUTES;

/// The longest time that is searched, in days: a clock that is wrong by more is not followed further.
const MAX_DAYS: usize = 20_000;

/// Some times on some days.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// `workday 08:00,16:00`: ascending minutes of the day.
    At { days: Days, minutes: BTreeSet<u16> },
    /// `daily 22:00-06:00 every 2h`: from the beginning of the span, as long as it lasts; its end is not a time of it.
    Every { span: Span, minutes: u16 },
}

/// Times that repeat weekly, written with semicolons: `workday 08:00,16:00; daily 22:00-06:00 every 2h`.
///
/// Days mean the same as in a [`super::Weekly`]; what a span over midnight brings belongs to the day on which it
/// begins. Where clocks are put forward, a time that is skipped is due that much later; where they are put back, a
/// time that comes twice is due the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    lines: Vec<Line>,
    holiday_named: bool,
}

/// Why a text is no timetable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimetable {
    /// It has no lines.
    #[error("a timetable names at least one time, for example daily 08:00")]
    Empty,
    /// It has too many.
    #[error("{0} lines are more than the {MAX_LINES} that a timetable may have")]
    TooMany(usize),
    /// One of them is wrong.
    #[error("{text:?}: {error}")]
    Line {
        /// The line as it was written.
        text: String,
        /// What is wrong.
        error: InvalidLine,
    },
}

/// Why a text is no line of a timetable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// Days and times are not both there.
    #[error(
        "write DAYS TIMES or DAYS FROM-TO every INTERVAL, for example daily 08:00,20:00 or daily 22:00-06:00 every 2h"
    )]
    Shape,
    /// The days are wrong.
    #[error(transparent)]
    Days(#[from] InvalidDays),
    /// The span is wrong.
    #[error(transparent)]
    Span(#[from] InvalidSpan),
    /// A text that is no time of day.
    #[error("{0:?} is no time of day: write 00:00 to 23:59")]
    Time(String),
    /// A time twice.
    #[error("{0} is written twice")]
    Twice(String),
    /// Too many times.
    #[error("{0} times are more than the {MAX_TIMES} that a line may list: use FROM-TO every INTERVAL")]
    TooMany(usize),
    /// A text that is no interval.
    #[error("{0:?} is no interval: write minutes or hours, 5m to 24h")]
    Interval(String),
}

impl Timetable {
    /// The dues after `after`, up to and with `until`, ascending. Dues that fall on one instant are one.
    pub fn dues<'a>(&'a self, after: Wall, until: Wall, calendar: &'a Calendar, zone: &'a TimeZone) -> Dues<'a> {
        // A day's dues may be up to two days after its midnight, and clocks may be put forward by some hours.
        let day = local(after, zone).date().saturating_sub(jiff::Span::new().days(3));
        Dues { table: self, calendar, zone, after, until, day: Some(day), days: MAX_DAYS, ready: BTreeSet::new() }
    }

    /// The shortest time in minutes from one due of a line to its next, at most a day.
    pub fn shortest_gap_minutes(&self) -> u16 {
        self.lines.iter().map(Line::shortest_gap).min().unwrap_or(DAY_MINUTES)
    }
}

impl Line {
    fn days(&self) -> Days {
        match self {
            Line::At { days, .. } => *days,
            Line::Every { span, .. } => span.days(),
        }
    }

    /// Minutes from the midnight before, up to 2879, ascending.
    fn minutes(&self) -> Vec<u16> {
        match self {
            Line::At { minutes, .. } => minutes.iter().copied().collect(),
            Line::Every { span, minutes } => span.minutes().step_by(usize::from(*minutes)).collect(),
        }
    }

    fn shortest_gap(&self) -> u16 {
        let minutes = self.minutes();
        let tomorrow = minutes.first().map(|first| first + DAY_MINUTES);
        let next = minutes.iter().copied().skip(1).chain(tomorrow);
        minutes.iter().zip(next).map(|(one, next)| next - one).min().unwrap_or(DAY_MINUTES)
    }
}

/// The dues of a [`Timetable`], one after the other.
#[derive(Debug)]
pub struct Dues<'a> {
    table: &'a Timetable,
    calendar: &'a Calendar,
    zone: &'a TimeZone,
    after: Wall,
    until: Wall,
    /// The next day to look at.
    day: Option<Date>,
    days: usize,
    ready: BTreeSet<Wall>,
}

impl Dues<'_> {
    /// Midnight of the next day to look at, before which nothing more can come; `None` after the last.
    fn horizon(&self) -> Option<Wall> {
        let midnight = wall(self.day?.to_datetime(Time::midnight()), self.zone)?;
        (self.days > 0 && midnight <= self.until).then_some(midnight)
    }

    /// Finds the dues of the next day.
    fn load(&mut self, midnight: Wall) {
        let Some(day) = self.day else { return };
        for line in &self.table.lines {
            if !line.days().apply(day, self.calendar, self.table.holiday_named) {
                continue;
            }
            for minutes in line.minutes() {
                let civil =
                    day.to_datetime(Time::midnight()).checked_add(jiff::Span::new().minutes(i64::from(minutes)));
                let due = civil.ok().and_then(|civil| wall(civil, self.zone)).map(|due| due.max(midnight));
                self.ready.extend(due.filter(|due| *due > self.after && *due <= self.until));
            }
        }
        self.day = day.tomorrow().ok();
        self.days -= 1;
    }
}

impl Iterator for Dues<'_> {
    type Item = Wall;

    fn next(&mut self) -> Option<Wall> {
        while let Some(midnight) = self.horizon() {
            if self.ready.first().is_some_and(|first| *first < midnight) {
                break;
            }
            self.load(midnight);
        }
        self.ready.pop_first()
    }
}

impl FromStr for Line {
    type Err = InvalidLine;

    fn from_str(text: &str) -> Result<Self, InvalidLine> {
        if let Some((span, interval)) = text.split_once(" every ") {
            let span = span.parse()?;
            let minutes =
                interval_minutes(interval.trim()).ok_or_else(|| InvalidLine::Interval(interval.to_owned()))?;
            return Ok(Line::Every { span, minutes });
        }
        let (days, times) = text.rsplit_once(char::is_whitespace).ok_or(InvalidLine::Shape)?;
        let days = days.parse()?;
        let count = times.split(',').count();
        if count > MAX_TIMES {
            return Err(InvalidLine::TooMany(count));
        }
        let mut minutes = BTreeSet::new();
        for time in times.split(',') {
            let at = minute(time).filter(|at| *at < DAY_MINUTES).ok_or_else(|| InvalidLine::Time(time.to_owned()))?;
            if !minutes.insert(at) {
                return Err(InvalidLine::Twice(time.to_owned()));
            }
        }
        Ok(Line::At { days, minutes })
    }
}

/// `90m` or `2h` in minutes.
fn interval_minutes(text: &str) -> Option<u16> {
    let (number, unit) = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 60),
        (None, None) => return None,
    };
    let plain = number.bytes().all(|b| b.is_ascii_digit());
    let minutes = number.parse::<u16>().ok().filter(|_| plain)?.checked_mul(unit)?;
    Some(minutes).filter(|minutes| INTERVAL.contains(minutes))
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::At { days, minutes } => {
                let times: Vec<String> = minutes.iter().map(|at| clock(*at)).collect();
                write!(f, "{days} {}", times.join(","))
            }
            Line::Every { span, minutes } if minutes % 60 == 0 => write!(f, "{span} every {}h", minutes / 60),
            Line::Every { span, minutes } => write!(f, "{span} every {minutes}m"),
        }
    }
}

impl FromStr for Timetable {
    type Err = InvalidTimetable;

    fn from_str(text: &str) -> Result<Self, InvalidTimetable> {
        let texts = || text.split(';').map(str::trim).filter(|text| !text.is_empty());
        match texts().count() {
            0 => return Err(InvalidTimetable::Empty),
            1..=MAX_LINES => {}
            count => return Err(InvalidTimetable::TooMany(count)),
        }
        let line = |text: &str| text.parse().map_err(|error| InvalidTimetable::Line { text: text.to_owned(), error });
        let lines: Vec<Line> = texts().map(line).collect::<Result<_, _>>()?;
        let holiday_named = lines.iter().any(|line| line.days().has(Days::HOLIDAY));
        Ok(Timetable { lines, holiday_named })
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (ix, line) in self.lines.iter().enumerate() {
            write!(f, "{}{line}", if ix == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{DateTime, date};

    fn dues(text: &str, zone: &str, from: DateTime, days: i64) -> Vec<String> {
        let (table, zone): (Timetable, _) = (text.parse().unwrap(), TimeZone::posix(zone).unwrap());
        let after = wall(from, &zone).unwrap();
        let until = wall(from + jiff::Span::new().days(days), &zone).unwrap();
        let found: Vec<_> = table.dues(after, until, &Calendar::weekdays_only(), &zone).collect();
        found.into_iter().map(|due| local(due, &zone).strftime("%a %H:%M").to_string()).collect()
    }

    const CHINA: &str = "CST-8";
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    #[test]
    fn dues_come_in_order_from_all_lines() {
        let monday = date(2027, 1, 4).at(8, 0, 0, 0);
        let found = dues("workday 16:00,08:00; mon 22:00-03:00 every 2h; daily 08:00", CHINA, monday, 1);
        assert_eq!(found, ["Mon 16:00", "Mon 22:00", "Tue 00:00", "Tue 02:00", "Tue 08:00"]);
        assert_eq!(dues("sat,sun 10:00", CHINA, monday, 7), ["Sat 10:00", "Sun 10:00"]);
        assert_eq!(dues("holiday 10:00", CHINA, monday, 7), [""; 0]);
    }

    #[test]
    fn a_skipped_time_is_due_later_and_a_time_that_comes_twice_once() {
        let spring = date(2027, 3, 28).at(0, 0, 0, 0);
        assert_eq!(dues("daily 02:30,03:00,03:30", BERLIN, spring, 1), ["Sun 03:00", "Sun 03:30"]);
        let autumn = date(2027, 10, 31).at(0, 0, 0, 0);
        assert_eq!(dues("daily 02:30,03:00", BERLIN, autumn, 1), ["Sun 02:30", "Sun 03:00"]);
    }

    #[test]
    fn gaps_are_the_shortest_of_a_line() {
        let gap = |text: &str| text.parse::<Timetable>().unwrap().shortest_gap_minutes();
        assert_eq!(gap("daily 08:00"), 1440);
        assert_eq!(gap("daily 08:00; daily 20:00,23:30,01:00"), 90);
        assert_eq!(gap("daily 22:00-06:00 every 30m"), 30);
        assert_eq!(gap("daily 00:00-24:00 every 1000m"), 440, "the next day begins anew");
    }

    #[test]
    fn a_timetable_prints_as_it_is_written_and_its_mistakes_are_told() {
        for text in ["workday 08:00,16:00; daily 22:00-06:00 every 2h", "sat 00:00-24:00 every 45m"] {
            assert_eq!(text.parse::<Timetable>().unwrap().to_string(), text);
        }
        let error = |text: &str| text.parse::<Timetable>().unwrap_err().to_string();
        assert_eq!(error("daily 24:00"), "\"daily 24:00\": \"24:00\" is no time of day: write 00:00 to 23:59");
        assert_eq!(error("daily 08:00,08:00"), "\"daily 08:00,08:00\": 08:00 is written twice");
        let every = "daily 08:00-09:00 every 4m";
        assert_eq!(error(every), format!("{every:?}: \"4m\" is no interval: write minutes or hours, 5m to 24h"));
        assert!(error("08:00").contains("write DAYS TIMES or DAYS FROM-TO every INTERVAL"));
        assert!(error("dayly 08:00").contains("did you mean \"daily\""));
        assert_eq!(error(";"), "a timetable names at least one time, for example daily 08:00");
    }
}
