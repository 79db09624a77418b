//! A résumé's text → facts, by rules: no network, the same result each time.
//!
//! What is read: skills from a lexicon of several professions (`skills.txt`); years of work from
//! the date ranges under the experience heading, overlapping ones counted once; education and
//! positions as the lines they stand on. Headings, months and words for "today" are known in
//! English, German, French and Spanish. In other languages dates in figures still count.
//!
//! What is not read, on purpose: names, ages, addresses, photographs, families.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use chrono::NaiveDate;

use super::dates::{self, Span, spans};
use super::sections::{Line, Section, is_bullet, sectioned};
use super::skills;
use crate::ai::words::words;
use crate::ai::{Level, ResumeFacts};

const MOST_LINES: usize = 40;
const LINE_CHARS: usize = 200;

/// Reads the facts. `today` is what `present` means.
pub fn read(text: &str, today: NaiveDate) -> ResumeFacts {
    let lines = sectioned(text);
    let found = skills::find(text);
    let experience_years = years_of_work(text, &lines, today);
    let mut names = Vec::new();
    let mut by_field: BTreeMap<&str, usize> = BTreeMap::new();
    for skill in found {
        *by_field.entry(skill.field.as_str()).or_default() += 1;
        names.push(skill.name.clone());
    }
    ResumeFacts {
        skills: names,
        experience_years,
        education: education(&lines),
        previous_roles: roles(&lines, today),
        technical_domains: by_field
            .into_iter()
            .filter_map(|(field, n)| Some((field.to_owned(), level(n, experience_years)?)))
            .collect(),
    }
}

/// A field counts from two skills on. More skills mean more, but no level is reached without the
/// years for it, where years are stated.
fn level(n_skills: usize, years: f64) -> Option<Level> {
    let by_skills = match n_skills {
        0 | 1 => return None,
        2 => Level::Beginner,
        3..=5 => Level::Intermediate,
        _ => Level::Advanced,
    };
    let by_years = match years {
        y if y <= 0.0 => Level::Advanced,
        y if y < 1.0 => Level::Beginner,
        y if y < 4.0 => Level::Intermediate,
        _ => Level::Advanced,
    };
    Some(by_skills.min(by_years))
}

/// Years under the experience heading; without one, on all lines that do not speak of schools;
/// without any dates, what is stated in words.
fn years_of_work(text: &str, lines: &[Line<'_>], today: NaiveDate) -> f64 {
    let mut found: Vec<Span> =
        work_lines(lines).flat_map(|line| spans(line.text, today)).map(|(span, _)| span).collect();
    found.sort();
    let mut months = 0;
    let mut end = i32::MIN;
    for span in found {
        months += (span.to - span.from.max(end)).max(0);
        end = end.max(span.to);
    }
    if months > 0 {
        return (f64::from(months) / 12.0 * 10.0).round() / 10.0;
    }
    dates::stated_years(text)
}

fn work_lines<'a, 'b>(lines: &'b [Line<'a>]) -> impl Iterator<Item = &'b Line<'a>> {
    let has_heading = lines.iter().any(|l| l.section == Section::Experience);
    lines.iter().filter(move |line| match line.section {
        Section::Experience => true,
        Section::Education => false,
        Section::Top | Section::Other => !has_heading && !speaks_of_school(line.text),
    })
}

/// Words of schools and degrees, parted by `|`.
const SCHOOL: &str = "\
    university|college|school|institute|academy|bachelor|bachelors|master|masters|bsc|b.sc|\
    msc|m.sc|mba|phd|ph.d|doctorate|degree|diploma|associate|apprenticeship|certificate|\
    certification|licensed|license|licence|bsn|msn|adn|gcse|ged|universität|hochschule|\
    fachhochschule|schule|gymnasium|abitur|ausbildung|studium|diplom|berufsschule|meister|\
    gesellenbrief|promotion|université|école|lycée|baccalauréat|diplôme|bts|dut|doctorat|\
    universidad|escuela|colegio|bachillerato|licenciatura|grado|máster|doctorado|politechnika|\
    uniwersytet|polytechnic|faculty|universidade";

fn speaks_of_school(line: &str) -> bool {
    words(line).iter().any(|w| SCHOOL.split('|').any(|school| school == w.text))
}

fn education(lines: &[Line<'_>]) -> Vec<String> {
    let under_heading: Vec<_> =
        lines.iter().filter(|l| l.section == Section::Education).map(|l| l.text).collect();
    let chosen = if under_heading.is_empty() {
        let schools = |l: &&Line<'_>| l.section != Section::Experience && speaks_of_school(l.text);
        lines.iter().filter(schools).map(|l| l.text).collect()
    } else {
        under_heading
    };
    unique(chosen.into_iter().map(entry))
}

/// Words that name positions, parted by `|`. German compounds count by their ending.
const POSITIONS: &str = "\
    engineer|developer|programmer|architect|administrator|analyst|scientist|consultant|\
    specialist|manager|director|lead|head|officer|president|assistant|associate|coordinator|\
    supervisor|foreman|technician|mechanic|electrician|journeyman|apprentice|plumber|\
    carpenter|welder|operator|driver|nurse|midwife|physician|doctor|therapist|pharmacist|\
    paramedic|caregiver|aide|teacher|lecturer|tutor|professor|educator|trainer|accountant|\
    controller|comptroller|bookkeeper|auditor|clerk|cashier|representative|salesperson|seller|\
    agent|buyer|planner|designer|editor|writer|journalist|translator|lawyer|paralegal|\
    secretary|receptionist|cook|chef|waiter|waitress|barista|housekeeper|intern|trainee|\
    freelancer|volunteer|entwickler|ingenieur|leiter|pfleger|schwester|elektriker|lehrer|\
    buchhalter|verkäufer|ingénieur|développeur|infirmier|infirmière|ingeniero|desarrollador";

fn names_a_position(line: &str) -> bool {
    words(line).iter().any(|word| {
        POSITIONS.split('|').any(|position| {
            word.text == position
                || word.text.strip_suffix("in") == Some(position)
                || word.text.strip_suffix('s') == Some(position)
                || (position.len() >= 6 && word.text.ends_with(position))
        })
    })
}

/// Each dated line under the experience heading is a position. Its title stands on the same line
/// or, if that one names none, on a neighbouring line.
fn roles(lines: &[Line<'_>], today: NaiveDate) -> Vec<String> {
    let work: Vec<_> = work_lines(lines).collect();
    let dated: Vec<_> = work.iter().map(|line| spans(line.text, today)).collect();
    let title_beside = |at: Option<usize>| {
        let at = at?;
        let (line, spans) = (work.get(at)?, dated.get(at)?);
        let short = line.text.chars().count() <= 90 && !line.text.ends_with('.');
        (short && spans.is_empty() && !is_bullet(line.text)).then(|| entry(line.text))
    };
    let mut found = Vec::new();
    for (at, (line, spans)) in work.iter().zip(&dated).enumerate() {
        if spans.is_empty() || is_bullet(line.text) && !names_a_position(line.text) {
            continue;
        }
        let own = entry(&without(line.text, spans.iter().map(|(_, at)| at.clone())));
        let above = title_beside(at.checked_sub(1));
        let below = title_beside(Some(at + 1));
        let is_title = |text: &String| names_a_position(text);
        // A sentence that holds dates says something about a position and is none.
        if own.ends_with('.') {
            continue;
        }
        let role = if is_title(&own) {
            // Long prose that happens to hold dates is no position.
            if own.chars().count() <= 140 { own } else { continue }
        } else if let Some(above) = above.clone().filter(is_title) {
            joined(&above, &own)
        } else if let Some(below) = below.filter(is_title) {
            joined(&below, &own)
        } else if own.is_empty() {
            // Title, employer and dates on three lines.
            let above = above.unwrap_or_default();
            match title_beside(at.checked_sub(2)).filter(is_title) {
                Some(title) => joined(&title, &above),
                None => above,
            }
        } else if line.section == Section::Experience {
            own
        } else {
            continue;
        };
        found.push(role);
    }
    unique(found.into_iter())
}

fn joined(title: &str, rest: &str) -> String {
    if rest.is_empty() { title.to_owned() } else { format!("{title}, {rest}") }
}

fn without(line: &str, ranges: impl Iterator<Item = Range<usize>>) -> String {
    let mut kept = String::new();
    let mut from = 0;
    for range in ranges {
        kept.push_str(line.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    kept.push_str(line.get(from..).unwrap_or_default());
    kept.replace("()", " ").replace("[]", " ")
}

/// A line as it is kept: no bullet, no dangling separators, single spaces, not too long.
fn entry(line: &str) -> String {
    let collapsed = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let dangling = |c: char| {
        c.is_whitespace()
            || is_bullet(c.encode_utf8(&mut [0; 4]))
            || matches!(c, '|' | ',' | ';' | ':' | '—')
    };
    collapsed.trim_matches(dangling).chars().take(LINE_CHARS).collect()
}

fn unique(entries: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    entries
        .filter(|e| e.chars().any(char::is_alphabetic) && seen.insert(e.clone()))
        .take(MOST_LINES)
        .collect()
}
