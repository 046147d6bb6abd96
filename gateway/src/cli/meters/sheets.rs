//! A month's account as tables of texts, the same for CSV and for workbooks.

use gatehouse_core::{Decimal, Wall};
use gatehouse_rules::billing::flags_text;
use gatehouse_rules::billing::statement::{Books, End, Statement};
use gatehouse_rules::schedule::local;
use jiff::tz::TimeZone;

/// One table.
#[derive(Debug, PartialEq)]
pub(super) struct Sheet {
    pub(super) name: &'static str,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Columns that hold numbers; all others are texts, serial numbers among them.
pub(super) const NUMBERS: [&str; 14] = [
    "opening",
    "closing",
    "counted",
    "multiplier",
    "consumption",
    "opening_skew_s",
    "closing_skew_s",
    "carried",
    "value",
    "skew_s",
    "clock_offset_s",
    "master",
    "submeters",
    "shared",
];

/// The tables of an account.
pub(super) fn of(account: &Statement, books: &Books, zone: &TimeZone) -> Vec<Sheet> {
    vec![
        summary(account),
        consumption(account),
        segments(account),
        readings(books, account, zone),
        gaps(account),
        balances(account),
    ]
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn summary(account: &Statement) -> Sheet {
    let (due, there) = account.complete;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = vec![
        row("site", account.site.clone()),
        row("month", account.month.clone()),
        row("from", account.from.clone()),
        row("to", account.to.clone()),
        row("settled by", account.reading.clone()),
        row("readings due", due.to_string()),
        row("readings there", there.to_string()),
        row("readings missing", (due - there).to_string()),
    ];
    Sheet { name: "summary", header: vec!["what", "is"], rows }
}

fn consumption(account: &Statement) -> Sheet {
    let rows = account.lines.iter().map(|line| {
        let mut flags: Vec<_> = line.segments.iter().flat_map(|segment| segment.flags()).collect();
        flags.sort_unstable();
        flags.dedup();
        let why = line.segments.iter().map(|segment| segment.why.as_str()).find(|why| !why.is_empty());
        vec![
            line.device.clone(),
            line.title.clone(),
            line.point.clone(),
            number(line.consumption),
            line.unit.clone(),
            line.segments.len().to_string(),
            flags_text(&flags),
            why.unwrap_or_default().to_owned(),
            number(line.skew_s),
        ]
    });
    Sheet {
        name: "consumption",
        header: vec!["device", "title", "point", "consumption", "unit", "segments", "flags", "why_not", "skew_s"],
        rows: rows.collect(),
    }
}

fn segments(account: &Statement) -> Sheet {
    let mut rows = Vec::new();
    for line in &account.lines {
        for segment in &line.segments {
            let value = |end: &End| number(end.taken.as_ref().map(|taken| taken.value));
            let source = |end: &End| end.source().map(|source| source.as_str().to_owned()).unwrap_or_default();
            let (opening, closing) = (&segment.opening, &segment.closing);
            let carried = |end: &End| end.taken.as_ref().map(|taken| taken.carried);
            let carried = carried(closing).zip(carried(opening)).and_then(|(last, first)| last.checked_sub(first));
            rows.push(vec![
                line.device.clone(),
                line.point.clone(),
                number(segment.version),
                segment.serial.clone(),
                opening.when.clone(),
                closing.when.clone(),
                value(opening),
                value(closing),
                number(carried.map(Decimal::trimmed)),
                number(segment.counted),
                number(segment.multiplier),
                number(segment.consumption),
                line.unit.clone(),
                source(opening),
                source(closing),
                number(opening.skew_s),
                number(closing.skew_s),
                flags_text(&segment.flags()),
                segment.why.clone(),
            ]);
        }
    }
    Sheet {
        name: "segments",
        header: vec![
            "device",
            "point",
            "installation",
            "serial",
            "from",
            "to",
            "opening",
            "closing",
            "carried",
            "counted",
            "multiplier",
            "consumption",
            "unit",
            "opening_source",
            "closing_source",
            "opening_skew_s",
            "closing_skew_s",
            "flags",
            "why_not",
        ],
        rows,
    }
}

fn readings(books: &Books, account: &Statement, zone: &TimeZone) -> Sheet {
    let mut rows = Vec::new();
    for kept in &books.kept {
        for (point, taken) in &kept.values {
            let at = taken.at_us.map(|us| local(Wall(us), zone).strftime("%Y-%m-%d %H:%M:%S").to_string());
            rows.push(vec![
                kept.day.clone(),
                kept.reading.clone(),
                kept.device.clone(),
                point.clone(),
                taken.value.to_string(),
                at.unwrap_or_default(),
                taken.source.as_str().to_owned(),
                number(kept.skew_s),
                number(kept.clock_offset_s),
                number(kept.installation),
                flags_text(&taken.flags),
                taken.raw.to_string(),
                kept.by.clone().unwrap_or_default(),
                kept.why.clone().unwrap_or_default(),
            ]);
        }
    }
    rows.retain(|row| row.first().is_some_and(|day| day.starts_with(&account.month) || *day == account.to));
    Sheet {
        name: "readings",
        header: vec![
            "day",
            "reading",
            "device",
            "point",
            "value",
            "at",
            "source",
            "skew_s",
            "clock_offset_s",
            "installation",
            "flags",
            "raw",
            "by",
            "reason",
        ],
        rows,
    }
}

fn gaps(account: &Statement) -> Sheet {
    let rows = account.gaps.iter().map(|gap| {
        let points = if gap.points.is_empty() { "all".to_owned() } else { gap.points.join(" ") };
        vec![gap.day.clone(), gap.reading.clone(), gap.device.clone(), points, gap.why.clone()]
    });
    Sheet { name: "missing", header: vec!["day", "reading", "device", "points", "why"], rows: rows.collect() }
}

fn balances(account: &Statement) -> Sheet {
    let rows = account.balances.iter().map(|balance| {
        vec![
            balance.id.clone(),
            number(balance.master),
            number(balance.submeters),
            number(balance.shared),
            number(balance.skew_s),
            balance.missing.join(" "),
        ]
    });
    let header = vec!["balance", "master", "submeters", "shared", "skew_s", "cannot_be_told"];
    Sheet { name: "shared", header, rows: rows.collect() }
}
