//! Which answers are true to a request: shape first, then ranges, keys and citations.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::prompts::Prompt;
use super::words::fold_quote;
use super::{
    Dimension, DimensionScore, JudgeAnswer, Judgement, Level, NextQuestion, NextStep, Proposal,
    ProposeScores, ReadResume, Recommendation, ResumeFacts, Violation, rules,
};

/// A request that knows which answers are true to it.
pub(super) trait Checked: Send + Sync {
    type Answer: Send;

    fn prompt(&self) -> Prompt;

    /// The answer where no model needs to be asked, because the request says nothing to judge.
    fn without_model(&self) -> Option<Self::Answer>;

    /// Turns an answer of the right shape into a checked one.
    fn check(&self, wire: Value) -> Result<Self::Answer, Violation>;
}

/// Text → JSON → right shape → true to the request.
pub(super) fn read<R: Checked>(
    request: &R,
    prompt: &Prompt,
    text: &str,
) -> Result<R::Answer, Violation> {
    let value: Value = serde_json::from_str(unfenced(text)).map_err(|_| Violation::NotJson)?;
    let validator = jsonschema::validator_for(&prompt.schema)
        .map_err(|_| Violation::WrongShape("schema".into()))?;
    if let Err(error) = validator.validate(&value) {
        return Err(Violation::WrongShape(error.schema_path().to_string()));
    }
    request.check(value)
}

/// Some endpoints wrap JSON in a Markdown fence although they were asked not to.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let Some(inner) = text.strip_prefix("```").and_then(|t| t.strip_suffix("```")) else {
        return text;
    };
    inner.strip_prefix("json").unwrap_or(inner).trim()
}

fn shaped<T: DeserializeOwned>(wire: Value) -> Result<T, Violation> {
    serde_json::from_value(wire).map_err(|_| Violation::WrongShape(String::new()))
}

fn within(value: f64, most: f64, name: &'static str) -> Result<f64, Violation> {
    if (0.0..=most).contains(&value) {
        Ok(rules::round2(value))
    } else {
        Err(Violation::OutOfRange(name))
    }
}

const LONGEST_LINE: usize = 500;
const LONGEST_TEXT: usize = 5000;

fn text_of(text: &str, most_chars: usize, name: &'static str) -> Result<String, Violation> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > most_chars {
        return Err(Violation::BadText(name));
    }
    Ok(text.to_owned())
}

fn lines_of(lines: Vec<String>, name: &'static str) -> Result<Vec<String>, Violation> {
    if lines.len() > 200 {
        return Err(Violation::OutOfRange(name));
    }
    lines.iter().map(|line| text_of(line, LONGEST_LINE, name)).collect()
}

impl Checked for JudgeAnswer {
    type Answer = Judgement;

    fn prompt(&self) -> Prompt {
        self.prompt()
    }

    fn without_model(&self) -> Option<Judgement> {
        self.answer.trim().is_empty().then(|| rules::judge(self))
    }

    fn check(&self, wire: Value) -> Result<Judgement, Violation> {
        #[derive(Deserialize)]
        struct Wire {
            completeness: f64,
            score: f64,
            feedback: String,
            matched_keywords: Vec<String>,
            follow_up: Option<String>,
        }
        let wire: Wire = shaped(wire)?;
        if !wire.matched_keywords.iter().all(|k| self.expected_keywords.contains(k)) {
            return Err(Violation::UnknownKeyword);
        }
        let (matched_keywords, missing_keywords) = self
            .expected_keywords
            .iter()
            .cloned()
            .partition(|keyword| wire.matched_keywords.contains(keyword));
        // A second follow-up is not the model's to ask, whatever it says.
        let follow_up = wire
            .follow_up
            .filter(|text| !text.trim().is_empty() && !self.already_followed_up)
            .map(|text| text_of(&text, 1000, "follow_up"))
            .transpose()?;
        Ok(Judgement {
            completeness: within(wire.completeness, 1.0, "completeness")?,
            score: within(wire.score, 100.0, "score")?,
            feedback: text_of(&wire.feedback, LONGEST_TEXT, "feedback")?,
            matched_keywords,
            missing_keywords,
            follow_up,
        })
    }
}

impl Checked for NextQuestion {
    type Answer = NextStep;

    fn prompt(&self) -> Prompt {
        self.prompt()
    }

    fn without_model(&self) -> Option<NextStep> {
        (self.remaining.is_empty() && !self.may_invent).then_some(NextStep::Close)
    }

    fn check(&self, wire: Value) -> Result<NextStep, Violation> {
        #[derive(Deserialize)]
        struct Wire {
            question_id: Option<String>,
            own_text: Option<String>,
        }
        let wire: Wire = shaped(wire)?;
        match (wire.question_id, wire.own_text) {
            (Some(id), None) if self.remaining.iter().any(|q| q.id == id) => Ok(NextStep::Job(id)),
            (None, Some(text)) if self.may_invent => {
                Ok(NextStep::Own(text_of(&text, 1000, "own_text")?))
            }
            (None, None) if self.remaining.is_empty() => Ok(NextStep::Close),
            _ => Err(Violation::UnknownQuestion),
        }
    }
}

impl Checked for ProposeScores {
    type Answer = Proposal;

    fn prompt(&self) -> Prompt {
        self.prompt()
    }

    fn without_model(&self) -> Option<Proposal> {
        let nothing = !self.dimensions.iter().any(|d| self.evidence_for(&d.key).next().is_some());
        nothing.then(|| rules::propose(self))
    }

    fn check(&self, wire: Value) -> Result<Proposal, Violation> {
        #[derive(Deserialize)]
        struct Wire {
            scores: Vec<DimensionScore>,
            recommendation: Recommendation,
            strengths: Vec<String>,
            weaknesses: Vec<String>,
            summary: String,
        }
        let wire: Wire = shaped(wire)?;
        let mut seen = HashSet::new();
        for score in &wire.scores {
            let known = self.dimensions.iter().any(|d| d.key == score.key);
            if !known || !seen.insert(score.key.as_str()) {
                return Err(Violation::UnknownDimension);
            }
        }
        let mut scores = Vec::new();
        let mut unscored = Vec::new();
        for dimension in &self.dimensions {
            let has_evidence = self.evidence_for(&dimension.key).next().is_some();
            match wire.scores.iter().find(|s| s.key == dimension.key) {
                Some(_) if !has_evidence => {
                    return Err(Violation::WithoutEvidence(dimension.key.clone()));
                }
                Some(score) => scores.push(self.check_score(score)?),
                None if has_evidence => {
                    return Err(Violation::DimensionMissing(dimension.key.clone()));
                }
                None => unscored.push(dimension.key.clone()),
            }
        }
        Ok(Proposal {
            overall: overall(&self.dimensions, &scores),
            scores,
            unscored,
            recommendation: wire.recommendation,
            strengths: lines_of(wire.strengths, "strengths")?,
            weaknesses: lines_of(wire.weaknesses, "weaknesses")?,
            summary: text_of(&wire.summary, LONGEST_TEXT, "summary")?,
        })
    }
}

impl ProposeScores {
    /// A score as it may stand: in range, and each citation real and of this dimension.
    fn check_score(&self, score: &DimensionScore) -> Result<DimensionScore, Violation> {
        let key = || score.key.clone();
        if score.evidence.is_empty() {
            return Err(Violation::WithoutEvidence(key()));
        }
        for citation in &score.evidence {
            let answer = self
                .answers
                .iter()
                .find(|a| a.answer_id == citation.answer_id)
                .ok_or_else(|| Violation::UnknownAnswer(key()))?;
            if !answer.dimension_keys.contains(&score.key) {
                return Err(Violation::ForeignEvidence(key()));
            }
            if !is_quoted(&citation.quote, &answer.answer) {
                return Err(Violation::InventedQuote(key()));
            }
            text_of(&citation.why, LONGEST_TEXT, "why")?;
        }
        Ok(DimensionScore {
            key: key(),
            score: within(score.score, 100.0, "score")?,
            confidence: within(score.confidence, 1.0, "confidence")?,
            evidence: score.evidence.clone(),
        })
    }
}

impl Checked for ReadResume {
    type Answer = ResumeFacts;

    fn prompt(&self) -> Prompt {
        self.prompt()
    }

    fn without_model(&self) -> Option<ResumeFacts> {
        self.text.trim().is_empty().then(ResumeFacts::default)
    }

    fn check(&self, wire: Value) -> Result<ResumeFacts, Violation> {
        #[derive(Deserialize)]
        struct Wire {
            skills: Vec<String>,
            experience_years: f64,
            education: Vec<String>,
            previous_roles: Vec<String>,
            technical_domains: Vec<WireDomain>,
        }
        #[derive(Deserialize)]
        struct WireDomain {
            domain: String,
            level: Level,
        }
        let wire: Wire = shaped(wire)?;
        let years = within(wire.experience_years, 80.0, "experience_years")?;
        let technical_domains = wire
            .technical_domains
            .into_iter()
            .map(|d| Ok((text_of(&d.domain, LONGEST_LINE, "technical_domains")?, d.level)))
            .collect::<Result<_, Violation>>()?;
        Ok(ResumeFacts {
            skills: lines_of(wire.skills, "skills")?,
            experience_years: (years * 10.0).round() / 10.0,
            education: lines_of(wire.education, "education")?,
            previous_roles: lines_of(wire.previous_roles, "previous_roles")?,
            technical_domains,
        })
    }
}

/// Whether the quote stands in the answer, white space, case and typography aside. A crumb of a
/// word would stand in any answer, so a quote has four characters at least or is the whole answer.
pub fn is_quoted(quote: &str, answer: &str) -> bool {
    let (quote, answer) = (fold_quote(quote), fold_quote(answer));
    quote == answer && !quote.is_empty() || quote.chars().count() >= 4 && answer.contains(&quote)
}

/// The mean of the scores by the rubric's weights, normalised over the scored dimensions, with
/// two decimal places; the plain mean if none of them weighs anything. None without a score.
pub fn overall(dimensions: &[Dimension], scores: &[DimensionScore]) -> Option<f64> {
    let weight_of = |key: &str| {
        let weight = dimensions.iter().find(|d| d.key == key).map_or(0.0, |d| d.weight);
        if weight.is_finite() { weight.max(0.0) } else { 0.0 }
    };
    if scores.is_empty() {
        return None;
    }
    let total: f64 = scores.iter().map(|s| weight_of(&s.key)).sum();
    let mean = if total > 0.0 {
        scores.iter().map(|s| s.score * weight_of(&s.key)).sum::<f64>() / total
    } else {
        scores.iter().map(|s| s.score).sum::<f64>() / scores.len() as f64
    };
    Some(rules::round2(mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overall_score_is_normalised_by_the_weights_that_were_scored() {
        let dimension =
            |key: &str, weight| Dimension { key: key.into(), label: key.into(), weight };
        let score = |key: &str, score| DimensionScore {
            key: key.into(),
            score,
            confidence: 1.0,
            evidence: vec![],
        };
        let rubric = [dimension("a", 0.3), dimension("b", 0.2), dimension("c", 0.5)];
        assert_eq!(overall(&rubric, &[score("a", 80.0), score("b", 70.0)]), Some(76.0));
        assert_eq!(overall(&rubric, &[]), None);
    }

    #[test]
    fn a_quote_must_stand_in_the_answer() {
        let answer = "We’d  cut latency\nfrom 900 ms to 140 ms.";
        assert!(is_quoted("we'd cut LATENCY from 900 ms", answer));
        assert!(!is_quoted("we cut latency in half", answer));
        assert!(!is_quoted("", answer));
        assert!(!is_quoted("ms", answer), "a crumb stands in any answer");
        assert!(is_quoted("No", "no"));
    }
}
