//! Sets of days: by the name of the weekday, or by what the calendar says of them.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

use jiff::civil::{Date, Weekday};

use super::calendar::{Calendar, DayKind};

/// A set of days, written as names with commas between them.
///
/// `mon` to `sun` (also `mon-fri`, `sat-mon`) go by the weekday, whatever the calendar says: a Saturday that is worked
/// is a `sat`. `daily` is all seven. `workday` and `restday` go by the calendar: a Saturday that is worked is a
/// `workday`, a usual one a `restday`. `holiday` is a listed holiday.
///
/// Holidays: where a schedule names `holiday` anywhere, only what it says for `holiday` applies on them. Where it does
/// not, a holiday is like any other day to weekday names, and a `restday`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Days(u16);

/// Why a text is no set of days.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDays {
    /// Nothing is written.
    #[error("no day is named: write mon to sun, a range like mon-fri, daily, workday, restday or holiday")]
    Empty,
    /// A word that names no day.
    #[error("{word:?} is no day{}: write mon to sun, a range like mon-fri, daily, workday, restday or holiday", nearest(.word))]
    Unknown {
        /// The word.
        word: String,
    },
    /// A range of something other than weekdays.
    #[error("{0:?} is no range: only weekdays have an order, as in mon-fri")]
    BadRange(String),
}

/// The names in the order of their bits.
const NAMES: [&str; 10] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "workday", "restday", "holiday"];

impl Days {
    /// Monday to Sunday.
    pub const DAILY: Days = Days(0x7f);
    /// Days that are worked by the calendar.
    pub const WORKDAY: Days = Days(1 << 7);
    /// Days that are not worked by the calendar.
    pub const RESTDAY: Days = Days(1 << 8);
    /// Listed holidays.
    pub const HOLIDAY: Days = Days(1 << 9);

    /// One weekday.
    pub fn weekday(day: Weekday) -> Days {
        Days(1 << day.to_monday_zero_offset())
    }

    /// True if it has all of `other`.
    pub fn has(self, other: Days) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if no day is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if `date` is one of these days; `holiday_named`: whether the schedule names `holiday` anywhere.
    pub fn apply(self, date: Date, calendar: &Calendar, holiday_named: bool) -> bool {
        let kind = calendar.kind_of(date);
        if kind == DayKind::Holiday && holiday_named {
            return self.has(Days::HOLIDAY);
        }
        let class = match kind {
            DayKind::Work => Days::WORKDAY,
            DayKind::Rest | DayKind::Holiday => Days::RESTDAY,
        };
        self.has(Days::weekday(date.weekday())) || self.has(class)
    }
}

impl BitOr for Days {
    type Output = Days;
    fn bitor(self, other: Days) -> Days {
        Days(self.0 | other.0)
    }
}

impl FromStr for Days {
    type Err = InvalidDays;

    fn from_str(text: &str) -> Result<Self, InvalidDays> {
        if text.trim().is_empty() {
            return Err(InvalidDays::Empty);
        }
        text.split(',').map(str::trim).try_fold(Days::default(), |days, word| Ok(days | one(word)?))
    }
}

/// A name, or a range of weekdays, which may go over Sunday.
fn one(word: &str) -> Result<Days, InvalidDays> {
    if word == "daily" {
        return Ok(Days::DAILY);
    }
    let Some((first, last)) = word.split_once('-') else { return Ok(Days(1 << bit(word)?)) };
    let (first, last) = (bit(first.trim())?, bit(last.trim())?);
    if first > 6 || last > 6 || first == last {
        return Err(InvalidDays::BadRange(word.to_owned()));
    }
    let length = (last + 7 - first) % 7;
    Ok((0..=length).fold(Days::default(), |days, day| days | Days(1 << ((first + day) % 7))))
}

fn bit(word: &str) -> Result<usize, InvalidDays> {
    let unknown = || InvalidDays::Unknown { word: word.to_owned() };
    NAMES.iter().position(|name| *name == word).ok_or_else(unknown)
}

/// `, did you mean "mon"` where a name is near the word.
fn nearest(word: &str) -> String {
    let word = word.to_lowercase();
    let names = || NAMES.iter().chain(&["daily"]);
    let begins = names().find(|name| word.starts_with(**name));
    let near = || names().filter(|name| strsim::damerau_levenshtein(name, &word) <= name.len() / 3);
    match begins.or_else(|| near().min_by_key(|name| strsim::damerau_levenshtein(name, &word))) {
        Some(name) => format!(", did you mean {name:?}"),
        None => String::new(),
    }
}

impl fmt::Display for Days {
    /// Writes the shortest usual form: `daily`, `mon-fri`, `sat,sun`, `workday,holiday`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        let mut day = 0;
        if self.has(Days::DAILY) {
            words.push("daily".to_owned());
            day = 7;
        }
        while let Some(name) = NAMES.get(day) {
            let run = (day..7).take_while(|day| self.has(Days(1 << day))).count();
            if let (3.., Some(last)) = (run, NAMES.get((day + run).saturating_sub(1))) {
                words.push(format!("{name}-{last}"));
                day += run;
                continue;
            }
            if self.has(Days(1 << day)) {
                words.push((*name).to_owned());
            }
            day += 1;
        }
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(text: &str) -> Days {
        text.parse().unwrap()
    }

    #[test]
    fn sets_print_as_people_write_them() {
        for text in ["mon", "mon-fri", "sat,sun", "daily", "mon,wed,fri-sun", "workday,holiday", "daily,restday"] {
            assert_eq!(days(text).to_string(), text);
        }
        assert_eq!(days("mon,tue , wed").to_string(), "mon-wed");
        assert_eq!(days("sat-mon").to_string(), "mon,sat,sun");
        assert_eq!(days("sun-sat"), Days::DAILY);
    }

    #[test]
    fn what_is_no_day_is_told_with_the_nearest() {
        let error = |text: &str| text.parse::<Days>().unwrap_err().to_string();
        let accepted = "write mon to sun, a range like mon-fri, daily, workday, restday or holiday";
        assert_eq!(error("Monday"), format!("\"Monday\" is no day, did you mean \"mon\": {accepted}"));
        assert_eq!(error("mon,holidays"), format!("\"holidays\" is no day, did you mean \"holiday\": {accepted}"));
        assert_eq!(error("x"), format!("\"x\" is no day: {accepted}"));
        assert_eq!(error(" "), format!("no day is named: {accepted}"));
        assert_eq!(error("workday-sun"), "\"workday-sun\" is no range: only weekdays have an order, as in mon-fri");
    }
}
