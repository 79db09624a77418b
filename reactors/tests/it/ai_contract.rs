//! What everything that answers the AI port must hold, whoever it is.

use reactors::ai::checks::is_quoted;
use reactors::ai::{
    Ai, Answered, AnsweredQuestion, Brief, Difficulty, Dimension, Exchange, JudgeAnswer,
    NextQuestion, NextStep, ProposeScores, ReadResume, Recommendation, RemainingQuestion,
};

pub const GOOD: &str = "First I check the airway and the breathing, because a patient can lose \
consciousness within four minutes without oxygen. On my ward I then take the pulse and the blood \
pressure, compare them with the last values, and call the physician if the pressure is below 90. \
Last winter I did that for a patient with sepsis: we had antibiotics running after 38 minutes.";
pub const POOR: &str = "I would look at the patient and see how it goes. It depends.";

pub fn judge(answer: &str) -> JudgeAnswer {
    JudgeAnswer {
        brief: Brief::default(),
        question: "What do you check first when a patient gets worse?".into(),
        question_type: "TECHNICAL".into(),
        difficulty: Difficulty::Standard,
        expected_keywords: [
            "airway|breathing",
            "pulse|heart rate",
            "blood pressure",
            "call the physician|call the doctor|escalate",
            "consciousness",
        ]
        .map(String::from)
        .to_vec(),
        answer: answer.into(),
        already_followed_up: false,
    }
}

pub fn next(remaining: &[(&str, Difficulty, f64, u32)], wanted: Difficulty) -> NextQuestion {
    let remaining = remaining.iter().map(|&(id, difficulty, weight, order)| RemainingQuestion {
        id: id.into(),
        text: format!("Question {id}?"),
        difficulty,
        weight,
        order,
    });
    NextQuestion {
        brief: Brief::default(),
        remaining: remaining.collect(),
        transcript: vec![Exchange { question: "Hello?".into(), answer: "Hello.".into() }],
        wanted,
        may_invent: false,
    }
}

pub fn answered(id: &str, dimensions: &[&str], answer: &str) -> AnsweredQuestion {
    let judge = judge(answer);
    AnsweredQuestion {
        answer_id: id.into(),
        question: judge.question,
        dimension_keys: dimensions.iter().map(|&d| d.into()).collect(),
        question_type: judge.question_type,
        difficulty: judge.difficulty,
        expected_keywords: judge.expected_keywords,
        answer: judge.answer,
        judged_score: None,
    }
}

pub fn propose() -> ProposeScores {
    let dimension = |key: &str, weight| Dimension {
        key: key.into(),
        label: format!("The {key} of it"),
        weight,
    };
    ProposeScores {
        brief: Brief::default(),
        dimensions: vec![
            dimension("care", 0.5),
            dimension("team", 0.3),
            dimension("law", 0.2),
            dimension("pay", 0.1),
        ],
        answers: vec![
            answered("answ_1", &["care"], GOOD),
            answered("answ_2", &["team", "care"], POOR),
            answered("answ_3", &["law"], "  "),
            answered("answ_4", &[], "An answer to a question that measures nothing."),
        ],
    }
}

pub fn resume() -> ReadResume {
    ReadResume {
        brief: Brief::default(),
        text: "Work experience\nNurse, St. Elsewhere Hospital\nJan 2018 - Dec 2021\nSkills\n\
               Triage, wound care, infection control"
            .into(),
        today: chrono::NaiveDate::from_ymd_opt(2026, 3, 1).unwrap(),
    }
}

/// Runs the whole suite.
pub async fn holds(ai: &dyn Ai) {
    judges_in_range_and_tells_good_from_poor(ai).await;
    gives_nothing_for_nothing(ai).await;
    asks_only_what_can_be_asked(ai).await;
    cites_only_what_was_said_for_that_dimension(ai).await;
    proposes_nothing_without_answers(ai).await;
    reads_a_resume(ai).await;
    says_where_an_answer_comes_from(ai).await;
}

async fn judges_in_range_and_tells_good_from_poor(ai: &dyn Ai) {
    let good = ai.judge_answer(&judge(GOOD)).await.unwrap().value;
    let poor = ai.judge_answer(&judge(POOR)).await.unwrap().value;
    for judged in [&good, &poor] {
        assert!((0.0..=1.0).contains(&judged.completeness));
        assert!((0.0..=100.0).contains(&judged.score));
        assert_eq!(judged.score, (judged.score * 100.0).round() / 100.0, "two decimal places");
        assert!(!judged.feedback.trim().is_empty());
        let n_keywords = judged.matched_keywords.len() + judged.missing_keywords.len();
        assert_eq!(n_keywords, 5, "each expected keyword is either matched or missing");
    }
    assert!(good.score >= 75.0, "{}", good.score);
    assert!(poor.score <= 40.0, "{}", poor.score);
    assert_eq!(good.follow_up, None);
    assert!(poor.follow_up.is_some());
    let again = JudgeAnswer { already_followed_up: true, ..judge(POOR) };
    assert_eq!(ai.judge_answer(&again).await.unwrap().value.follow_up, None);
}

async fn gives_nothing_for_nothing(ai: &dyn Ai) {
    for blank in ["", " \n\t "] {
        let judged = ai.judge_answer(&judge(blank)).await.unwrap().value;
        assert_eq!((judged.score, judged.completeness), (0.0, 0.0));
        assert!(judged.matched_keywords.is_empty());
    }
}

async fn asks_only_what_can_be_asked(ai: &dyn Ai) {
    use Difficulty::{Advanced, Standard, Warmup};
    let questions = [("a", Standard, 1.0, 1), ("b", Standard, 3.0, 2), ("c", Warmup, 9.0, 3)];
    let step = ai.next_question(&next(&questions, Advanced)).await.unwrap().value;
    let NextStep::Job(id) = step else { panic!("an own question that was not allowed: {step:?}") };
    assert!(["a", "b", "c"].contains(&id.as_str()));
    let step = ai.next_question(&next(&[], Standard)).await.unwrap().value;
    assert_eq!(step, NextStep::Close);
}

async fn cites_only_what_was_said_for_that_dimension(ai: &dyn Ai) {
    let request = propose();
    let proposal = ai.propose_scores(&request).await.unwrap().value;
    let keys: Vec<_> = proposal.scores.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(keys, ["care", "team"], "scores stand in the rubric's order");
    assert_eq!(proposal.unscored, ["law", "pay"], "without an answer there is no score");
    for score in &proposal.scores {
        assert!((0.0..=100.0).contains(&score.score));
        assert!((0.0..=1.0).contains(&score.confidence));
        assert!(!score.evidence.is_empty());
        for citation in &score.evidence {
            let answer = request.answers.iter().find(|a| a.answer_id == citation.answer_id);
            let answer = answer.expect("a citation of an answer that exists");
            assert!(answer.dimension_keys.contains(&score.key));
            assert!(is_quoted(&citation.quote, &answer.answer), "{}", citation.quote);
            assert!(!citation.why.trim().is_empty());
        }
    }
    let [care, team] = proposal.scores.as_slice() else { panic!("two scores") };
    let mean = (care.score * 0.5 + team.score * 0.3) / 0.8;
    assert!((proposal.overall.unwrap() - mean).abs() < 0.006);
}

async fn proposes_nothing_without_answers(ai: &dyn Ai) {
    let request = ProposeScores { answers: vec![], ..propose() };
    let proposal = ai.propose_scores(&request).await.unwrap().value;
    assert!(proposal.scores.is_empty());
    assert_eq!(proposal.overall, None);
    assert_eq!(proposal.recommendation, Recommendation::Review);
    assert_eq!(proposal.unscored.len(), 4);
}

async fn reads_a_resume(ai: &dyn Ai) {
    let facts = ai.read_resume(&resume()).await.unwrap().value;
    assert_eq!(facts.skills, ["Triage", "Wound care", "Infection control"]);
    assert_eq!(facts.experience_years, 4.0);
    assert_eq!(facts.previous_roles, ["Nurse, St. Elsewhere Hospital"]);
    assert!(facts.technical_domains.contains_key("Nursing and care"));
}

async fn says_where_an_answer_comes_from(ai: &dyn Ai) {
    fn known<T>(answered: &Answered<T>, version: &str) {
        assert!(!answered.provenance.provider.is_empty());
        assert!(!answered.provenance.model.is_empty());
        assert_eq!(answered.provenance.prompt_version, version);
        assert!(!answered.provenance.fallback);
        assert_eq!(answered.call.request_hash.len(), 64);
        assert_eq!(answered.call.attempt, 1);
        assert!(answered.failed_calls.is_empty());
    }
    let good = ai.judge_answer(&judge(GOOD)).await.unwrap();
    let again = ai.judge_answer(&judge(GOOD)).await.unwrap();
    let poor = ai.judge_answer(&judge(POOR)).await.unwrap();
    known(&good, "judge_answer/1");
    known(&ai.next_question(&next(&[], Difficulty::Warmup)).await.unwrap(), "next_question/1");
    known(&ai.propose_scores(&propose()).await.unwrap(), "propose_scores/1");
    known(&ai.read_resume(&resume()).await.unwrap(), "read_resume/1");
    assert_eq!(good.value, again.value);
    assert_eq!(good.call.request_hash, again.call.request_hash);
    assert_ne!(good.call.request_hash, poor.call.request_hash);
}
