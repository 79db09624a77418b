//! Signing in by a company's own provider: OpenID Connect Core 1.0, authorization code flow with PKCE
//! (RFC 7636). The provider says who somebody is; who may enter is said here, by invitation.

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use commands::{CommandError, new_id};
use domain::account::{Event, SignInMethod};
use domain::caller::{Actor, Caller};
use domain::ids::{AccountId, CompanyId, MemberId};
use domain::permission::{Action, Relation, allows};
use domain::values::{self, Invalid};
use jsonwebtoken::jwk::JwkSet;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Row;
use uuid::Uuid;

use crate::id_token::{self, Expected, Stated};
use crate::invitations::token_hash;
use crate::wall::About;
use crate::{Entrance, Identity, IdentityError, Place, Principal, Session, outbox, tokens};

/// Time for a person to sign in at the provider.
const ATTEMPT_LIFE: TimeDelta = TimeDelta::minutes(10);

/// How this process reaches providers. Addresses come from those that the settings allow, and from
/// what these providers say of themselves.
#[async_trait]
pub trait Web: Send + Sync {
    /// Whether a company may name this issuer.
    fn is_allowed(&self, issuer: &str) -> bool;

    /// The JSON at an address.
    ///
    /// # Errors
    /// [`WebError`].
    async fn get(&self, url: &str) -> Result<Value, WebError>;

    /// The JSON that answers a form, sent with the client's name and secret (RFC 6749, 2.3.1).
    ///
    /// # Errors
    /// [`WebError`].
    async fn post(
        &self,
        url: &str,
        client: (&str, &SecretString),
        form: &[(&str, &str)],
    ) -> Result<Value, WebError>;
}

/// A provider did not answer, or not as providers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider does not answer as providers do")]
pub struct WebError;

/// Reaches no provider, and allows none.
pub(crate) struct NoWeb;

#[async_trait]
impl Web for NoWeb {
    fn is_allowed(&self, _: &str) -> bool {
        false
    }

    async fn get(&self, _: &str) -> Result<Value, WebError> {
        Err(WebError)
    }

    async fn post(
        &self,
        _: &str,
        _: (&str, &SecretString),
        _: &[(&str, &str)],
    ) -> Result<Value, WebError> {
        Err(WebError)
    }
}

/// A company's provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its issuer identifier, such as `https://login.example.com`.
    pub issuer: String,
    /// The name under which it knows this installation.
    pub client_id: String,
    /// The page of the frontend that it sends people back to.
    pub redirect_uri: String,
}

/// What beginning to sign on answers.
#[derive(Clone, Debug)]
pub struct SignOn {
    /// Where the person goes.
    pub url: String,
    /// Stays with the page that began, and is sent with the provider's answer: who has it not, such as
    /// whoever was slipped somebody else's answer, does not come in.
    pub token: SecretString,
}

/// What a provider says of itself (OpenID Connect Discovery 1.0).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

struct Configured {
    provider: Provider,
    secret: SecretString,
}

impl Identity {
    /// Lets the people of the caller's company sign in by its provider. Who runs the platform cannot:
    /// whom a provider names comes in long after the visit in which it was named.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not; [`IdentityError::Invalid`] for an issuer
    /// that the installation does not allow or an address that is none;
    /// [`IdentityError::ProviderFailed`] if it does not say of itself what it must.
    pub async fn configure_sign_on(
        &self,
        principal: &Principal,
        provider: Provider,
        secret: SecretString,
    ) -> Result<(), IdentityError> {
        let caller = &principal.caller;
        let is_visitor = matches!(caller.actor, Actor::Operator(_));
        let account = principal.account_id.filter(|_| may_manage(caller) && !is_visitor);
        let account = account.ok_or(CommandError::Forbidden)?;
        let invalid = |field, why: &str| Invalid { field, why: why.to_owned() };
        if !self.web.is_allowed(&provider.issuer) {
            return Err(invalid("issuer", "is none that this installation allows").into());
        }
        let client_id = values::line("clientId", &provider.client_id)?;
        let redirect_uri = values::line("redirectUri", &provider.redirect_uri)?;
        if !["https://", "http://localhost", "http://127.0.0.1"]
            .iter()
            .any(|start| redirect_uri.starts_with(start))
        {
            return Err(invalid("redirectUri", "must begin with https://").into());
        }
        self.metadata(&provider.issuer).await?;
        let at = self.bus.now();
        let about = About::company(caller.company).and_account(Some(account));
        let mut tx = self.wall.begin(about).await?;
        sqlx::query(
            "insert into identity.sign_on
               (company_id, issuer, client_id, redirect_uri, sealed_secret)
             values ($1, $2, $3, $4, $5)
             on conflict (company_id) do update set issuer = excluded.issuer,
               client_id = excluded.client_id, redirect_uri = excluded.redirect_uri,
               sealed_secret = excluded.sealed_secret",
        )
        .bind(caller.company.0)
        .bind(&provider.issuer)
        .bind(client_id)
        .bind(redirect_uri)
        .bind(self.seal(caller.company, &secret)?)
        .execute(&mut *tx)
        .await?;
        let company_id = caller.company;
        let configured =
            Event::SignOnConfigured { company_id, issuer: provider.issuer.clone(), at };
        outbox::tell(&mut tx, &self.bus, Some(account), &configured).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The provider of the caller's company.
    ///
    /// # Errors
    /// [`IdentityError::Command`] when the caller may not see it.
    pub async fn sign_on_provider(
        &self,
        caller: &Caller,
    ) -> Result<Option<Provider>, IdentityError> {
        if !may_manage(caller) {
            return Err(CommandError::Forbidden.into());
        }
        Ok(self.configured(caller.company).await?.map(|configured| configured.provider))
    }

    /// Begins to sign on by a company's provider.
    ///
    /// # Errors
    /// [`IdentityError::NoSignOn`] for a company without one; [`IdentityError::ProviderFailed`].
    pub async fn begin_sign_on(&self, company: CompanyId) -> Result<SignOn, IdentityError> {
        let configured = self.configured(company).await?.ok_or(IdentityError::NoSignOn)?;
        let metadata = self.metadata(&configured.provider.issuer).await?;
        let attempt = new_id(self.bus.clock());
        let part = |purpose| tokens::opaque(&self.bus, purpose, attempt.as_bytes());
        let (token, state) = (part("sign-on-token"), part("sign-on-state"));
        sqlx::query(
            "insert into identity.sign_on_attempt (token_hash, attempt_id, company_id, expires_at)
             values ($1, $2, $3, $4)",
        )
        .bind(token_hash(token.expose_secret()))
        .bind(attempt)
        .bind(company.0)
        .bind(self.bus.now() + ATTEMPT_LIFE)
        .execute(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        let verifier = part("sign-on-verifier");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()));
        let nonce = part("sign-on-nonce");
        let Provider { client_id, redirect_uri, .. } = &configured.provider;
        let parameters: [(&str, &str); 8] = [
            ("response_type", "code"),
            ("scope", "openid email"),
            ("client_id", client_id),
            ("redirect_uri", redirect_uri),
            ("state", state.expose_secret()),
            ("nonce", nonce.expose_secret()),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let start = &metadata.authorization_endpoint;
        let joint = if start.contains('?') { '&' } else { '?' };
        Ok(SignOn { url: format!("{start}{joint}{}", query.join("&")), token })
    }

    /// Opens a session for whom the provider has sent back. Whoever enters for the first time must be
    /// invited, by the address that the provider has verified.
    ///
    /// # Errors
    /// [`IdentityError::SignOnRefused`] for an answer that is not to be believed, and for somebody who
    /// is not invited; [`IdentityError::ProviderFailed`].
    pub async fn finish_sign_on(
        &self,
        token: &str,
        state: &str,
        code: &str,
        device: Option<String>,
    ) -> Result<Session, IdentityError> {
        let hash = token_hash(token);
        let row = sqlx::query(
            "delete from identity.sign_on_attempt where token_hash = $1
             returning attempt_id, company_id, expires_at",
        )
        .bind(&hash)
        .fetch_optional(&mut *self.wall.of(About::key(&hash)).await?)
        .await?
        .ok_or(IdentityError::SignOnRefused)?;
        let expires_at: DateTime<Utc> = row.try_get("expires_at")?;
        let attempt: Uuid = row.try_get("attempt_id")?;
        let company = CompanyId(row.try_get("company_id")?);
        let part = |purpose| tokens::opaque(&self.bus, purpose, attempt.as_bytes());
        let is_of_it = token_hash(state) == token_hash(part("sign-on-state").expose_secret());
        if self.bus.now() >= expires_at || !is_of_it {
            return Err(IdentityError::SignOnRefused);
        }
        let configured = self.configured(company).await?.ok_or(IdentityError::NoSignOn)?;
        let stated = self
            .stated(&configured, code, &part("sign-on-verifier"), &part("sign-on-nonce"))
            .await?;
        let account = self.account_of(company, &configured.provider.issuer, stated).await?;
        let entrance = Entrance { place: Place::Company(company), device };
        self.open_session(account, None, SignInMethod::SignOn, &entrance).await.map_err(|error| {
            match error {
                IdentityError::BadCredentials => IdentityError::SignOnRefused,
                error => error,
            }
        })
    }

    /// Who the provider says somebody is, for a code.
    async fn stated(
        &self,
        configured: &Configured,
        code: &str,
        verifier: &SecretString,
        nonce: &SecretString,
    ) -> Result<Stated, IdentityError> {
        let Configured { provider, secret } = configured;
        let metadata = self.metadata(&provider.issuer).await?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", provider.redirect_uri.as_str()),
            ("code_verifier", verifier.expose_secret()),
        ];
        let client = (provider.client_id.as_str(), secret);
        let answer = self.web.post(&metadata.token_endpoint, client, &form).await;
        let answer = answer.map_err(|WebError| IdentityError::ProviderFailed)?;
        let token = answer.get("id_token").and_then(Value::as_str).unwrap_or_default();
        let keys = self.web.get(&metadata.jwks_uri).await;
        let keys = keys.map_err(|WebError| IdentityError::ProviderFailed)?;
        let keys: JwkSet =
            serde_json::from_value(keys).map_err(|_| IdentityError::ProviderFailed)?;
        let expected = Expected {
            issuer: &provider.issuer,
            client_id: &provider.client_id,
            nonce: nonce.expose_secret(),
            now: self.bus.now(),
        };
        id_token::believe(token, &keys, &expected).map_err(|disbelief| {
            tracing::warn!(%disbelief, issuer = provider.issuer, "an ID token is not believed");
            IdentityError::SignOnRefused
        })
    }

    /// The account of whom the provider names: the one that came in before, else that of an
    /// invitation to the verified address.
    async fn account_of(
        &self,
        company: CompanyId,
        issuer: &str,
        stated: Stated,
    ) -> Result<AccountId, IdentityError> {
        let linked: Option<Uuid> = sqlx::query_scalar(
            "select account_id from identity.sign_on_link
              where company_id = $1 and issuer = $2 and subject = $3",
        )
        .bind(company.0)
        .bind(issuer)
        .bind(&stated.subject)
        .fetch_optional(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        if let Some(account) = linked {
            return Ok(AccountId(account));
        }
        let email = stated.email.ok_or(IdentityError::SignOnRefused)?;
        let email = values::email("email", &email).map_err(|_| IdentityError::SignOnRefused)?;
        let invited: Option<Uuid> = sqlx::query_scalar(
            "select member_id from identity.invitation
              where company_id = $1 and email = $2 and (used_by is not null or expires_at > $3)
              order by member_id desc limit 1",
        )
        .bind(company.0)
        .bind(&email)
        .bind(self.bus.now())
        .fetch_optional(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        let member = MemberId(invited.ok_or(IdentityError::SignOnRefused)?);
        let account = match self.credentials(&email).await? {
            Some(known) => known.account,
            None => self.make_account_without_password(&email, member.0).await?,
        };
        self.record_account(account, &email).await?;
        self.join(company, member, account, true).await?;
        sqlx::query(
            "insert into identity.sign_on_link (company_id, issuer, subject, account_id)
             values ($1, $2, $3, $4) on conflict do nothing",
        )
        .bind(company.0)
        .bind(issuer)
        .bind(&stated.subject)
        .bind(account.0)
        .execute(&mut *self.wall.of(About::company(company).and_account(Some(account))).await?)
        .await?;
        Ok(account)
    }

    async fn metadata(&self, issuer: &str) -> Result<Metadata, IdentityError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let said = self.web.get(&url).await.map_err(|WebError| IdentityError::ProviderFailed)?;
        let metadata: Metadata =
            serde_json::from_value(said).map_err(|_| IdentityError::ProviderFailed)?;
        // One provider must not speak for another.
        match metadata.issuer == issuer {
            true => Ok(metadata),
            false => Err(IdentityError::ProviderFailed),
        }
    }

    async fn configured(&self, company: CompanyId) -> Result<Option<Configured>, IdentityError> {
        let row = sqlx::query(
            "select issuer, client_id, redirect_uri, sealed_secret
               from identity.sign_on where company_id = $1",
        )
        .bind(company.0)
        .fetch_optional(&mut *self.wall.of(About::company(company)).await?)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("sealed_secret")?;
        let provider = Provider {
            issuer: row.try_get("issuer")?,
            client_id: row.try_get("client_id")?,
            redirect_uri: row.try_get("redirect_uri")?,
        };
        let is_allowed = self.web.is_allowed(&provider.issuer);
        let secret = self.open(company, sealed)?;
        Ok(is_allowed.then_some(Configured { provider, secret }))
    }

    fn sealing_key(&self, company: CompanyId) -> Result<RandomizedNonceKey, IdentityError> {
        let key = self.bus.derived_secret("sign-on-secret", company.0.as_bytes());
        RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| IdentityError::Unavailable)
    }

    /// The client secret under a key of the installation: nonce, then what is sealed.
    fn seal(&self, company: CompanyId, secret: &SecretString) -> Result<Vec<u8>, IdentityError> {
        let mut sealed = secret.expose_secret().as_bytes().to_vec();
        let nonce = self
            .sealing_key(company)?
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .map_err(|_| IdentityError::Unavailable)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open(&self, company: CompanyId, sealed: Vec<u8>) -> Result<SecretString, IdentityError> {
        let failed = || {
            tracing::error!(company = %company, "a provider's secret cannot be opened");
            IdentityError::Unavailable
        };
        let (nonce, rest) = sealed.split_at_checked(12).ok_or_else(failed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| failed())?;
        let mut rest = rest.to_vec();
        let key = self.sealing_key(company)?;
        let text = key.open_in_place(nonce, Aad::empty(), &mut rest).map_err(|_| failed())?;
        let text = std::str::from_utf8(text).map_err(|_| failed())?;
        Ok(SecretString::from(text))
    }
}

fn may_manage(caller: &Caller) -> bool {
    allows(caller, Action::ManageCompany, Relation::default())
}

/// A value of a query string, all but the unreserved escaped (RFC 3986, 2.3).
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
