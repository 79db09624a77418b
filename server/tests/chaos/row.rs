//! One row: a fault and what must hold after it.

use std::any::Any;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// How long faults last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As part of all tests.
    Short,
    /// As `make chaos`.
    Whole,
}

impl Length {
    /// The one or the other.
    pub fn of<T>(self, short: T, whole: T) -> T {
        match self {
            Self::Short => short,
            Self::Whole => whole,
        }
    }
}

/// Answers the proof that the fault happened; panics where something does not hold.
pub type Played = Pin<Box<dyn Future<Output = String>>>;

/// One fault.
#[derive(Clone, Copy)]
pub struct Row {
    /// Such as `A1`.
    pub name: &'static str,
    /// What is done.
    pub fault: &'static str,
    /// Whether it is played as part of all tests.
    pub is_short: bool,
    pub body: fn(Length) -> Played,
}

/// No row takes longer.
const LIMIT: Duration = Duration::from_secs(900);

impl Row {
    /// Plays it and prints a line; whether all held.
    pub fn play(&self, length: Length) -> bool {
        let began_at = Instant::now();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let outcome = std::panic::catch_unwind(|| {
            runtime.block_on(async { tokio::time::timeout(LIMIT, (self.body)(length)).await })
        });
        runtime.shutdown_timeout(Duration::from_secs(10));
        let seconds = began_at.elapsed().as_secs_f64();
        let (name, fault) = (self.name, self.fault);
        let why = match outcome {
            Ok(Ok(proof)) => {
                println!("{name:<3} ok      {seconds:6.1} s  {fault}: {proof}");
                return true;
            }
            Ok(Err(_)) => format!("not over within {LIMIT:?}"),
            Err(panic) => said(&*panic),
        };
        println!("{name:<3} FAILED  {seconds:6.1} s  {fault}: {why}");
        false
    }
}

/// What a panic said: told again at the end, behind all that the processes had logged.
fn said(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    let said = panic.downcast_ref::<String>().cloned().or(literal);
    said.unwrap_or_else(|| "something does not hold, see above".to_owned())
}
