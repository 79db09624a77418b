//! Identity on real tables and a log in memory: who may enter, and for how long.

mod api_keys;
mod candidacy;
mod custom_roles;
mod invitations;
mod keys;
mod lockout;
mod operators;
mod rate_limits;
mod recovery;
mod registration;
mod second_factor;
mod sessions;
mod sign_on;
mod walls;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use commands::{Bus, BusSettings, Order};
use domain::caller::{Actor, Caller, Role};
use domain::ids::{AccountId, CompanyId};
use domain::member::{self, Member};
use eventlog::clock::ManualClock;
use eventlog::codec::Codec;
use eventlog::envelope::{StoredEvent, StreamId, Version};
use eventlog::store::EventStore;
use eventlog::store::memory::MemoryStore;
use eventlog::testing::{TestDatabase, login};
use eventlog::vault::memory::MemoryVault;
use eventlog::vault::secrets::Secrets;
use identity::wall::Wall;
use identity::{Entrance, Identity, IdentityError, Invitee, RegisteredCompany};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use uuid::Uuid;

struct World {
    database: TestDatabase,
    wall: Wall,
    identity: Identity,
    store: Arc<MemoryStore>,
    bus: Arc<Bus>,
    clock: Arc<ManualClock>,
}

const PASSWORD: &str = "Correct horse 1";

fn password() -> SecretString {
    PASSWORD.into()
}

fn order(n: u128) -> Order {
    Order::of_client(Uuid::from_u128(0xc000 + n), n.to_be_bytes().to_vec())
}

fn invitee(email: &str, role: Role) -> Invitee {
    Invitee { email: email.into(), full_name: "Ada Example".into(), role, department: None }
}

/// How the role connects that uses identity's tables of this database.
async fn user(pool: &PgPool) -> PgConnectOptions {
    let options = login(pool, "identity_user").await;
    let let_in = sqlx::query("select identity.let_in('identity_user')").execute(pool).await;
    let_in.expect("it may use them");
    options
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let at = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let clock = Arc::new(ManualClock::new(at));
        let vault = MemoryVault::new();
        let store = Arc::new(MemoryStore::new(clock.clone(), vault.clone()));
        let codec = Codec::new(Arc::new(vault));
        let secrets = Secrets::in_memory();
        let bus = Arc::new(Bus::new(
            store.clone(),
            codec,
            secrets,
            clock.clone(),
            BusSettings::default(),
        ));
        let wall = Wall::new(user(&database.pool).await, 6);
        let identity = Identity::start(wall.clone(), bus.clone()).await.expect("started");
        Self { database, wall, identity, store, bus, clock }
    }

    /// Another replica of the same installation.
    async fn replica(&self) -> Identity {
        Identity::start(self.wall.clone(), self.bus.clone()).await.expect("started")
    }

    /// Names and contents of what the log tells of an account, after the outbox was carried over.
    async fn told(&self, account: AccountId) -> Vec<(String, serde_json::Value)> {
        while identity::outbox::drain(&self.wall, &self.bus).await.expect("drained") > 0 {}
        let stream = StreamId::new(CompanyId::NONE, "account", account.0);
        let events = self.store.read_stream(&stream, Version(0), 100).await.expect("read");
        let content = |event: &StoredEvent| {
            serde_json::from_slice(&event.payload).expect("the payload is JSON")
        };
        events.iter().map(|event| (event.name.to_string(), content(event))).collect()
    }

    async fn company(&self) -> RegisteredCompany {
        let operator = self.identity.ensure_operator("op@colloquy.example", password()).await;
        let operator = operator.expect("an operator");
        let admin = invitee("ada@acme.example", Role::CompanyAdmin);
        let registered = self.identity.register_company(
            &operator,
            order(1),
            "Acme".into(),
            Some("acme.example".into()),
            admin,
        );
        registered.await.expect("registered")
    }

    /// How many letters of a kind are ordered for an address.
    async fn n_letters(&self, letter: &str, to: &str) -> i64 {
        sqlx::query_scalar("select count(*) from identity.mail where letter = $1 and email = $2")
            .bind(letter)
            .bind(to)
            .fetch_one(&self.database.pool)
            .await
            .expect("counted")
    }

    async fn admin(&self) -> (RegisteredCompany, identity::Session) {
        let company = self.company().await;
        let token = company.admin.token.expose_secret().to_owned();
        let session =
            self.identity.accept_invitation(&token, password(), None).await.expect("joined");
        (company, session)
    }
}

fn anywhere() -> Entrance {
    Entrance::default()
}

fn code<T>(result: Result<T, IdentityError>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}

#[tokio::test]
async fn an_invited_person_signs_in_and_is_who_the_invitation_names() {
    let w = World::new().await;
    let (company, _) = w.admin().await;
    let session =
        w.identity.sign_in(" Ada@ACME.example ", password(), &anywhere()).await.expect("signed in");
    let token = session.access_token.expose_secret();
    let principal = w.identity.verify(token).await.expect("valid");
    assert_eq!(principal.caller.company, company.company_id);
    assert_eq!(principal.caller.actor, Actor::Member(company.admin.member_id));
    assert_eq!(principal.caller.roles, [Role::CompanyAdmin]);
    let stored: String = sqlx::query_scalar("select password_hash from identity.account limit 1")
        .fetch_one(&w.database.pool)
        .await
        .expect("a row");
    assert!(!stored.contains(PASSWORD));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_answer_alike() {
    let w = World::new().await;
    w.admin().await;
    let wrong = w.identity.sign_in("ada@acme.example", "wrong horse 1".into(), &anywhere()).await;
    let unknown = w.identity.sign_in("bo@acme.example", password(), &anywhere()).await;
    let garbage = w.identity.sign_in("\0", password(), &anywhere()).await;
    assert_eq!([code(wrong), code(unknown), code(garbage)], ["AUTH_001"; 3]);
}

#[tokio::test]
async fn a_token_ends_after_fifteen_minutes() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let token = session.access_token.expose_secret();
    w.clock.advance(TimeDelta::seconds(15 * 60 - 1));
    assert_eq!(code(w.identity.verify(token).await), "ok");
    w.clock.advance(TimeDelta::seconds(1));
    assert_eq!(code(w.identity.verify(token).await), "AUTH_002");
}

#[tokio::test]
async fn a_token_that_was_touched_is_refused() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let token = session.access_token.expose_secret();
    let (head, rest) = token.split_once('.').expect("three parts");
    let (body, signature) = rest.split_once('.').expect("three parts");
    // {"alg":"none","kid":"k1"} and {"alg":"HS256","kid":"k1"}
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ";
    let hmac = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0";
    let touched = [
        format!("{none}.{body}."),
        format!("{hmac}.{body}.{signature}"),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", signature.chars().rev().collect::<String>()),
        format!("{head}.{}.{signature}", body.replace('a', "b")),
        "x".repeat(100_000),
        String::new(),
        "..".into(),
        "\0".into(),
    ];
    for bad in touched {
        assert_eq!(code(w.identity.verify(&bad).await), "INVALID_TOKEN", "{bad:.40}");
    }
}

#[tokio::test]
async fn a_deactivated_member_is_nobody_any_more() {
    let w = World::new().await;
    let (company, _) = w.admin().await;
    let system = Caller::system(company.company_id, "identity");
    let invited = w.identity.invite(&system, order(2), invitee("bo@acme.example", Role::Hr)).await;
    let invited = invited.expect("invited");
    let token = invited.token.expose_secret();
    let session = w.identity.accept_invitation(token, "Another horse 2".into(), None).await;
    let session = session.expect("joined");
    let admin = Actor::Member(company.admin.member_id);
    let admin = Caller::new(company.company_id, admin, vec![Role::CompanyAdmin]);
    let deactivate = member::Command::Deactivate;
    let done = w.bus.execute::<Member>(&admin, invited.member_id.0, deactivate, order(3)).await;
    done.expect("deactivated");
    let verified = w.identity.verify(session.access_token.expose_secret()).await;
    assert_eq!(code(verified), "INVALID_TOKEN");
    let again = w.identity.sign_in("bo@acme.example", "Another horse 2".into(), &anywhere()).await;
    assert_eq!(code(again), "AUTH_001");
}

#[tokio::test]
async fn an_invitation_is_shown_again_to_a_repeat_and_taken_up_by_one_person() {
    let w = World::new().await;
    let first = w.company().await;
    let again = w.company().await;
    assert_eq!(first.company_id, again.company_id);
    assert_eq!(first.admin.token.expose_secret(), again.admin.token.expose_secret());
    let token = first.admin.token.expose_secret();
    assert_eq!(
        code(w.identity.accept_invitation(token, "short".into(), None).await),
        "VALIDATION_FAILED"
    );
    assert_eq!(code(w.identity.accept_invitation(token, password(), None).await), "ok");
    // A repeat by the same person is harmless, anybody else is refused.
    assert_eq!(code(w.identity.accept_invitation(token, password(), None).await), "ok");
    let stranger = w.identity.accept_invitation(token, "Another horse 2".into(), None).await;
    assert_eq!(code(stranger), "AUTH_001");
    assert_eq!(
        code(w.identity.accept_invitation("garbage", password(), None).await),
        "INVITATION_INVALID"
    );
}

#[tokio::test]
async fn an_invitation_ends_after_seven_days() {
    let w = World::new().await;
    let company = w.company().await;
    w.clock.advance(TimeDelta::days(7));
    let late =
        w.identity.accept_invitation(company.admin.token.expose_secret(), password(), None).await;
    assert_eq!(code(late), "INVITATION_INVALID");
}

#[tokio::test]
async fn only_an_operator_makes_companies() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let caller = session.principal.caller;
    let invitee = invitee("eve@other.example", Role::CompanyAdmin);
    let made = w.identity.register_company(&caller, order(9), "Other".into(), None, invitee).await;
    assert_eq!(code(made), "AUTH_003");
}

#[tokio::test]
async fn an_unknown_access_token_opens_no_interview() {
    let w = World::new().await;
    for token in ["", "garbage", &"x".repeat(100_000)] {
        assert_eq!(code(w.identity.open_interview_session(token).await), "INT_002");
    }
}
