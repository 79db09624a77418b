//! The built-in provider: plain rules, no network, the same answer each time, and no pretence.
//!
//! What it measures and nothing more:
//! - *coverage*: which expected keywords an answer speaks of (see [`super::words`]); three
//!   quarters of them count as full, because no good answer says everything;
//! - *substance*: how much is said, in words, against what a question of that difficulty needs;
//! - *concreteness*: several statements, figures, and what the speaker did (first person, known
//!   in some European languages; in others the point is lost and an answer reaches 90 at most);
//! - *padding*: a list of terms without statements, the question said back, and the same words
//!   over and over count for little.
//!
//! It does not understand an answer. A right answer in words nobody expected scores low, which is
//! why what it proposes says so and why confidence stays below 0.8.

use std::collections::HashSet;
use std::time::Instant;

use async_trait::async_trait;

use super::checks::{self, Checked};
use super::guard;
use super::words::{Keyword, Text, fold, sentences, substance, words};
use super::{
    Ai, Answered, AnsweredQuestion, Call, Citation, Difficulty, DimensionScore, JudgeAnswer,
    Judgement, NextQuestion, NextStep, Outcome, Proposal, ProposeScores, Provenance, ReadResume,
    Recommendation, RemainingQuestion, ResumeFacts, Usage,
};
use crate::resume::facts;

/// The provider's name in provenance.
pub const PROVIDER: &str = "rules";
/// The version of these rules; raised whenever an answer could come out differently.
pub const MODEL: &str = "colloquy-rules-1";

/// From this score on a dimension is named as a strength.
const STRONG: f64 = 75.0;
/// Below this score a dimension is named as a weakness.
const WEAK: f64 = 50.0;
/// From this overall score on, with every dimension scored and none weak, the advice is PASS.
const PASS_FROM: f64 = 70.0;
/// Below this overall score, with every dimension scored, the advice is FAIL.
const FAIL_BELOW: f64 = 45.0;
/// Below this completeness a follow-up question is asked.
const FOLLOW_UP_BELOW: f64 = 0.6;
/// Most answers cited for one dimension.
const MOST_CITATIONS: usize = 5;
/// Longest quote, in characters.
const QUOTE_CHARS: usize = 240;

/// The rule-based provider. Needs no settings.
#[derive(Debug, Clone, Copy, Default)]
pub struct RulesAi;

#[async_trait]
impl Ai for RulesAi {
    async fn judge_answer(&self, request: &JudgeAnswer) -> Outcome<Judgement> {
        Ok(answered(request, judge(request)))
    }

    async fn next_question(&self, request: &NextQuestion) -> Outcome<NextStep> {
        Ok(answered(request, choose(request)))
    }

    async fn propose_scores(&self, request: &ProposeScores) -> Outcome<Proposal> {
        Ok(answered(request, propose(request)))
    }

    async fn read_resume(&self, request: &ReadResume) -> Outcome<ResumeFacts> {
        let started = Instant::now();
        let facts = facts::read(&request.text, request.today);
        let mut answered = answered(request, facts);
        answered.call.latency_ms = guard::elapsed_ms(started);
        Ok(answered)
    }
}

/// An answer of the rules with its provenance. Also used where no model needs to be asked.
pub(super) fn answered<R: Checked>(request: &R, value: R::Answer) -> Answered<R::Answer> {
    let prompt = request.prompt();
    Answered {
        value,
        provenance: Provenance {
            provider: PROVIDER.into(),
            model: MODEL.into(),
            prompt_version: prompt.version.into(),
            fallback: false,
        },
        call: Call {
            task: prompt.task,
            request_hash: guard::request_hash(&prompt, PROVIDER, MODEL),
            usage: Usage::default(),
            latency_ms: 0,
            attempt: 1,
            prompt: String::new(),
            raw_answer: String::new(),
        },
        failed_calls: Vec::new(),
    }
}

/// Judges one answer.
pub(super) fn judge(request: &JudgeAnswer) -> Judgement {
    if request.answer.trim().is_empty() {
        return Judgement {
            completeness: 0.0,
            score: 0.0,
            feedback: "Nothing was answered.".into(),
            matched_keywords: Vec::new(),
            missing_keywords: request.expected_keywords.clone(),
            follow_up: None,
        };
    }
    let m = Measured::new(
        &request.question,
        request.difficulty,
        &request.expected_keywords,
        &request.answer,
    );
    let completeness = round2(m.completeness());
    let follow_up = (completeness < FOLLOW_UP_BELOW && !request.already_followed_up)
        .then(|| follow_up(&m.missing, request.brief.language.as_deref()));
    Judgement {
        completeness,
        score: round2(m.score()),
        feedback: m.feedback(),
        matched_keywords: m.matched,
        missing_keywords: m.missing,
        follow_up,
    }
}

/// The first remaining question of the wanted difficulty, by weight and then by order; if there
/// is none, of the nearest difficulty, the easier one first. Never one of its own.
fn choose(request: &NextQuestion) -> NextStep {
    let distance = |q: &RemainingQuestion| {
        let steps = (q.difficulty as i8 - request.wanted as i8) * 2;
        if steps > 0 { steps + 1 } else { -steps }
    };
    request
        .remaining
        .iter()
        .min_by(|a, b| {
            let by_weight = b.weight.total_cmp(&a.weight);
            distance(a).cmp(&distance(b)).then(by_weight).then(a.order.cmp(&b.order))
        })
        .map_or(NextStep::Close, |q| NextStep::Job(q.id.clone()))
}

/// Scores each dimension by the answers that speak for it.
pub(super) fn propose(request: &ProposeScores) -> Proposal {
    let mut scores = Vec::new();
    let mut unscored = Vec::new();
    for dimension in &request.dimensions {
        let key = dimension.key.as_str();
        let mut judged: Vec<(f64, &AnsweredQuestion)> =
            request.evidence_for(key).map(|a| (score_of(a), a)).collect();
        if judged.is_empty() {
            unscored.push(dimension.key.clone());
            continue;
        }
        let n = judged.len() as f64;
        let score = round2(judged.iter().map(|(score, _)| score).sum::<f64>() / n);
        let with_keywords =
            judged.iter().filter(|(_, a)| !a.expected_keywords.is_empty()).count() as f64;
        let confidence = round2((0.3 + 0.1 * n + 0.2 * with_keywords / n).min(0.79));
        // The extremes tell most, so they are cited first.
        judged.sort_by(|(a, _), (b, _)| (b - score).abs().total_cmp(&(a - score).abs()));
        let evidence =
            judged.iter().take(MOST_CITATIONS).map(|(score, a)| cite(a, *score)).collect();
        scores.push(DimensionScore { key: dimension.key.clone(), score, confidence, evidence });
    }
    let overall = checks::overall(&request.dimensions, &scores);
    let label = |key: &str| {
        let known = request.dimensions.iter().find(|d| d.key == key);
        known.map_or(key, |d| d.label.as_str()).to_owned()
    };
    let named = |wanted: &dyn Fn(f64) -> bool| -> Vec<String> {
        let chosen = scores.iter().filter(|s| wanted(s.score));
        chosen.map(|s| format!("{}: {:.2} of 100", label(&s.key), s.score)).collect()
    };
    let strengths = named(&|score| score >= STRONG);
    let weaknesses = named(&|score| score < WEAK);
    let recommendation = match overall {
        Some(o) if unscored.is_empty() && o >= PASS_FROM && weaknesses.is_empty() => {
            Recommendation::Pass
        }
        Some(o) if unscored.is_empty() && o < FAIL_BELOW => Recommendation::Fail,
        _ => Recommendation::Review,
    };
    let mut summary = match overall {
        Some(overall) => format!(
            "{} of {} dimensions could be scored; the weighted mean is {overall:.2} of 100.",
            scores.len(),
            request.dimensions.len()
        ),
        None => "No dimension could be scored, because no answer speaks for one.".to_owned(),
    };
    if !unscored.is_empty() {
        let labels: Vec<_> = unscored.iter().map(|key| label(key)).collect();
        summary.push_str(&format!(" Without evidence: {}.", labels.join(", ")));
    }
    summary.push_str(
        " Proposed by fixed rules that count expected keywords, substance and concrete detail; \
         they do not understand what was said.",
    );
    Proposal { scores, unscored, overall, recommendation, strengths, weaknesses, summary }
}

fn score_of(a: &AnsweredQuestion) -> f64 {
    match a.judged_score {
        Some(score) if (0.0..=100.0).contains(&score) => score,
        _ => round2(
            Measured::new(&a.question, a.difficulty, &a.expected_keywords, &a.answer).score(),
        ),
    }
}

/// Quotes the sentence that covers most expected keywords; the longest of equals.
fn cite(a: &AnsweredQuestion, score: f64) -> Citation {
    let keywords: Vec<_> = a.expected_keywords.iter().map(|k| (k, Keyword::parse(k))).collect();
    let covered = |text: &str| -> Vec<&str> {
        let text = Text::new(text);
        let found = keywords.iter().filter(|(_, k)| !k.find(&text).is_empty());
        found.map(|(name, _)| first_synonym(name)).collect()
    };
    let best = sentences(&a.answer)
        .into_iter()
        .max_by_key(|s| (covered(s).len(), s.chars().count()))
        .unwrap_or(a.answer.trim());
    let quote: String = best.chars().take(QUOTE_CHARS).collect();
    let names = covered(&quote);
    let why = if names.is_empty() {
        format!("The whole answer was judged {score:.2} of 100.")
    } else {
        format!("Speaks of {}; the whole answer was judged {score:.2} of 100.", names.join(", "))
    };
    Citation { answer_id: a.answer_id.clone(), quote: quote.trim().to_owned(), why }
}

/// What was counted in one answer. Shares are 0 to 1.
struct Measured {
    matched: Vec<String>,
    missing: Vec<String>,
    coverage: Option<f64>,
    substance: f64,
    concreteness: f64,
    /// What is left of the score after padding is taken off; 1 for an honest answer.
    honesty: f64,
    padding: Option<&'static str>,
}

impl Measured {
    fn new(question: &str, difficulty: Difficulty, expected: &[String], answer: &str) -> Self {
        let text = Text::new(answer);
        let n_words = substance(answer);
        let mut matched = Vec::new();
        let mut missing = Vec::new();
        let mut covered = HashSet::new();
        for keyword in expected {
            let found = Keyword::parse(keyword).find(&text);
            if found.is_empty() {
                missing.push(keyword.clone());
            } else {
                matched.push(keyword.clone());
                covered.extend(found);
            }
        }
        let coverage = (!expected.is_empty()).then(|| matched.len() as f64 / expected.len() as f64);
        let needed = match difficulty {
            Difficulty::Warmup => 25.0,
            Difficulty::Standard => 40.0,
            Difficulty::Advanced => 55.0,
        };
        let (honesty, padding) = padding(question, answer, &text, covered.len(), n_words);
        Self {
            matched,
            missing,
            coverage,
            substance: (n_words as f64 / needed).min(1.0),
            concreteness: concreteness(answer, &text),
            honesty,
            padding,
        }
    }

    /// Coverage as it counts: full from three quarters on.
    fn counted_coverage(&self) -> Option<f64> {
        self.coverage.map(|c| (c / 0.75).min(1.0))
    }

    fn score(&self) -> f64 {
        let raw = match self.counted_coverage() {
            // Keywords count for as much as is said about them, and an answer beside the
            // question does not become right by being long.
            Some(covered) => {
                let said = 0.4 + 0.6 * self.substance;
                let to_the_point = 0.3 + 0.7 * (covered * 2.0).min(1.0);
                65.0 * covered * said
                    + to_the_point * (20.0 * self.substance + 15.0 * self.concreteness)
            }
            // Without keywords only form can be measured, so the top is out of reach.
            None => 60.0 * self.substance + 30.0 * self.concreteness * self.substance,
        };
        (raw * self.honesty).clamp(0.0, 100.0)
    }

    fn completeness(&self) -> f64 {
        let raw = match self.counted_coverage() {
            Some(covered) => 0.75 * covered + 0.25 * self.substance * (0.3 + 0.7 * covered),
            None => 0.8 * self.substance + 0.2 * self.concreteness,
        };
        (raw * self.honesty).clamp(0.0, 1.0)
    }

    fn feedback(&self) -> String {
        let list = |keywords: &[String]| {
            keywords.iter().map(|k| first_synonym(k)).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if !self.matched.is_empty() {
            parts.push(format!("Speaks of {}.", list(&self.matched)));
        }
        if !self.missing.is_empty() {
            parts.push(format!("Does not speak of {}.", list(&self.missing)));
        }
        if self.substance < 0.5 {
            parts.push("Short for this question.".into());
        }
        if self.concreteness < 0.4 {
            parts.push("Little concrete detail.".into());
        }
        parts.extend(self.padding.map(str::to_owned));
        if self.coverage.is_none() {
            parts.push("No keywords are expected, so only form was measured.".into());
        }
        if parts.is_empty() {
            parts.push("Covers what was expected.".into());
        }
        parts.join(" ")
    }
}

/// Several statements, figures, and what the speaker did.
fn concreteness(answer: &str, text: &Text) -> f64 {
    let statements = match sentences(answer).len() {
        0 | 1 => 0.1,
        2 => 0.3,
        _ => 0.4,
    };
    let figures =
        if text.words.iter().any(|w| w.text.chars().any(char::is_numeric)) { 0.3 } else { 0.0 };
    let acted = text.words.iter().any(|w| FIRST_PERSON.contains(&w.text.as_str()));
    statements + figures + if acted { 0.3 } else { 0.0 }
}

/// "I", "we", "my" and "our" in some European languages.
const FIRST_PERSON: [&str; 40] = [
    "i", "we", "my", "our", "us", "me", // English
    "ich", "wir", "mein", "meine", "meinem", "meinen", "unser", "unsere", // German
    "je", "j", "nous", "mon", "mes", "notre", // French
    "yo", "mi", "nosotros", "nuestro", "nuestra", // Spanish
    "io", "noi", "mio", "nostro", // Italian
    "eu", "nós", "meu", "minha", "nosso", // Portuguese
    "ik", "wij", // Dutch
    "я", "мы", // Russian
    "moje", "jsem", // Czech
];

/// What is left of a score after padding, and what to say about it.
fn padding(
    question: &str,
    answer: &str,
    text: &Text,
    n_covered: usize,
    n_words: usize,
) -> (f64, Option<&'static str>) {
    let n = text.words.len().max(1) as f64;
    let distinct: HashSet<_> = text.words.iter().map(|w| w.text.as_str()).collect();
    if n_words >= 12 && (distinct.len() as f64) < n * 0.35 {
        return (0.3, Some("Says the same words over and over."));
    }
    let asked: HashSet<_> = words(question).into_iter().map(|w| w.stem).collect();
    let said_back = text.words.iter().filter(|w| asked.contains(&w.stem)).count() as f64;
    if n_words >= 4 && said_back > n * 0.8 {
        return (0.2, Some("Says the question back."));
    }
    if n_covered >= 3 && (n_covered as f64 > n * 0.5 || is_list(answer)) {
        return (0.3, Some("Lists terms without saying anything about them."));
    }
    (1.0, None)
}

/// Many short pieces between commas or lines, and hardly a sentence.
fn is_list(answer: &str) -> bool {
    let folded = fold(answer);
    let pieces: Vec<usize> = folded
        .split([',', ';', '\n', '|', '/', '•', '、', '，'])
        .map(substance)
        .filter(|&n| n > 0)
        .collect();
    let n_words: usize = pieces.iter().sum();
    pieces.len() >= 5 && (n_words as f64) < pieces.len() as f64 * 2.5
}

/// Asks for what is lacking, in a language the rules know; otherwise in English.
fn follow_up(missing: &[String], language: Option<&str>) -> String {
    let language = language.unwrap_or("en").split(['-', '_']).next().unwrap_or("en");
    let topic = missing.first().map(|k| first_synonym(k));
    match (language.to_lowercase().as_str(), topic) {
        ("de", Some(topic)) => {
            format!("Können Sie das genauer erläutern, auch mit Blick auf: {topic}?")
        }
        ("de", None) => "Können Sie ein konkretes Beispiel nennen?".into(),
        ("fr", Some(topic)) => {
            format!("Pouvez-vous préciser, notamment en ce qui concerne : {topic} ?")
        }
        ("fr", None) => "Pouvez-vous donner un exemple concret ?".into(),
        ("es", Some(topic)) => {
            format!("¿Puede explicarlo con más detalle, también en cuanto a: {topic}?")
        }
        ("es", None) => "¿Puede dar un ejemplo concreto?".into(),
        (_, Some(topic)) => {
            format!("Could you go into more detail, also with regard to: {topic}?")
        }
        (_, None) => "Could you give a concrete example of what you did?".into(),
    }
}

fn first_synonym(keyword: &str) -> &str {
    keyword.split('|').map(str::trim).find(|s| !s.is_empty()).unwrap_or(keyword)
}

/// Two decimal places, as scores are kept.
pub(super) fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
