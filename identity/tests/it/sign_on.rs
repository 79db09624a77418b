//! Signing in by a company's own provider, also by one that misbehaves.

use std::sync::Mutex;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::sign_on::{Provider, Web, WebError};
use serde_json::{Value, json};

use crate::*;

const ISSUER: &str = "https://login.acme.example";
const CLIENT: &str = "colloquy at acme";

/// A provider as it should be, but for what a test changes.
struct Idp {
    signs_with: Mutex<[u8; 32]>,
    /// What its next ID token says, on top of what it should.
    says: Mutex<Value>,
    header: Mutex<Value>,
    /// The nonce that the person was sent with, as a real provider would remember it.
    nonce: Mutex<String>,
    challenge: Mutex<String>,
    issuer: Mutex<String>,
    now: Mutex<i64>,
}

impl Idp {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            signs_with: Mutex::new([7; 32]),
            says: Mutex::new(json!({})),
            header: Mutex::new(json!({ "alg": "EdDSA", "kid": "one" })),
            nonce: Mutex::default(),
            challenge: Mutex::default(),
            issuer: Mutex::new(ISSUER.into()),
            now: Mutex::new(0),
        })
    }

    /// The person comes to the page that the URL names.
    fn visit(&self, url: &str) {
        let (_, query) = url.split_once('?').expect("a query");
        let value = |name: &str| {
            let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            pair.expect("a parameter").to_owned()
        };
        assert_eq!(value("client_id"), "colloquy%20at%20acme");
        assert_eq!(value("code_challenge_method"), "S256");
        *self.nonce.lock().expect("whole") = value("nonce");
        *self.challenge.lock().expect("whole") = value("code_challenge");
    }

    fn token(&self) -> String {
        let now = *self.now.lock().expect("whole");
        let mut claims = json!({
            "iss": ISSUER, "sub": "person 1", "aud": CLIENT, "iat": now, "exp": now + 300,
            "nonce": *self.nonce.lock().expect("whole"),
            "email": "Ada@acme.example", "email_verified": true,
        });
        let says = self.says.lock().expect("whole").clone();
        for (name, value) in says.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let header = self.header.lock().expect("whole").clone();
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let unsigned = format!("{}.{}", part(&header), part(&claims));
        if header["alg"] != "EdDSA" {
            let signature = if header["alg"] == "HS256" { "c2lnbmF0dXJl" } else { "" };
            return format!("{unsigned}.{signature}");
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(&*self.signs_with.lock().expect("whole"));
        let pair = pair.expect("a key");
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(pair.sign(unsigned.as_bytes())))
    }
}

#[async_trait::async_trait]
impl Web for Idp {
    fn is_allowed(&self, issuer: &str) -> bool {
        issuer == ISSUER
    }

    async fn get(&self, url: &str) -> Result<Value, WebError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        match url.strip_prefix(ISSUER) {
            Some("/.well-known/openid-configuration") => Ok(json!({
                "issuer": *self.issuer.lock().expect("whole"),
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
            })),
            Some("/keys") => Ok(json!({ "keys": [
                { "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": x },
            ] })),
            _ => Err(WebError),
        }
    }

    async fn post(
        &self,
        url: &str,
        (client, secret): (&str, &SecretString),
        form: &[(&str, &str)],
    ) -> Result<Value, WebError> {
        let value = |name| form.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        assert_eq!(url, format!("{ISSUER}/token"));
        assert_eq!((client, secret.expose_secret()), (CLIENT, "s3cret"));
        let verifier = value("code_verifier").expect("a verifier");
        let challenge = URL_SAFE_NO_PAD
            .encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes()));
        assert_eq!(challenge, *self.challenge.lock().expect("whole"));
        match value("code") {
            Some("good") => Ok(json!({ "id_token": self.token(), "access_token": "a" })),
            _ => Err(WebError),
        }
    }
}

pub struct Stage {
    pub w: World,
    idp: Arc<Idp>,
    pub company: RegisteredCompany,
}

impl Stage {
    /// A company with a provider, whose administrator is invited by `ada@acme.example`.
    pub async fn set() -> Self {
        let mut w = World::new().await;
        let idp = Idp::new();
        *idp.now.lock().expect("whole") = w.bus.now().timestamp();
        w.identity = w.identity.clone().with_web(idp.clone());
        let company = w.company().await;
        let system = Caller::system(company.company_id, "identity");
        let cy = invitee("cy@acme.example", Role::CompanyAdmin);
        let token = w.identity.invite(&system, order(40), cy).await.expect("invited").token;
        let cy = w.identity.accept_invitation(token.expose_secret(), password(), None).await;
        let cy = cy.expect("joined").principal;
        let configured = w.identity.configure_sign_on(&cy, provider(ISSUER), "s3cret".into()).await;
        configured.expect("configured");
        Self { w, idp, company }
    }

    async fn begin(&self) -> (String, String) {
        let begun = self.w.identity.begin_sign_on(self.company.company_id).await.expect("begun");
        self.idp.visit(&begun.url);
        let (_, rest) = begun.url.split_once("state=").expect("a state");
        let state = rest.split('&').next().expect("a state").to_owned();
        (begun.token.expose_secret().to_owned(), state)
    }

    pub async fn sign_on(&self) -> Result<identity::Session, IdentityError> {
        let (token, state) = self.begin().await;
        self.w.identity.finish_sign_on(&token, &state, "good", None).await
    }
}

fn provider(issuer: &str) -> Provider {
    Provider {
        issuer: issuer.into(),
        client_id: CLIENT.into(),
        redirect_uri: "https://app.example.com/sign-on".into(),
    }
}

#[tokio::test]
async fn an_invited_person_enters_by_the_companys_provider_and_that_company_only() {
    let stage = Stage::set().await;
    let first = stage.sign_on().await.expect("in");
    assert_eq!(first.principal.caller.company, stage.company.company_id);
    assert_eq!(first.principal.caller.actor, Actor::Member(stage.company.admin.member_id));
    // From then on the provider's own name for the person counts, and not the address.
    *stage.idp.says.lock().expect("whole") = json!({ "email": "renamed@acme.example" });
    let again = stage.sign_on().await.expect("in");
    assert_eq!(first.principal.account_id, again.principal.account_id);
    let refresh = again.refresh_token.expect("one").token;
    let elsewhere = CompanyId(Uuid::from_u128(4));
    let moved = stage.w.identity.refresh(refresh.expose_secret(), Some(elsewhere)).await;
    assert_eq!(code(moved), "COMPANY_NOT_FOUND");
    assert_eq!(code(stage.w.identity.refresh(refresh.expose_secret(), None).await), "ok");
    let told = stage.w.told(first.principal.account_id.expect("one")).await;
    assert_eq!(told.last().expect("events").1["method"], "SIGN_ON");
    let stored: String =
        sqlx::query_scalar("select encode(sealed_secret, 'escape') from identity.sign_on")
            .fetch_one(&stage.w.database.pool)
            .await
            .expect("read");
    assert!(!stored.contains("s3cret"));
}

#[tokio::test]
async fn a_provider_that_misbehaves_lets_nobody_in() {
    let stage = Stage::set().await;
    let now = stage.w.bus.now().timestamp();
    for says in [
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "iss": "https://login.other.example" }),
        json!({ "aud": "another client" }),
        json!({ "aud": [CLIENT, "another client"] }),
        json!({ "aud": [CLIENT], "azp": "another client" }),
        json!({ "exp": now - 61 }),
        json!({ "iat": now + 61 }),
        json!({ "iat": now - 601 }),
        json!({ "sub": "" }),
        json!({ "email_verified": false }),
        json!({ "email_verified": null }),
        json!({ "email": "stranger@acme.example" }),
        json!({ "email": "no address" }),
    ] {
        *stage.idp.says.lock().expect("whole") = says.clone();
        assert_eq!(code(stage.sign_on().await), "SIGN_ON_REFUSED", "{says}");
    }
    *stage.idp.says.lock().expect("whole") = json!({});
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None", "kid": "one" }),
        json!({ "alg": "HS256", "kid": "one" }),
        json!({ "alg": "RS256", "kid": "one" }),
        json!({ "alg": "EdDSA", "kid": "two" }),
    ] {
        *stage.idp.header.lock().expect("whole") = header.clone();
        assert_eq!(code(stage.sign_on().await), "SIGN_ON_REFUSED", "{header}");
    }
    *stage.idp.header.lock().expect("whole") = json!({ "alg": "EdDSA", "kid": "one" });
    *stage.idp.signs_with.lock().expect("whole") = [8; 32];
    assert_eq!(code(stage.sign_on().await), "SIGN_ON_REFUSED", "another's key");
    *stage.idp.signs_with.lock().expect("whole") = [7; 32];
    *stage.idp.issuer.lock().expect("whole") = "https://login.other.example".into();
    let begun = stage.w.identity.begin_sign_on(stage.company.company_id).await;
    assert_eq!(code(begun), "SIGN_ON_PROVIDER_FAILED", "it speaks for another");
    *stage.idp.issuer.lock().expect("whole") = ISSUER.into();
    assert_eq!(code(stage.sign_on().await), "ok", "and nothing was wrong otherwise");
}

#[tokio::test]
async fn an_answer_is_good_once_for_the_page_that_asked() {
    let stage = Stage::set().await;
    let (token, state) = stage.begin().await;
    let (other_token, other_state) = stage.begin().await;
    let finish = |token: &str, state: &str, code: &str| {
        let (token, state, code) = (token.to_owned(), state.to_owned(), code.to_owned());
        let identity = stage.w.identity.clone();
        async move { identity.finish_sign_on(&token, &state, &code, None).await }
    };
    assert_eq!(code(finish("garbage", &state, "good").await), "SIGN_ON_REFUSED");
    let slipped = finish(&token, &other_state, "good").await;
    assert_eq!(code(slipped), "SIGN_ON_REFUSED", "somebody else's answer");
    let refused = finish(&other_token, &other_state, "bad").await;
    assert_eq!(code(refused), "SIGN_ON_PROVIDER_FAILED");
    let repeated = finish(&other_token, &other_state, "good").await;
    assert_eq!(code(repeated), "SIGN_ON_REFUSED", "one answer for one question");
    let (token, state) = stage.begin().await;
    stage.w.clock.advance(TimeDelta::minutes(10));
    assert_eq!(code(finish(&token, &state, "good").await), "SIGN_ON_REFUSED");
}

#[tokio::test]
async fn a_provider_is_named_by_administrators_from_those_that_are_allowed() {
    let stage = Stage::set().await;
    let admin = stage.sign_on().await.expect("in").principal;
    let identity = &stage.w.identity;
    let other = provider("https://login.other.example");
    let refused = identity.configure_sign_on(&admin, other, "x".into()).await;
    assert_eq!(code(refused), "VALIDATION_FAILED");
    let plain = Provider { redirect_uri: "http://app.example.com".into(), ..provider(ISSUER) };
    let refused = identity.configure_sign_on(&admin, plain, "x".into()).await;
    assert_eq!(code(refused), "VALIDATION_FAILED");
    let nobody = Caller { roles: vec![Role::Hr], ..admin.caller.clone() };
    let nobody = identity::Principal { caller: nobody, ..admin.clone() };
    let refused = identity.configure_sign_on(&nobody, provider(ISSUER), "x".into()).await;
    assert_eq!(code(refused), "AUTH_003");
    let operator = Actor::Operator(AccountId(Uuid::from_u128(5)));
    let visitor =
        Caller { actor: operator, roles: vec![Role::SystemAdmin], ..admin.caller.clone() };
    let visitor = identity::Principal { caller: visitor, ..admin };
    let refused = identity.configure_sign_on(&visitor, provider(ISSUER), "x".into()).await;
    assert_eq!(code(refused), "AUTH_003");
    let elsewhere = identity.begin_sign_on(CompanyId(Uuid::from_u128(4))).await;
    assert_eq!(code(elsewhere), "SIGN_ON_NOT_CONFIGURED");
}
