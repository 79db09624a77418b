//! The files under `examples/`: jobs, and what candidates answer.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::client;

/// A job file: front matter in TOML between two lines of `+++`, then the description in Markdown.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Title, as shown to candidates.
    pub title: String,
    /// Department.
    pub department: String,
    /// Place of work.
    pub location: String,
    /// BCP 47 language of the interviews.
    pub language: String,
    /// What is scored.
    pub rubric: Vec<Dimension>,
    /// The questions in the order in which they are asked.
    pub questions: Vec<Question>,
    /// The description.
    #[serde(skip)]
    pub description: String,
}

/// One thing that the rubric scores.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Key.
    pub key: String,
    /// Name for people.
    pub label: String,
    /// Share of the whole.
    pub weight: f64,
}

/// A question of a job.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Slug, which interviews refer to.
    pub id: String,
    /// What is asked.
    pub text: String,
    /// `TECHNICAL`, `BEHAVIORAL` or `SITUATIONAL`.
    #[serde(rename = "type")]
    pub question_type: String,
    /// `WARMUP`, `STANDARD` or `ADVANCED`.
    pub difficulty: String,
    /// Share within its dimensions, from 1.
    pub weight: u8,
    /// Keys of the rubric that it measures.
    pub dimensions: Vec<String>,
    /// What a good answer mentions; `a|b` means either.
    pub expected_keywords: Vec<String>,
}

/// What one candidate answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interview {
    /// Who answers.
    pub candidate: Candidate,
    /// An answer to each question of the job.
    pub answers: Vec<Answer>,
}

/// Who answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Name in full.
    pub full_name: String,
    /// Address.
    pub email: String,
    /// Telephone.
    pub phone: String,
    /// File in `resumes/`.
    pub resume: String,
}

/// One answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Slug of the question.
    pub question: String,
    /// What is said.
    pub text: String,
    /// What is said if asked back.
    pub follow_up: Option<String>,
}

impl Job {
    /// Reads `jobs/<slug>.md`.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(examples: &Path, slug: &str) -> anyhow::Result<Self> {
        let path = examples.join("jobs").join(format!("{slug}.md"));
        let text = String::from_utf8(client::file(&path)?)?;
        let parts = text.strip_prefix("+++\n").and_then(|rest| rest.split_once("\n+++\n"));
        let (front, description) =
            parts.with_context(|| format!("{} has no front matter", path.display()))?;
        let mut job: Self =
            toml::from_str(front).with_context(|| format!("{} is malformed", path.display()))?;
        job.description = description.trim().to_owned();
        Ok(job)
    }
}

impl Interview {
    /// Reads `interviews/<slug>.<kind>.toml`, which answers every question of the job.
    ///
    /// # Errors
    /// Names the file, and what is wrong with it.
    pub fn read(examples: &Path, job: &Job, slug: &str, kind: &str) -> anyhow::Result<Self> {
        let path = examples.join("interviews").join(format!("{slug}.{kind}.toml"));
        let text = String::from_utf8(client::file(&path)?)?;
        let interview: Self =
            toml::from_str(&text).with_context(|| format!("{} is malformed", path.display()))?;
        for question in &job.questions {
            let answered = interview.answers.iter().any(|a| a.question == question.id);
            ensure!(answered, "{} does not answer {}", path.display(), question.id);
        }
        Ok(interview)
    }

    /// The answer to one of the job's questions, found by the question's text.
    #[must_use]
    pub fn answer_to(&self, job: &Job, question_text: &str) -> Option<&Answer> {
        let question = job.questions.iter().find(|q| q.text == question_text)?;
        self.answers.iter().find(|answer| answer.question == question.id)
    }

    /// The candidate's résumé as `(file name, content)`.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn resume(&self, examples: &Path) -> anyhow::Result<(&str, Vec<u8>)> {
        let name = self.candidate.resume.as_str();
        Ok((name, client::file(&examples.join("resumes").join(name))?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn examples() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
    }

    #[test]
    fn every_interview_answers_every_question_of_its_job() {
        for slug in ["senior-backend-engineer", "intensive-care-nurse"] {
            let job = Job::read(&examples(), slug).expect("a job");
            assert!(job.description.starts_with("# "), "{slug}");
            for kind in ["good", "poor"] {
                let interview = Interview::read(&examples(), &job, slug, kind).expect("answers");
                let answer = interview.answer_to(&job, &job.questions[0].text).expect("an answer");
                assert_eq!(answer.question, job.questions[0].id);
                assert!(!interview.resume(&examples()).expect("a résumé").1.is_empty());
            }
        }
    }
}
