//! Date ranges in lines of text, in figures and in words of some languages.

use std::ops::Range;
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate};
use regex::{Captures, Regex};

use crate::ai::words::fold;

/// What a dated line may say about time that was not worked, parted by `|`.
const PAUSES: &str = "\
    career break|career gap|parental leave|maternity leave|sabbatical|elternzeit|auszeit|\
    congé parental|congé sabbatique|excedencia";

/// Months since year 0; the end is the first month that no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub from: i32,
    pub to: i32,
}

/// Names of the months, January first, parted by `|`. Three letters and more of a name will do.
const MONTHS: [&str; 12] = [
    "january|januar|janvier|enero",
    "february|februar|février|febrero",
    "march|märz|maerz|mars|marzo",
    "april|avril|abril",
    "may|mai|mayo",
    "june|juni|juin|junio",
    "july|juli|juillet|julio",
    "august|août|agosto",
    "september|sept|septembre|septiembre",
    "october|oktober|octobre",
    "november|novembre|noviembre",
    "december|dezember|décembre|diciembre",
];

/// A year with or without its month, by name or in figures, as `X` groups.
const DATE: &str = r"(?:(?P<X1>MONTH)\.?\s*(?:de\s+)?|(?P<X2>\d{1,2})\s*[/.]\s*)?(?P<X3>(?:19|20)\d{2})(?:-(?P<X4>\d{2})\b)?";
/// Words that mean the given day.
const OPEN: &str = r"present|current|currently|now|today|ongoing|to date|heute|aktuell|laufend|présent|aujourd['’]hui|à ce jour|actualidad|presente|actual|hoy";
/// What stands between two dates.
const UNTIL: &str = r"(?:[-–—−‑~]+|to\b|until\b|through\b|bis\b|à\b|au\b|a\b|hasta\b)";

static RANGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let date = DATE.replace("MONTH", &month_pattern());
    let (from, to) = (date.replace('X', "a"), date.replace('X', "b"));
    Regex::new(&format!(r"(?i)\b{from}\s*{UNTIL}\s*(?:(?P<open>{OPEN})\b|{to})")).ok()
});

static SINCE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let from = DATE.replace("MONTH", &month_pattern()).replace('X', "a");
    Regex::new(&format!(r"(?i)\b(?:since|seit|depuis|desde)\s+{from}\b")).ok()
});

/// Each month's name from three letters on: `jan(?:u(?:a(?:r(?:y)?)?)?)?`. Any word would do to
/// find dates, but then the word before a bare year would be taken for a part of it.
fn month_pattern() -> String {
    let pattern = |name: &str| {
        let letters: Vec<char> = name.chars().collect();
        let (start, rest) = letters.split_at(letters.len().min(3));
        let optional = rest.iter().rev().fold(String::new(), |inner, c| format!("(?:{c}{inner})?"));
        format!("{}{optional}", start.iter().collect::<String>())
    };
    let patterns: Vec<_> = MONTHS.iter().flat_map(|names| names.split('|')).map(pattern).collect();
    patterns.join("|")
}

static STATED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let pattern = r"(?i)\b(\d{1,2})(?:[.,](\d))?\s*\+?\s*(?:years?|yrs?|jahren?|ans|années|años)\b(?:\W+\w+){0,4}?\W+(?:experience|erfahrung|berufserfahrung|expérience|experiencia)\b";
    Regex::new(pattern).ok()
});

/// The date ranges of a line, with the bytes they stand on.
pub(super) fn spans(line: &str, today: NaiveDate) -> Vec<(Span, Range<usize>)> {
    let mut found = Vec::new();
    let folded = fold(line);
    if PAUSES.split('|').any(|pause| folded.contains(pause)) {
        return found;
    }
    for captures in RANGE.iter().flat_map(|r| r.captures_iter(line)) {
        let open = captures.name("open").is_some();
        let from = date(&captures, 'a', today);
        let to = if open { Some(Date::open(today)) } else { date(&captures, 'b', today) };
        found.extend(whole(&captures, from, to, today));
    }
    if found.is_empty() {
        for captures in SINCE.iter().flat_map(|r| r.captures_iter(line)) {
            let from = date(&captures, 'a', today);
            found.extend(whole(&captures, from, Some(Date::open(today)), today));
        }
    }
    found
}

fn whole(
    captures: &Captures<'_>,
    from: Option<Date>,
    to: Option<Date>,
    today: NaiveDate,
) -> Option<(Span, Range<usize>)> {
    let (from, to, at) = (from?, to?, captures.get(0)?.range());
    let start = from.year * 12 + from.month.unwrap_or(1) - 1;
    let end = match to.month {
        Some(month) => to.year * 12 + month,
        // Years alone: 2015 to 2018 are three years; the same year twice is half of it.
        None if to.year == from.year => start + 6,
        None => to.year * 12,
    };
    let span = Span { from: start, to: end.min(Date::open(today).end()) };
    (span.from < span.to).then_some((span, at))
}

#[derive(Debug, Clone, Copy)]
struct Date {
    year: i32,
    month: Option<i32>,
}

impl Date {
    fn open(today: NaiveDate) -> Self {
        Self { year: today.year(), month: i32::try_from(today.month()).ok() }
    }

    fn end(self) -> i32 {
        self.year * 12 + self.month.unwrap_or(12)
    }
}

fn date(captures: &Captures<'_>, side: char, today: NaiveDate) -> Option<Date> {
    let part = |n: u8| captures.name(&format!("{side}{n}")).map(|m| m.as_str());
    let year: i32 = part(3)?.parse().ok()?;
    let in_figures = part(2).or(part(4)).and_then(|m| m.parse().ok());
    let month = in_figures
        .or_else(|| part(1).and_then(month_by_name))
        .filter(|month: &i32| (1..=12).contains(month));
    (1940..=today.year() + 20).contains(&year).then_some(Date { year, month })
}

fn month_by_name(name: &str) -> Option<i32> {
    let name = fold(name);
    let fits = |month: &str| name.chars().count() >= 3 && month.starts_with(name.as_str());
    let at = MONTHS.iter().position(|names| names.split('|').any(fits))?;
    i32::try_from(at + 1).ok()
}

/// The most years of experience that a text states in words; 0 if it states none.
pub(super) fn stated_years(text: &str) -> f64 {
    let stated = STATED.iter().flat_map(|r| r.captures_iter(text)).filter_map(|c| {
        let tenths = c.get(2).map_or("0", |m| m.as_str());
        format!("{}.{tenths}", c.get(1)?.as_str()).parse::<f64>().ok()
    });
    stated.filter(|years| *years <= 60.0).fold(0.0, f64::max)
}
