//! Sessions of people with a login: opened when they come in, prolonged by a refresh token that is
//! good for one use, ended by them or when a token comes a second time.

use chrono::{DateTime, Utc};
use commands::{Order, new_id};
use domain::account::{Event, RevocationReason, SignInMethod};
use domain::caller::{Actor, Caller};
use domain::company::{self, Company};
use domain::ids::{AccountId, CompanyId, MemberId};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::invitations::token_hash;
use crate::session::Proved;
use crate::wall::{About, about_account};
use crate::{Identity, IdentityError, RefreshToken, Session, outbox, tokens};

/// A used token answers its successor again for so long, as long as that one is unused: to a client
/// whose answer was lost, and to two pages that ask at once. An interval of the database, whose clock
/// is one for all servers.
const LOST_ANSWER: &str = "10 seconds";
/// Most characters that are kept of what a client calls itself.
const MAX_DEVICE_CHARS: usize = 200;

/// Where somebody wants to enter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The company joined last; without one, the platform; else the company registered at last.
    #[default]
    Any,
    /// This company: as its member, else as somebody who runs the platform, else as its candidate.
    Company(CompanyId),
    /// No company: for who runs the platform.
    Platform,
}

/// How somebody comes in.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// Where to.
    pub place: Place,
    /// What the client calls itself, shown in the list of sessions.
    pub device: Option<String>,
}

/// An open session, as its holder is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Its id, which its access tokens name.
    pub session_id: Uuid,
    /// The company entered; `None` is the platform.
    pub company: Option<CompanyId>,
    /// What the client called itself.
    pub device: Option<String>,
    /// When it began, UTC.
    pub created_at: DateTime<Utc>,
    /// When it was last prolonged, UTC.
    pub last_used_at: DateTime<Utc>,
    /// When it ends unless it is prolonged, UTC.
    pub expires_at: DateTime<Utc>,
}

/// By what a session was opened, which stays as it was however it is prolonged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Opened {
    /// A company's provider vouches for the holder, and for nobody elsewhere.
    is_bound: bool,
    /// The holder gave two proofs. That a second one was set up since says nothing of who came in.
    is_by_two_proofs: bool,
}

impl Opened {
    fn by(method: SignInMethod) -> Self {
        let two = [SignInMethod::PasswordAndCode, SignInMethod::PasswordAndRecoveryCode];
        Self { is_bound: method == SignInMethod::SignOn, is_by_two_proofs: two.contains(&method) }
    }
}

/// A refresh token as its row has it.
struct Presented {
    session_id: Uuid,
    account: AccountId,
    company: Option<CompanyId>,
    is_used: bool,
    is_just_used: bool,
    expires_at: DateTime<Utc>,
    has_ended: bool,
    opened: Opened,
}

impl Identity {
    /// Opens a session for an account whose holder has proved who they are: by its password, or to a
    /// company's provider.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] when the account is nobody there, and when it has another
    /// password meanwhile; [`IdentityError::SecondFactorMissing`].
    pub(crate) async fn open_session(
        &self,
        account: AccountId,
        proved: Option<Proved>,
        method: SignInMethod,
        entrance: &Entrance,
    ) -> Result<Session, IdentityError> {
        let opened = Opened::by(method);
        let caller = self.holder(account, entrance.place, opened).await?;
        let (now, session_id) = (self.bus.now(), new_id(self.bus.clock()));
        self.tell_company(&caller, session_id).await?;
        let device = entrance.device.as_ref().map(|device| {
            device.chars().filter(|c| !c.is_control()).take(MAX_DEVICE_CHARS).collect::<String>()
        });
        let mut tx = self.wall.begin(About::account(account)).await?;
        if let Some(proved) = proved {
            proved.hold(&mut tx).await?;
        }
        sqlx::query("delete from identity.session where account_id = $1 and expires_at <= $2")
            .bind(account.0)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "insert into identity.session
               (session_id, account_id, company_id, device, created_at, last_used_at, expires_at,
                is_bound, is_by_two_proofs)
             values ($1, $2, $3, $4, $5, $5, $6, $7, $8)",
        )
        .bind(session_id)
        .bind(account.0)
        .bind((caller.company != CompanyId::NONE).then_some(caller.company.0))
        .bind(device)
        .bind(now)
        .bind(now + self.lifetimes.refresh)
        .bind(opened.is_bound)
        .bind(opened.is_by_two_proofs)
        .execute(&mut *tx)
        .await?;
        if let Some(MemberId(member)) = caller.member() {
            sqlx::query(
                "update identity.membership set last_signed_in_at = $3
                  where account_id = $1 and member_id = $2",
            )
            .bind(account.0)
            .bind(member)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        }
        let refresh =
            self.refresh_token(&mut tx, account, session_id, session_id.as_bytes()).await?;
        let signed_in = Event::SignedIn { session_id, method, at: now };
        outbox::tell(&mut tx, &self.bus, Some(account), &signed_in).await?;
        tx.commit().await?;
        Ok(Session {
            refresh_token: Some(refresh),
            ..self.person_session(account, session_id, caller, opened.is_bound).await?
        })
    }

    /// Prolongs a session: a new access token, and the refresh token that follows this one.
    ///
    /// # Errors
    /// [`IdentityError::InvalidToken`], [`IdentityError::ExpiredToken`]; [`IdentityError::Revoked`]
    /// for a session that was ended, which this one is if the token was used before.
    pub async fn refresh(
        &self,
        token: &str,
        company: Option<CompanyId>,
    ) -> Result<Session, IdentityError> {
        let (now, hash) = (self.bus.now(), token_hash(token));
        // Who the holder is now is asked for before anything is locked.
        let (seen, is_accepted) = {
            let mut tx = self.wall.begin(About::key(&hash)).await?;
            let seen = presented(&mut tx, &hash).await?;
            let seen = seen.ok_or(IdentityError::InvalidToken)?;
            let is_accepted = !seen.has_ended
                && now < seen.expires_at
                && (!seen.is_used || self.is_repeat(&mut tx, &seen, &hash).await?);
            tx.commit().await?;
            (seen, is_accepted)
        };
        if seen.opened.is_bound && company.is_some_and(|company| Some(company) != seen.company) {
            return Err(IdentityError::NoMember);
        }
        let place = match company.or(seen.company) {
            Some(company) => Place::Company(company),
            None => Place::Platform,
        };
        let holder = self.holder(seen.account, place, seen.opened).await;
        // What is refused now is refused below, too: none is let in there who was not told of here.
        if let Ok(caller) = &holder
            && is_accepted
        {
            self.tell_company(caller, seen.session_id).await?;
        }
        let mut tx = self.wall.begin(About::key(&hash)).await?;
        let presented = presented(&mut tx, &hash).await?.ok_or(IdentityError::InvalidToken)?;
        let Presented { session_id, account, opened, .. } = presented;
        if presented.has_ended {
            return Err(IdentityError::Revoked);
        }
        if presented.is_used && !self.is_repeat(&mut tx, &presented, &hash).await? {
            let reason = RevocationReason::TokenReused;
            self.end(&mut tx, account, &[session_id], reason).await?;
            tx.commit().await?;
            tracing::warn!(session.id = %session_id, "a refresh token came a second time");
            return Err(IdentityError::Revoked);
        }
        if now >= presented.expires_at {
            return Err(IdentityError::ExpiredToken);
        }
        let caller = match holder {
            // Another company was asked for, which is none of the person's.
            Err(IdentityError::BadCredentials) if company.is_some() => {
                return Err(IdentityError::NoMember);
            }
            Err(IdentityError::BadCredentials) => return Err(IdentityError::Revoked),
            other => other?,
        };
        sqlx::query(
            "update identity.refresh_token set used_at = coalesce(used_at, clock_timestamp())
              where token_hash = $1",
        )
        .bind(&hash)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "update identity.session set company_id = $2, last_used_at = $3, expires_at = $4
              where session_id = $1",
        )
        .bind(session_id)
        .bind((caller.company != CompanyId::NONE).then_some(caller.company.0))
        .bind(now)
        .bind(now + self.lifetimes.refresh)
        .execute(&mut *tx)
        .await?;
        let refresh = self.refresh_token(&mut tx, account, session_id, &hash).await?;
        tx.commit().await?;
        Ok(Session {
            refresh_token: Some(refresh),
            ..self.person_session(account, session_id, caller, opened.is_bound).await?
        })
    }

    /// The session that a refresh token belongs to, with its account.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn session_behind(
        &self,
        token: &str,
    ) -> Result<Option<(AccountId, Uuid)>, IdentityError> {
        let hash = token_hash(token);
        let mut tx = self.wall.begin(About::key(&hash)).await?;
        let presented = presented(&mut tx, &hash).await?;
        tx.commit().await?;
        Ok(presented.map(|presented| (presented.account, presented.session_id)))
    }

    /// The open sessions of an account, newest first.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn sessions(&self, account: AccountId) -> Result<Vec<OpenSession>, IdentityError> {
        let rows = sqlx::query(
            "select session_id, company_id, device, created_at, last_used_at, expires_at
               from identity.session
              where account_id = $1 and ended_at is null and expires_at > $2
              order by session_id desc limit 100",
        )
        .bind(account.0)
        .bind(self.bus.now())
        .fetch_all(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<OpenSession> {
            Ok(OpenSession {
                session_id: row.try_get("session_id")?,
                company: row.try_get::<Option<Uuid>, _>("company_id")?.map(CompanyId),
                device: row.try_get("device")?,
                created_at: row.try_get("created_at")?,
                last_used_at: row.try_get("last_used_at")?,
                expires_at: row.try_get("expires_at")?,
            })
        };
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Ends one session of an account. Its access tokens are refused within a second everywhere. A
    /// session that has ended already is fine.
    ///
    /// # Errors
    /// [`IdentityError::NoSession`] where the account has none of this id.
    pub async fn sign_out(
        &self,
        account: AccountId,
        session_id: Uuid,
    ) -> Result<(), IdentityError> {
        let now = self.bus.now();
        let mut tx = self.wall.begin(About::account(account)).await?;
        let ended_at: Option<DateTime<Utc>> = sqlx::query_scalar(
            "select ended_at from identity.session
              where session_id = $1 and account_id = $2 for update",
        )
        .bind(session_id)
        .bind(account.0)
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(IdentityError::NoSession)?;
        if ended_at.is_some() {
            return Ok(());
        }
        mark_ended(&mut tx, &[session_id], now).await?;
        let signed_out = Event::SignedOut { session_id, at: now };
        outbox::tell(&mut tx, &self.bus, Some(account), &signed_out).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends all sessions of an account, but one if asked to, and answers how many there were.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    pub async fn sign_out_everywhere(
        &self,
        account: AccountId,
        except: Option<Uuid>,
    ) -> Result<u32, IdentityError> {
        let mut tx = self.wall.begin(About::account(account)).await?;
        let reason = RevocationReason::SignedOutEverywhere;
        let n_ended = self.end_all(&mut tx, account, except, reason).await?;
        tx.commit().await?;
        Ok(n_ended)
    }

    /// Ends all sessions of an account, but one if asked to, with what else the transaction does.
    pub(crate) async fn end_all(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        except: Option<Uuid>,
        reason: RevocationReason,
    ) -> Result<u32, IdentityError> {
        let open: Vec<Uuid> = sqlx::query_scalar(
            "select session_id from identity.session
              where account_id = $1 and ended_at is null and session_id is distinct from $2
              for update",
        )
        .bind(account.0)
        .bind(except)
        .fetch_all(&mut *tx)
        .await?;
        self.end(tx, account, &open, reason).await
    }

    async fn end(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        sessions: &[Uuid],
        reason: RevocationReason,
    ) -> Result<u32, IdentityError> {
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        if count > 0 {
            let at = self.bus.now();
            mark_ended(tx, sessions, at).await?;
            let revoked = Event::SessionsRevoked { reason, count, at };
            outbox::tell(tx, &self.bus, Some(account), &revoked).await?;
        }
        Ok(count)
    }

    /// Tells a company, before anything of it can be seen, that somebody who runs the platform is in
    /// it: once of a session, however often and by whatever way it comes in.
    async fn tell_company(&self, caller: &Caller, session_id: Uuid) -> Result<(), IdentityError> {
        if !matches!(caller.actor, Actor::Operator(_)) || caller.company == CompanyId::NONE {
            return Ok(());
        }
        let visit = [session_id.as_bytes().as_slice(), caller.company.0.as_bytes()].concat();
        let secret = self.bus.derived_secret("company-entered", &visit);
        let entry = Uuid::from_slice(&secret[..16]).map_err(|_| IdentityError::Unavailable)?;
        let enter = company::Command::Enter { session_id };
        let order = Order::of_client(entry, b"enter".to_vec());
        self.bus.execute::<Company>(caller, caller.company.0, enter, order).await?;
        Ok(())
    }

    /// Whether a used token comes again because its answer was lost.
    async fn is_repeat(
        &self,
        tx: &mut PgConnection,
        presented: &Presented,
        hash: &[u8],
    ) -> Result<bool, IdentityError> {
        Ok(presented.is_just_used
            && is_unused(tx, &token_hash(self.successor(hash).expose_secret())).await?)
    }

    /// Who an account is in that place at present. For whom a company's provider vouches alone is
    /// nobody but a member.
    ///
    /// # Errors
    /// [`IdentityError::BadCredentials`] when it is nobody there; [`IdentityError::SecondFactorMissing`]
    /// for somebody who runs the platform and wants into a company by a session of one proof.
    async fn holder(
        &self,
        account: AccountId,
        place: Place,
        opened: Opened,
    ) -> Result<Caller, IdentityError> {
        let memberships = sqlx::query(
            "select company_id, member_id from identity.membership
              where account_id = $1 order by by_provider, member_id desc",
        )
        .bind(account.0)
        .fetch_all(&mut *self.wall.of(About::account(account)).await?)
        .await?;
        for row in &memberships {
            let company = CompanyId(row.try_get("company_id")?);
            if place != Place::Any && place != Place::Company(company) {
                continue;
            }
            let member_id = MemberId(row.try_get("member_id")?);
            if let Some(member) = self.member(account, company, member_id).await? {
                return Ok(member);
            }
        }
        if opened.is_bound {
            return Err(IdentityError::BadCredentials);
        }
        let Some(operator) = self.operator(account).await? else {
            let candidate = self.candidate_at(account, place).await?;
            return candidate.ok_or(IdentityError::BadCredentials);
        };
        match place {
            Place::Any | Place::Platform => Ok(operator),
            // Both: where the second proof was taken away, a session by it is worth no more.
            Place::Company(company)
                if opened.is_by_two_proofs && self.has_second_factor(account).await? =>
            {
                Ok(Caller { company, ..operator })
            }
            Place::Company(_) => Err(IdentityError::SecondFactorMissing),
        }
    }

    /// Keeps the token that follows from `seed`, which is the hash of the one before or names the
    /// session. A repeat finds it kept.
    async fn refresh_token(
        &self,
        tx: &mut PgConnection,
        account: AccountId,
        session_id: Uuid,
        seed: &[u8],
    ) -> Result<RefreshToken, IdentityError> {
        let (token, expires_at) = (self.successor(seed), self.bus.now() + self.lifetimes.refresh);
        sqlx::query(
            "insert into identity.refresh_token (token_hash, account_id, session_id, expires_at)
             values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(account.0)
        .bind(session_id)
        .bind(expires_at)
        .execute(tx)
        .await?;
        Ok(RefreshToken { token, expires_at })
    }

    /// The token that follows: the same for whoever asks again, and nobody's guess without the
    /// installation's secret.
    fn successor(&self, seed: &[u8]) -> SecretString {
        tokens::opaque(&self.bus, "refresh-token", seed)
    }
}

/// The token of this hash and its session, both locked until the transaction ends, which is about their
/// account from now on.
async fn presented(tx: &mut PgConnection, hash: &[u8]) -> Result<Option<Presented>, IdentityError> {
    let account: Option<Uuid> =
        sqlx::query_scalar("select account_id from identity.refresh_token where token_hash = $1")
            .bind(hash)
            .fetch_optional(&mut *tx)
            .await?;
    about_account(tx, account.map(AccountId)).await?;
    let row = sqlx::query(
        "select s.session_id, s.account_id, s.company_id, s.ended_at, s.is_bound,
                s.is_by_two_proofs, t.expires_at,
                t.used_at is not null as is_used,
                coalesce(clock_timestamp() - t.used_at < $2::text::interval, false) as is_just_used
           from identity.refresh_token t join identity.session s using (session_id)
          where t.token_hash = $1 for update",
    )
    .bind(hash)
    .bind(LOST_ANSWER)
    .fetch_optional(tx)
    .await?;
    let read = |row: sqlx::postgres::PgRow| -> sqlx::Result<Presented> {
        Ok(Presented {
            session_id: row.try_get("session_id")?,
            account: AccountId(row.try_get("account_id")?),
            company: row.try_get::<Option<Uuid>, _>("company_id")?.map(CompanyId),
            is_used: row.try_get("is_used")?,
            is_just_used: row.try_get("is_just_used")?,
            expires_at: row.try_get("expires_at")?,
            has_ended: row.try_get::<Option<DateTime<Utc>>, _>("ended_at")?.is_some(),
            opened: Opened {
                is_bound: row.try_get("is_bound")?,
                is_by_two_proofs: row.try_get("is_by_two_proofs")?,
            },
        })
    };
    Ok(row.map(read).transpose()?)
}

async fn is_unused(tx: &mut PgConnection, hash: &[u8]) -> Result<bool, IdentityError> {
    let unused: Option<bool> = sqlx::query_scalar(
        "select used_at is null from identity.refresh_token where token_hash = $1",
    )
    .bind(hash)
    .fetch_optional(tx)
    .await?;
    Ok(unused == Some(true))
}

async fn mark_ended(
    tx: &mut PgConnection,
    sessions: &[Uuid],
    at: DateTime<Utc>,
) -> Result<(), IdentityError> {
    sqlx::query("update identity.session set ended_at = $2 where session_id = any($1)")
        .bind(sessions)
        .bind(at)
        .execute(tx)
        .await?;
    Ok(())
}
