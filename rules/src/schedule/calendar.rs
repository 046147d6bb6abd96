//! The work-day calendar: which dates are holidays, and which days of a weekend are worked in their place (调休).

use jiff::civil::{Date, Weekday};

/// Days before its end at which a calendar is to be renewed, unless configured otherwise.
pub const WARN_DAYS: i32 = 60;

/// The most holidays, and the most shifted work days, that a calendar lists.
pub const MAX_LISTED: usize = 1000;

/// What kind of day a date is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DayKind {
    /// A day of work: Monday to Friday, and a weekend's day that is worked.
    Work,
    /// A Saturday or Sunday as usual.
    Rest,
    /// A listed holiday.
    Holiday,
}

/// A holiday of one or more days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// Its name, for people.
    pub name: String,
    /// Its first day.
    pub first: Date,
    /// Its last day; the same as `first` for one day.
    pub last: Date,
}

/// A calendar as it was written, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarSpec {
    /// The region that it is for, for example `cn`.
    pub name: String,
    /// Which edition it is, for example `2027.1`.
    pub version: String,
    /// The first date that it knows.
    pub first: Date,
    /// The last date that it knows.
    pub last: Date,
    /// Holidays, in any order. Days of a weekend within them are holidays too.
    pub holidays: Vec<Holiday>,
    /// Saturdays and Sundays that are worked, in any order.
    pub workdays: Vec<Date>,
}

/// A checked calendar.
///
/// Beyond its dates it goes by the week: Monday to Friday are worked, and nothing is a holiday.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar {
    name: String,
    version: String,
    /// First and last date; `None`: it lists nothing and never ends.
    range: Option<(Date, Date)>,
    /// Ascending, disjoint.
    holidays: Vec<Holiday>,
    /// Ascending, none twice, none within a holiday.
    workdays: Vec<Date>,
}

/// The part of a [`CalendarSpec`] that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarPart {
    /// `name`.
    Name,
    /// `version`.
    Version,
    /// `first` and `last`.
    Range,
    /// All of `holidays`.
    Holidays,
    /// All of `workdays`.
    Workdays,
    /// The holiday at this position.
    Holiday(usize),
    /// The work day at this position.
    Workday(usize),
}

/// One thing that is wrong with a [`CalendarSpec`], and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct CalendarFault {
    /// Where.
    pub part: CalendarPart,
    /// What.
    pub error: CalendarError,
}

/// What can be wrong with a calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Name or version is missing.
    #[error("a calendar has a name and a version, so that it can be told from the next one")]
    Unnamed,
    /// A range ends before it begins.
    #[error("it ends on {last}, before it begins on {first}")]
    Backwards {
        /// Its first date.
        first: Date,
        /// Its last date.
        last: Date,
    },
    /// A date is not within the calendar's range.
    #[error("{date} is not within the calendar, which goes from {first} to {last}")]
    Outside {
        /// The date.
        date: Date,
        /// The calendar's first date.
        first: Date,
        /// The calendar's last date.
        last: Date,
    },
    /// Two holidays share a date.
    #[error("{date} belongs to {other:?} already")]
    Overlap {
        /// The first date that they share.
        date: Date,
        /// The name of the earlier holiday.
        other: String,
    },
    /// A work day is listed twice.
    #[error("{0} is listed twice")]
    Twice(Date),
    /// A work day lies in a holiday.
    #[error("{date} cannot be worked: it belongs to the holiday {holiday:?}")]
    WorkedHoliday {
        /// The date.
        date: Date,
        /// The name of the holiday.
        holiday: String,
    },
    /// A shifted work day is no Saturday or Sunday.
    #[error("{0} is worked anyhow: only Saturdays and Sundays are listed as work days")]
    NotWeekend(Date),
    /// Too many entries.
    #[error("{0} entries are more than the {MAX_LISTED} that a calendar may list")]
    TooMany(usize),
}

impl Calendar {
    /// Checks a calendar.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place.
    pub fn new(spec: CalendarSpec) -> Result<Self, Vec<CalendarFault>> {
        let faults = faults_of(&spec);
        if !faults.is_empty() {
            return Err(faults);
        }
        let CalendarSpec { name, version, first, last, mut holidays, mut workdays } = spec;
        holidays.sort_by_key(|holiday| holiday.first);
        workdays.sort();
        Ok(Calendar { name, version, range: Some((first, last)), holidays, workdays })
    }

    /// The calendar without holidays and without an end: Monday to Friday are worked.
    pub fn weekdays_only() -> Self {
        Calendar::default()
    }

    /// The region that it is for; `""` for [`Calendar::weekdays_only`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which edition it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What kind of day `date` is: a listed holiday, else a listed work day, else by the week. Beyond the calendar's
    /// dates always by the week.
    pub fn kind_of(&self, date: Date) -> DayKind {
        if self.holiday_on(date).is_some() {
            DayKind::Holiday
        } else if !is_weekend(date) || self.workdays.binary_search(&date).is_ok() {
            DayKind::Work
        } else {
            DayKind::Rest
        }
    }

    /// The holiday that `date` belongs to.
    pub fn holiday_on(&self, date: Date) -> Option<&Holiday> {
        let before = self.holidays.partition_point(|holiday| holiday.first <= date);
        self.holidays.get(before.checked_sub(1)?).filter(|holiday| date <= holiday.last)
    }

    /// True where the calendar knows the date; [`Calendar::weekdays_only`] knows them all.
    pub fn covers(&self, date: Date) -> bool {
        self.range.is_none_or(|(first, last)| (first..=last).contains(&date))
    }

    /// Days from `today` to its last date: 0 on that date, negative after it; `None` where it has no end.
    pub fn days_left(&self, today: Date) -> Option<i32> {
        let (_, last) = self.range?;
        Some(today.until(last).map_or(0, |span| span.get_days()))
    }

    /// True when its end is at most `warn_days` away, or past: it is time for the next edition. [`WARN_DAYS`] is usual.
    pub fn is_ending(&self, today: Date, warn_days: i32) -> bool {
        self.days_left(today).is_some_and(|left| left <= warn_days)
    }
}

fn is_weekend(date: Date) -> bool {
    matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

fn faults_of(spec: &CalendarSpec) -> Vec<CalendarFault> {
    let mut faults = Vec::new();
    let mut fault = |part, error| faults.push(CalendarFault { part, error });
    if spec.name.is_empty() {
        fault(CalendarPart::Name, CalendarError::Unnamed);
    }
    if spec.version.is_empty() {
        fault(CalendarPart::Version, CalendarError::Unnamed);
    }
    for (part, count) in [(CalendarPart::Holidays, spec.holidays.len()), (CalendarPart::Workdays, spec.workdays.len())]
    {
        if count > MAX_LISTED {
            fault(part, CalendarError::TooMany(count));
        }
    }
    let (first, last) = (spec.first, spec.last);
    if last < first {
        fault(CalendarPart::Range, CalendarError::Backwards { first, last });
    }
    if !faults.is_empty() {
        return faults;
    }
    holiday_faults(spec, &mut faults);
    workday_faults(spec, &mut faults);
    faults
}

fn holiday_faults(spec: &CalendarSpec, faults: &mut Vec<CalendarFault>) {
    for (ix, holiday) in spec.holidays.iter().enumerate() {
        let error = if holiday.last < holiday.first {
            Some(CalendarError::Backwards { first: holiday.first, last: holiday.last })
        } else if let Some(outside) = [holiday.first, holiday.last].into_iter().find_map(|date| outside(spec, date)) {
            Some(outside)
        } else {
            let earlier = spec.holidays.iter().take(ix);
            let shared = |other: &&Holiday| other.first <= holiday.last && holiday.first <= other.last;
            earlier
                .clone()
                .find(shared)
                .map(|other| CalendarError::Overlap { date: other.first.max(holiday.first), other: other.name.clone() })
        };
        faults.extend(error.map(|error| CalendarFault { part: CalendarPart::Holiday(ix), error }));
    }
}

fn workday_faults(spec: &CalendarSpec, faults: &mut Vec<CalendarFault>) {
    for (ix, &date) in spec.workdays.iter().enumerate() {
        let within = spec.holidays.iter().find(|holiday| (holiday.first..=holiday.last).contains(&date));
        let error = if let Some(outside) = outside(spec, date) {
            Some(outside)
        } else if let Some(holiday) = within {
            Some(CalendarError::WorkedHoliday { date, holiday: holiday.name.clone() })
        } else if !is_weekend(date) {
            Some(CalendarError::NotWeekend(date))
        } else {
            spec.workdays.iter().take(ix).any(|earlier| *earlier == date).then_some(CalendarError::Twice(date))
        };
        faults.extend(error.map(|error| CalendarFault { part: CalendarPart::Workday(ix), error }));
    }
}

fn outside(spec: &CalendarSpec, date: Date) -> Option<CalendarError> {
    let (first, last) = (spec.first, spec.last);
    (!(first..=last).contains(&date)).then_some(CalendarError::Outside { date, first, last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;
    use jiff::civil::date;

    /// The state council's arrangement for the National Day of 2025 (国办发明电〔2024〕12号): eight days off from
    /// 1 October, Sunday 28 September and Saturday 11 October worked.
    fn spec() -> CalendarSpec {
        CalendarSpec {
            name: "cn".into(),
            version: "2025.1".into(),
            first: date(2025, 1, 1),
            last: date(2025, 12, 31),
            holidays: vec![
                Holiday { name: "国庆节、中秋节".into(), first: date(2025, 10, 1), last: date(2025, 10, 8) },
                Holiday { name: "元旦".into(), first: date(2025, 1, 1), last: date(2025, 1, 1) },
            ],
            workdays: vec![date(2025, 10, 11), date(2025, 9, 28)],
        }
    }

    fn errors(change: impl FnOnce(&mut CalendarSpec)) -> Vec<(CalendarPart, String)> {
        let mut spec = spec();
        change(&mut spec);
        Calendar::new(spec).unwrap_err().into_iter().map(|fault| (fault.part, fault.to_string())).collect()
    }

    #[test]
    fn a_shifted_weekend_is_worked_and_a_holiday_is_not() {
        let calendar = Calendar::new(spec()).unwrap();
        let kinds: Vec<_> = [(9, 27), (9, 28), (9, 30), (10, 1), (10, 4), (10, 8), (10, 9), (10, 11), (10, 12)]
            .map(|(month, day)| calendar.kind_of(date(2025, month, day)))
            .into();
        use DayKind::{Holiday, Rest, Work};
        assert_eq!(kinds, [Rest, Work, Work, Holiday, Holiday, Holiday, Work, Work, Rest]);
        assert_eq!(calendar.holiday_on(date(2025, 1, 1)).unwrap().name, "元旦");
    }

    #[test]
    fn beyond_its_dates_a_calendar_goes_by_the_week() {
        let calendar = Calendar::new(spec()).unwrap();
        assert!(calendar.covers(date(2025, 12, 31)) && !calendar.covers(date(2026, 1, 1)));
        assert_eq!(calendar.kind_of(date(2026, 1, 1)), DayKind::Work);
        assert_eq!(calendar.kind_of(date(2026, 1, 3)), DayKind::Rest);
        assert!(Calendar::weekdays_only().covers(date(2030, 1, 1)));
    }

    #[test]
    fn it_warns_before_it_runs_out() {
        let calendar = Calendar::new(spec()).unwrap();
        assert_eq!(calendar.days_left(date(2025, 1, 1)), Some(364));
        assert!(!calendar.is_ending(date(2025, 11, 1) - 1.day(), WARN_DAYS));
        assert!(calendar.is_ending(date(2025, 11, 1), WARN_DAYS));
        assert_eq!(calendar.days_left(date(2026, 1, 2)), Some(-2));
        assert!(calendar.is_ending(date(2026, 1, 2), WARN_DAYS));
        assert!(!Calendar::weekdays_only().is_ending(date(2026, 1, 2), WARN_DAYS));
    }

    #[test]
    fn each_fault_is_named_with_its_date_and_place() {
        let holiday = |first, last| Holiday { name: "x".into(), first, last };
        let faults = errors(|spec| {
            spec.holidays.push(holiday(date(2025, 10, 8), date(2025, 10, 9)));
            spec.holidays.push(holiday(date(2025, 5, 2), date(2025, 5, 1)));
            spec.holidays.push(holiday(date(2025, 12, 30), date(2026, 1, 2)));
            spec.workdays.push(date(2025, 9, 28));
            spec.workdays.push(date(2025, 10, 4));
            spec.workdays.push(date(2025, 9, 29));
            spec.workdays.push(date(2026, 1, 3));
        });
        use CalendarPart::{Holiday as H, Workday as W};
        let expected = [
            (H(2), "2025-10-08 belongs to \"国庆节、中秋节\" already"),
            (H(3), "it ends on 2025-05-01, before it begins on 2025-05-02"),
            (H(4), "2026-01-02 is not within the calendar, which goes from 2025-01-01 to 2025-12-31"),
            (W(2), "2025-09-28 is listed twice"),
            (W(3), "2025-10-04 cannot be worked: it belongs to the holiday \"国庆节、中秋节\""),
            (W(4), "2025-09-29 is worked anyhow: only Saturdays and Sundays are listed as work days"),
            (W(5), "2026-01-03 is not within the calendar, which goes from 2025-01-01 to 2025-12-31"),
        ];
        assert_eq!(faults, expected.map(|(part, text)| (part, text.to_owned())));
        assert_eq!(errors(|spec| spec.last = date(2024, 1, 1))[0].0, CalendarPart::Range);
        assert_eq!(errors(|spec| spec.version.clear())[0].0, CalendarPart::Version);
        assert_eq!(errors(|spec| spec.workdays = vec![date(2025, 9, 28); 1001])[0].0, CalendarPart::Workdays);
    }
}
