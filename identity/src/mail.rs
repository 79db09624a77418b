//! Mail on its way out: a row in the transaction that wants it sent, then a message. The row holds no
//! token, only what the token derives from, and is gone once the message is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use commands::{Bus, new_id};
use domain::spelled;
use domain::values::Spelled;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, Row};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::wall::{About, Wall};
use crate::{IdentityError, tokens};

/// Between two looks for mail that is due.
const PAUSE: Duration = Duration::from_millis(500);
/// A message that is not sent within this time is another process's to send.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// After so many tries a message is given up: a day and a half, as the pauses grow.
const MAX_TRIES: i32 = 30;
/// Longest pause between two tries.
const MAX_PAUSE: TimeDelta = TimeDelta::hours(2);

/// A message, ready to be sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Address of the one recipient.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// Plain text; it holds the token.
    pub text: SecretString,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// Trying again helps.
    #[error("mail cannot be sent at present")]
    Unavailable,
    /// This message will never be taken.
    #[error("the message was refused")]
    Refused,
}

/// Sends messages.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one.
    ///
    /// # Errors
    /// See [`MailError`].
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

spelled! {
    /// What a message is for.
    Letter {
        /// To join a company.
        Invitation = "INVITATION",
        /// To register as a candidate.
        CandidateRegistration = "CANDIDATE_REGISTRATION",
        /// To show that an address is one's own.
        Verification = "VERIFICATION",
        /// To set a new password.
        PasswordReset = "PASSWORD_RESET",
        /// To tell that a company was turned away.
        CompanyRejected = "COMPANY_REJECTED",
        /// To tell that a second proof was set up.
        SecondFactorEnrolled = "SECOND_FACTOR_ENROLLED",
        /// To tell that the second proof was taken away.
        SecondFactorTakenAway = "SECOND_FACTOR_TAKEN_AWAY",
    }
}

/// What a letter says that brings a token.
struct Bringing {
    /// What the token is derived for.
    purpose: &'static str,
    /// Path of the frontend's page that takes the token.
    path: &'static str,
    /// How long the token is good.
    life: &'static str,
}

impl Letter {
    fn bringing(self) -> Option<Bringing> {
        let (purpose, path, life) = match self {
            Self::Invitation => ("mailed-invitation", "accept-invitation", "seven days"),
            Self::CandidateRegistration => {
                ("candidate-registration", "confirm-candidate-account", "24 hours")
            }
            Self::Verification => ("verification", "verify-email", "24 hours"),
            Self::PasswordReset => ("password-reset", "reset-password", "one hour"),
            Self::CompanyRejected | Self::SecondFactorEnrolled | Self::SecondFactorTakenAway => {
                return None;
            }
        };
        Some(Bringing { purpose, path, life })
    }

    /// Its subject, and what it tells.
    fn tells(self) -> (&'static str, &'static str) {
        match self {
            Self::Invitation => {
                ("Your invitation", "You are invited to join a company on Colloquy.")
            }
            Self::CandidateRegistration => (
                "Please confirm your registration",
                "Somebody, hopefully you, registered as a candidate with this address. If it was not \
                 you, nothing needs to be done. If it was, please confirm it with the password that \
                 you chose, or with the one of your login if you have one already.",
            ),
            Self::Verification => {
                ("Please confirm your address", "Please confirm your e-mail address.")
            }
            Self::PasswordReset => (
                "A new password",
                "Somebody, hopefully you, asked for a new password. If it was not you, nothing needs \
                 to be done.",
            ),
            Self::CompanyRejected => (
                "Your request",
                "You asked for your company to be let in to Colloquy. This was not granted.",
            ),
            Self::SecondFactorEnrolled => (
                "A second proof was set up",
                "From now on, signing in to your login asks for a code besides the password. If it \
                 was not you who set this up, somebody else knows your password: set a new one, and \
                 tell your company.",
            ),
            Self::SecondFactorTakenAway => (
                "Your second proof was taken away",
                "Somebody who looks after the people of your company has taken the second proof of \
                 your login away, so that the password alone lets you in. All your sessions were \
                 ended. Please sign in and set up a new second proof. If you did not ask for this, \
                 change your password and tell your company.",
            ),
        }
    }

    fn compose(self, to: String, token: &SecretString, note: Option<&str>, app_url: &str) -> Mail {
        let (subject, tells) = self.tells();
        let mut text = format!("{tells}\n");
        if let Some(note) = note {
            text.push_str(&format!("\n{note}\n"));
        }
        if let Some(Bringing { path, life, .. }) = self.bringing() {
            let token = token.expose_secret();
            let how = match app_url.trim_end_matches('/') {
                "" => format!("Use this token:\n\n{token}"),
                // Behind the #, it is in no server's log.
                url => format!("Open this page:\n\n{url}/{path}#token={token}"),
            };
            text.push_str(&format!("\n{how}\n\nIt is good for {life}, once.\n"));
        }
        Mail { to, subject: subject.to_owned(), text: text.into() }
    }
}

/// The token of a letter: derived, so that it need not lie anywhere until it is sent.
pub(crate) fn token(bus: &Bus, letter: Letter, mail_id: Uuid) -> SecretString {
    let purpose = letter.bringing().map_or("none", |bringing| bringing.purpose);
    tokens::opaque(bus, purpose, mail_id.as_bytes())
}

/// Orders a letter, in the transaction that wants it sent. A repeat under the same id is one letter.
pub(crate) async fn order(
    tx: &mut PgConnection,
    bus: &Bus,
    letter: Letter,
    mail_id: Uuid,
    to: &str,
) -> Result<(), IdentityError> {
    order_with(tx, bus, letter, mail_id, to, None).await
}

/// The same, of a letter that says something of its own besides.
pub(crate) async fn order_with(
    tx: &mut PgConnection,
    bus: &Bus,
    letter: Letter,
    mail_id: Uuid,
    to: &str,
    note: Option<&str>,
) -> Result<(), IdentityError> {
    sqlx::query(
        "insert into identity.mail (mail_id, letter, email, due_at, note)
         values ($1, $2, $3, $4, $5) on conflict do nothing",
    )
    .bind(mail_id)
    .bind(letter.as_str())
    .bind(to)
    .bind(bus.now())
    .bind(note)
    .execute(tx)
    .await?;
    Ok(())
}

/// A new id of a letter.
pub(crate) fn letter_id(bus: &Bus) -> Uuid {
    new_id(bus.clock())
}

/// What sends letters.
#[derive(Clone)]
pub struct PostOffice {
    /// Where they are ordered.
    pub wall: Wall,
    /// Derives their tokens, and knows the time.
    pub bus: Arc<Bus>,
    /// How they go out.
    pub mailer: Arc<dyn Mailer>,
    /// The frontend's address, which links begin with; empty shows the token alone.
    pub app_url: String,
}

impl PostOffice {
    /// Sends letters until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            match self.send_one().await {
                Ok(true) if !stop.is_cancelled() => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "mail waits"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Sends the letter that is due longest; `false` if none is. Nobody else sends it meanwhile;
    /// whoever dies between sending and saying so leaves it to be sent again.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn send_one(&self) -> Result<bool, IdentityError> {
        let now = self.bus.now();
        let row = sqlx::query(
            "update identity.mail set n_tries = n_tries + 1, due_at = $2
              where mail_id = (select mail_id from identity.mail where due_at <= $1
                                order by due_at limit 1 for update skip locked)
              returning mail_id, letter, email, n_tries, note",
        )
        .bind(now)
        .bind(now + LEASE)
        .fetch_optional(&mut *self.wall.of(About::platform()).await?)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let mail_id: Uuid = row.try_get("mail_id")?;
        let n_tries: i32 = row.try_get("n_tries")?;
        let letter: String = row.try_get("letter")?;
        let outcome = match Letter::parse(&letter) {
            Some(letter) => {
                let token = token(&self.bus, letter, mail_id);
                let note: Option<String> = row.try_get("note")?;
                let to = row.try_get("email")?;
                let mail = letter.compose(to, &token, note.as_deref(), &self.app_url);
                self.mailer.send(&mail).await
            }
            // One of a newer program, which sends it.
            None => Err(MailError::Unavailable),
        };
        let outcome = match outcome {
            Err(MailError::Unavailable) if n_tries >= MAX_TRIES => Err(MailError::Refused),
            outcome => outcome,
        };
        let told = match outcome {
            Ok(()) => "sent",
            Err(MailError::Unavailable) => "put off",
            Err(MailError::Refused) => "given up",
        };
        metrics::counter!("colloquy_mail_total", "outcome" => told).increment(1);
        if outcome == Err(MailError::Unavailable) {
            tracing::warn!(mail.id = %mail_id, n_tries, "a letter could not be sent");
            let pause = TimeDelta::seconds(5 << n_tries.clamp(0, 12)).min(MAX_PAUSE);
            sqlx::query("update identity.mail set due_at = $2 where mail_id = $1")
                .bind(mail_id)
                .bind(self.bus.now() + pause)
                .execute(&mut *self.wall.of(About::platform()).await?)
                .await?;
            return Ok(true);
        }
        if outcome.is_err() {
            tracing::error!(mail.id = %mail_id, letter, "a letter is given up");
        }
        sqlx::query("delete from identity.mail where mail_id = $1")
            .bind(mail_id)
            .execute(&mut *self.wall.of(About::platform()).await?)
            .await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_links_to_the_frontend_or_shows_the_token() {
        let token = SecretString::from("t-1_");
        let of = |url| Letter::PasswordReset.compose("a@b.example".into(), &token, None, url);
        let with_link = of("https://app.example.com/");
        let text = with_link.text.expose_secret();
        assert!(text.contains("https://app.example.com/reset-password#token=t-1_\n"), "{text}");
        assert!(of("").text.expose_secret().contains("\nt-1_\n"));
    }

    #[test]
    fn a_letter_that_only_tells_something_brings_no_token() {
        let token = SecretString::from("t-1_");
        let to = "a@b.example".to_owned();
        let letter = Letter::CompanyRejected.compose(to, &token, Some("No such company."), "");
        let text = letter.text.expose_secret();
        assert!(text.contains("\nNo such company.\n") && !text.contains("t-1_"), "{text}");
    }
}
