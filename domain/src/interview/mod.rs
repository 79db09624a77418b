//! An interview round: its status, who takes part, the candidate's consent, and the conversation in
//! order. It protects the transition table, one open question at a time, the first accepted answer,
//! and that no machine asks or judges without consent.

mod command;
mod decide;
mod event;
mod refusal;
mod state;

pub use command::{Ask, Command, Party, PlanRound};
pub use event::{
    AskedBy, CompletionReason, ConsentPurpose, Event, Judgement, Mode, QuestionText, Round,
    RoundType,
};
pub use refusal::Refusal;
pub use state::{Access, AnswerState, Interview, QuestionState, Status};
