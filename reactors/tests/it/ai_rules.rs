//! The built-in rules: what they reward, what they see through, and that they never vary.

use std::collections::HashMap;
use std::path::Path;

use reactors::ai::rules::RulesAi;
use reactors::ai::{
    Ai, Brief, Difficulty, JudgeAnswer, Judgement, NextQuestion, NextStep, ProposeScores,
    Recommendation,
};
use serde::Deserialize;

use crate::ai_contract::{self, GOOD, POOR, answered, judge, next, propose};

async fn judged(request: &JudgeAnswer) -> Judgement {
    RulesAi.judge_answer(request).await.unwrap().value
}

fn asked(question: &str, keywords: &[&str], answer: &str) -> JudgeAnswer {
    JudgeAnswer {
        question: question.into(),
        expected_keywords: keywords.iter().map(|&k| k.into()).collect(),
        ..judge(answer)
    }
}

#[tokio::test]
async fn the_rules_hold_the_contract() {
    ai_contract::holds(&RulesAi).await;
}

#[tokio::test]
async fn the_rules_say_that_they_are_rules() {
    let answered = RulesAi.propose_scores(&propose()).await.unwrap();
    assert_eq!(answered.provenance.provider, "rules");
    assert_eq!(answered.provenance.model, "colloquy-rules-1");
    assert_eq!(answered.call.usage.cost_micro_usd, 0);
    assert!(answered.value.summary.contains("fixed rules"));
    assert!(answered.value.scores.iter().all(|s| s.confidence < 0.8));
}

/// A question, its keywords, a good answer and a poor one, in professions and languages.
const PAIRS: [(&str, &[&str], &str, &str); 4] = [
    (
        "A motor does not start. What do you do?",
        &[
            "lockout|lock out",
            "multimeter|meter",
            "overload|relay",
            "fuse|breaker",
            "wiring diagram|schematic",
        ],
        "I lock out the panel first and test that it is dead. Then I measure with a multimeter on \
         both sides of the breaker and look at the overload relay, which trips in most cases. Last \
         month I followed the wiring diagram to a loose terminal in a junction box; it took 25 minutes.",
        "I would press the button again and then call somebody who knows it.",
    ),
    (
        "Wie schließen Sie einen Monat ab?",
        &["Abstimmung|abstimmen", "Rückstellung", "Abgrenzung", "Bank", "Prüfung"],
        "Zuerst stimme ich die Bank und die Nebenbücher ab. Danach buche ich Rückstellungen und \
         Abgrenzungen, für die ich eine Liste mit 40 Posten führe. Die Abstimmung der Konten prüft \
         eine zweite Person, und ich dokumentiere jede Abweichung. So sind wir von zehn auf fünf \
         Arbeitstage gekommen.",
        "Ich drücke am Ende des Monats auf den Knopf im Programm.",
    ),
    (
        "Как вы готовите урок?",
        &["цель", "план", "задание", "проверка"],
        "Сначала я формулирую цель урока и пишу план на 45 минут. Потом я подбираю задания трёх \
         уровней, чтобы сильные ученики не скучали. В конце провожу короткую проверку из пяти \
         вопросов. В прошлом году средний балл моего класса вырос на 12 процентов, потому что я \
         меняла план после каждой проверки.",
        "Открываю учебник и читаю вслух.",
    ),
    (
        "如何保证数据一致性？",
        &["事务", "幂等", "唯一约束", "重试"],
        "我会先把写操作放进一个事务，这样要么全部成功，要么全部回滚。客户端带上幂等键，服务器用唯一约束保存它，\
         重复请求只会得到第一次的结果。去年我们的重试风暴产生了300个重复订单，我加上这个约束以后再也没有发生。\
         最后我们每天晚上对账，检查两边的数据是否相同。",
        "一般没有问题。",
    ),
];

#[tokio::test]
async fn a_good_answer_and_a_poor_one_lie_far_apart() {
    for (question, keywords, good, poor) in PAIRS {
        let good = judged(&asked(question, keywords, good)).await;
        let poor = judged(&asked(question, keywords, poor)).await;
        assert!(good.score >= 75.0, "{question} {good:?}");
        assert!(good.completeness >= 0.6, "{question} {good:?}");
        assert!(poor.score <= 40.0, "{question} {poor:?}");
        assert!(poor.follow_up.is_some(), "{question}");
    }
}

#[tokio::test]
async fn padding_is_seen_through() {
    for padded in [
        "airway, breathing, pulse, heart rate, blood pressure, escalate, consciousness",
        "Airway. Pulse. Blood pressure. Escalate. Consciousness.",
        "- airway\n- pulse\n- blood pressure\n- call the physician\n- consciousness",
        "airway pulse blood pressure escalate consciousness airway pulse blood pressure escalate \
         consciousness airway pulse blood pressure escalate consciousness airway pulse",
        "What do you check first when a patient gets worse? What you check first when a patient \
         gets worse, what do you check.",
        "Airway pulse, blood pressure, escalate consciousness, airway breathing pulse, heart rate, \
         escalate.",
    ] {
        let judged = judged(&judge(padded)).await;
        assert!(judged.score <= 40.0, "{padded} {judged:?}");
    }
}

#[tokio::test]
async fn saying_much_beside_the_question_does_not_help() {
    let beside = "I really love my work. On Sundays we go hiking, and in 2019 we walked 300 \
        kilometres. My team says that I am always in a good mood, and I think that matters more \
        than anything else, because people notice it. I bring cake every Friday to our office. \
        Then we talk about football and the weather for an hour or so.";
    let judged = judged(&judge(beside)).await;
    assert!(judged.score <= 40.0, "{judged:?}");
}

#[tokio::test]
async fn without_keywords_only_form_is_measured() {
    let long = judged(&asked("Tell me about you.", &[], GOOD)).await;
    let short = judged(&asked("Tell me about you.", &[], "I am fine.")).await;
    assert!(long.score >= 75.0 && long.score <= 90.0, "{long:?}");
    assert!(short.score <= 40.0, "{short:?}");
    assert!(long.feedback.contains("only form"));
}

#[tokio::test]
async fn a_synonym_counts_as_the_keyword_it_stands_in() {
    let judged = judged(&judge("I measured the HEART RATE.")).await;
    assert_eq!(judged.matched_keywords, ["pulse|heart rate"]);
}

#[tokio::test]
async fn the_follow_up_speaks_the_language_of_the_job() {
    for (language, start) in [("de-AT", "Können"), ("fr", "Pouvez"), ("ja", "Could")] {
        let brief = Brief { language: Some(language.into()), ..Brief::default() };
        let judged = judged(&JudgeAnswer { brief, ..judge(POOR) }).await;
        assert!(judged.follow_up.unwrap().starts_with(start));
    }
}

#[tokio::test]
async fn the_next_question_is_of_the_wanted_difficulty_then_weight_then_order() {
    use Difficulty::{Advanced, Standard, Warmup};
    let questions = [
        ("w", Warmup, 9.0, 1),
        ("s1", Standard, 1.0, 2),
        ("s3", Standard, 3.0, 4),
        ("s2", Standard, 3.0, 3),
        ("a", Advanced, 9.0, 5),
    ];
    let mut request = next(&questions, Standard);
    let mut asked = Vec::new();
    while let NextStep::Job(id) = RulesAi.next_question(&request).await.unwrap().value {
        request.remaining.retain(|q| q.id != id);
        asked.push(id);
    }
    assert_eq!(asked, ["s2", "s3", "s1", "w", "a"], "then the nearest, the easier one first");
    let inventive = NextQuestion { may_invent: true, ..request };
    let step = RulesAi.next_question(&inventive).await.unwrap().value;
    assert_eq!(step, NextStep::Close, "rules never invent a question");
}

#[tokio::test]
async fn what_is_advised_follows_from_the_scores() {
    let of = |answer: &str| {
        let mut request = propose();
        request.dimensions.truncate(2);
        request.answers = vec![answered("answ_1", &["care", "team"], answer)];
        request
    };
    for (request, advice) in [
        (of(GOOD), Recommendation::Pass),
        (of(POOR), Recommendation::Fail),
        (propose(), Recommendation::Review),
    ] {
        let proposal = RulesAi.propose_scores(&request).await.unwrap().value;
        assert_eq!(proposal.recommendation, advice, "{proposal:?}");
    }
}

#[tokio::test]
async fn a_score_that_was_judged_before_is_kept() {
    let mut request = propose();
    request.answers[0].judged_score = Some(12.34);
    request.answers[1].dimension_keys = vec!["team".into()];
    let proposal = RulesAi.propose_scores(&request).await.unwrap().value;
    assert_eq!(proposal.scores[0].score, 12.34);
}

// --- the interviews that ship as examples

#[derive(Deserialize)]
struct Job {
    rubric: Vec<reactors::ai::Dimension>,
    questions: Vec<JobQuestion>,
}

#[derive(Deserialize)]
struct JobQuestion {
    id: String,
    text: String,
    r#type: String,
    difficulty: String,
    dimensions: Vec<String>,
    expected_keywords: Vec<String>,
}

#[derive(Deserialize)]
struct Interview {
    answers: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    question: String,
    text: String,
    follow_up: Option<String>,
}

fn example(path: &str) -> String {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::fs::read_to_string(examples.join(path)).unwrap()
}

fn interview(job: &str, quality: &str) -> ProposeScores {
    let page = example(&format!("jobs/{job}.md"));
    let job_facts: Job = toml::from_str(page.split("+++").nth(1).unwrap()).unwrap();
    let talk = example(&format!("interviews/{job}.{quality}.toml"));
    let talk: Interview = toml::from_str(&talk).unwrap();
    let questions: HashMap<_, _> = job_facts.questions.iter().map(|q| (&q.id, q)).collect();
    let answers = talk.answers.into_iter().map(|said| {
        let question = questions[&said.question];
        reactors::ai::AnsweredQuestion {
            answer_id: format!("answ_{}", said.question),
            question: question.text.clone(),
            dimension_keys: question.dimensions.clone(),
            question_type: question.r#type.clone(),
            difficulty: serde_json::from_value(question.difficulty.to_lowercase().into()).unwrap(),
            expected_keywords: question.expected_keywords.clone(),
            answer: format!("{} {}", said.text, said.follow_up.unwrap_or_default()),
            judged_score: None,
        }
    });
    ProposeScores {
        brief: Brief::default(),
        dimensions: job_facts.rubric.clone(),
        answers: answers.collect(),
    }
}

#[tokio::test]
async fn the_example_interviews_are_told_apart() {
    for job in ["senior-backend-engineer", "intensive-care-nurse"] {
        let good = RulesAi.propose_scores(&interview(job, "good")).await.unwrap().value;
        let poor = RulesAi.propose_scores(&interview(job, "poor")).await.unwrap().value;
        assert_eq!(good.recommendation, Recommendation::Pass, "{job} {}", good.summary);
        assert_eq!(poor.recommendation, Recommendation::Fail, "{job} {}", poor.summary);
        assert!(good.scores.iter().all(|s| s.score >= 75.0), "{job} {:?}", good.scores);
        assert!(poor.scores.iter().all(|s| s.score <= 40.0), "{job} {:?}", poor.scores);
    }
}
