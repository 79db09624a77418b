//! What comes next in a talk led by AI: which difficulty to ask in, when to go up, when to close.
//! Pure: everything it rests on is an argument.
//!
//! Three levels, each with a least and a most number of questions (LIV-11): warm-up 2 to 3, standard
//! 5 to 8, advanced 3 to 5; the job's conversation sets the most, and with it the least where the
//! most is smaller. Only base questions count; follow-ups are part of their question, and the better
//! of both scores is the question's.
//! - A level is left early, after its least, when the answers in it were good on average.
//! - It is left at the latest after its most, or when the job has no question of it left.
//! - Standard is not left upwards when its answers were poor on average: the boundary is reached.
//! - Advanced goes on until two judged answers in a row were poor, or the average is poor after the
//!   least: the boundary is reached as well.
//!
//! An answer that was never judged counts as asked and says nothing about quality.

use domain::interview::CompletionReason;
use domain::job::{Conversation, Difficulty};

/// From this average on, a level may be left early.
pub const GOOD_FROM: f64 = 60.0;
/// Below this score an answer is poor.
pub const POOR_BELOW: f64 = 40.0;
/// Below this completeness an answer is asked back on, where the judge gave a question for it.
pub const FOLLOW_UP_BELOW: f64 = 0.6;

/// A base question that was asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// How hard it was.
    pub difficulty: Difficulty,
    /// Its score, 0 to 100, if it was judged: the better one of its answer and its follow-up's.
    pub score: Option<f64>,
}

/// How many of the job's questions of each difficulty were not asked yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Warm-up questions.
    pub n_warmup: usize,
    /// Standard questions.
    pub n_standard: usize,
    /// Advanced questions.
    pub n_advanced: usize,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask a question of this difficulty, which is the present one.
    Ask(Difficulty),
    /// Go up to this difficulty first.
    GoUp(Difficulty),
    /// End the talk.
    Close(CompletionReason),
}

/// What comes next when the talk stands at `level` and no question is open.
#[must_use]
pub fn next(level: Difficulty, asked: &[Asked], conversation: &Conversation, pool: Pool) -> Step {
    let here = Level::new(level, asked, conversation, pool);
    let above = [Difficulty::Standard, Difficulty::Advanced]
        .into_iter()
        .filter(|higher| *higher > level)
        .find(|higher| Level::new(*higher, asked, conversation, pool).can_ask());
    if level == Difficulty::Advanced && here.struggles() {
        return Step::Close(CompletionReason::BoundaryReached);
    }
    match above {
        // Good enough to go up before the most is asked.
        Some(higher) if here.n_asked >= here.least && here.is_good() => Step::GoUp(higher),
        _ if here.can_ask() => Step::Ask(level),
        Some(_) if level == Difficulty::Standard && here.is_poor() => {
            Step::Close(CompletionReason::BoundaryReached)
        }
        Some(higher) => Step::GoUp(higher),
        None => Step::Close(CompletionReason::AllAsked),
    }
}

/// One level so far.
struct Level {
    n_asked: usize,
    least: usize,
    most: usize,
    n_left: usize,
    /// Scores of its judged questions, in order.
    scores: Vec<f64>,
}

impl Level {
    fn new(
        difficulty: Difficulty,
        asked: &[Asked],
        conversation: &Conversation,
        pool: Pool,
    ) -> Self {
        let (least, most, n_left) = match difficulty {
            Difficulty::Warmup => (2, conversation.n_warmup, pool.n_warmup),
            Difficulty::Standard => (5, conversation.n_standard, pool.n_standard),
            Difficulty::Advanced => (3, conversation.n_advanced, pool.n_advanced),
        };
        let most = usize::from(most);
        let of_it = || asked.iter().filter(|asked| asked.difficulty == difficulty);
        Self {
            n_asked: of_it().count(),
            least: most.min(least),
            most,
            n_left,
            scores: of_it().filter_map(|asked| asked.score).collect(),
        }
    }

    fn can_ask(&self) -> bool {
        self.n_asked < self.most && self.n_left > 0
    }

    fn average(&self) -> Option<f64> {
        let n = self.scores.len();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a talk has at most some dozens of questions"
        )]
        (n > 0).then(|| self.scores.iter().sum::<f64>() / n as f64)
    }

    fn is_good(&self) -> bool {
        self.average().is_some_and(|average| average >= GOOD_FROM)
    }

    fn is_poor(&self) -> bool {
        self.average().is_some_and(|average| average < POOR_BELOW)
    }

    fn struggles(&self) -> bool {
        let two_poor = matches!(self.scores[..], [.., a, b] if a < POOR_BELOW && b < POOR_BELOW);
        two_poor || (self.n_asked >= self.least && self.is_poor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CompletionReason::{AllAsked, BoundaryReached};
    use Difficulty::{Advanced, Standard, Warmup};
    use Step::{Ask, Close, GoUp};

    const FULL: Pool = Pool { n_warmup: 9, n_standard: 9, n_advanced: 9 };

    fn asked(difficulty: Difficulty, scores: &[f64]) -> Vec<Asked> {
        scores.iter().map(|score| Asked { difficulty, score: Some(*score) }).collect()
    }

    #[track_caller]
    fn check(level: Difficulty, scores: &[f64], pool: Pool, expected: Step) {
        let step = next(level, &asked(level, scores), &Conversation::default(), pool);
        assert_eq!(step, expected, "{level:?} {scores:?} {pool:?}");
    }

    #[test]
    fn a_level_has_its_least_and_its_most() {
        for (level, scores, expected) in [
            (Warmup, vec![], Ask(Warmup)),
            (Warmup, vec![95.0], Ask(Warmup)),
            (Warmup, vec![95.0; 2], GoUp(Standard)),
            (Warmup, vec![50.0; 2], Ask(Warmup)),
            (Warmup, vec![50.0; 3], GoUp(Standard)),
            (Warmup, vec![0.0; 3], GoUp(Standard)),
            (Standard, vec![60.0; 4], Ask(Standard)),
            (Standard, vec![60.0; 5], GoUp(Advanced)),
            (Standard, vec![59.9; 5], Ask(Standard)),
            (Standard, vec![59.9; 7], Ask(Standard)),
            (Standard, vec![59.9; 8], GoUp(Advanced)),
            (Standard, vec![40.0; 8], GoUp(Advanced)),
            (Advanced, vec![90.0; 3], Ask(Advanced)),
            (Advanced, vec![90.0; 4], Ask(Advanced)),
            (Advanced, vec![90.0; 5], Close(AllAsked)),
        ] {
            check(level, &scores, FULL, expected);
        }
    }

    #[test]
    fn who_struggles_is_not_led_further_up() {
        for (level, scores, expected) in [
            (Standard, vec![0.0; 7], Ask(Standard)),
            (Standard, vec![39.9; 8], Close(BoundaryReached)),
            (Advanced, vec![90.0, 39.0, 39.0], Close(BoundaryReached)),
            (Advanced, vec![39.0, 39.0], Close(BoundaryReached)),
            (Advanced, vec![39.0, 90.0, 39.0], Ask(Advanced)),
            (Advanced, vec![30.0, 45.0, 30.0], Close(BoundaryReached)),
            (Advanced, vec![39.0], Ask(Advanced)),
        ] {
            check(level, &scores, FULL, expected);
        }
    }

    #[test]
    fn an_exhausted_level_gives_way_to_the_next_that_has_questions() {
        let pool = |n_warmup, n_standard, n_advanced| Pool { n_warmup, n_standard, n_advanced };
        for (level, scores, pool, expected) in [
            (Warmup, vec![], pool(0, 1, 1), GoUp(Standard)),
            (Warmup, vec![], pool(0, 0, 1), GoUp(Advanced)),
            (Warmup, vec![], pool(0, 0, 0), Close(AllAsked)),
            (Warmup, vec![95.0; 2], pool(1, 0, 0), Ask(Warmup)),
            (Standard, vec![95.0; 2], pool(5, 0, 2), GoUp(Advanced)),
            (Standard, vec![10.0; 2], pool(5, 0, 2), Close(BoundaryReached)),
            // Nothing is withheld where nothing is left.
            (Standard, vec![10.0; 2], pool(5, 0, 0), Close(AllAsked)),
            (Standard, vec![95.0; 6], pool(5, 3, 0), Ask(Standard)),
            (Advanced, vec![95.0], pool(5, 5, 0), Close(AllAsked)),
        ] {
            check(level, &scores, pool, expected);
        }
    }

    #[test]
    fn the_job_sets_the_most_and_with_it_the_least() {
        let conversation =
            Conversation { n_warmup: 0, n_standard: 2, n_advanced: 1, ..Conversation::default() };
        let step = |level, asked: &[Asked]| next(level, asked, &conversation, FULL);
        assert_eq!(step(Warmup, &[]), GoUp(Standard));
        assert_eq!(step(Standard, &asked(Standard, &[90.0])), Ask(Standard));
        assert_eq!(step(Standard, &asked(Standard, &[90.0; 2])), GoUp(Advanced));
        assert_eq!(step(Advanced, &asked(Advanced, &[90.0])), Close(AllAsked));
    }

    #[test]
    fn what_was_never_judged_says_nothing_about_quality() {
        let unjudged = |n| vec![Asked { difficulty: Standard, score: None }; n];
        let conversation = Conversation::default();
        assert_eq!(next(Standard, &unjudged(7), &conversation, FULL), Ask(Standard));
        assert_eq!(next(Standard, &unjudged(8), &conversation, FULL), GoUp(Advanced));
        let mut advanced = asked(Advanced, &[39.0]);
        advanced.push(Asked { difficulty: Advanced, score: None });
        assert_eq!(next(Advanced, &advanced, &conversation, FULL), Ask(Advanced));
    }

    #[test]
    fn every_talk_ends() {
        for score in [0.0, 39.0, 50.0, 80.0] {
            let mut level = Warmup;
            let mut talk = vec![];
            let mut pool = FULL;
            let reason = loop {
                match next(level, &talk, &Conversation::default(), pool) {
                    Ask(difficulty) => {
                        assert_eq!(difficulty, level);
                        talk.push(Asked { difficulty, score: Some(score) });
                        match difficulty {
                            Warmup => pool.n_warmup -= 1,
                            Standard => pool.n_standard -= 1,
                            Advanced => pool.n_advanced -= 1,
                        }
                    }
                    GoUp(higher) => {
                        assert!(higher > level);
                        level = higher;
                    }
                    Close(reason) => break reason,
                }
            };
            let expected = if score < POOR_BELOW { BoundaryReached } else { AllAsked };
            assert_eq!(reason, expected, "{score}");
            assert!((10..=16).contains(&talk.len()), "{score}: {} questions", talk.len());
        }
    }
}
