//! Candidates who register themselves: what a letter and a password are worth together.

use domain::candidate::{self, Candidate, GivenProfile};
use domain::ids::CandidateId;
use identity::{Applicant, Place, Session};

use crate::recovery::Post;
use crate::*;

const MIRA: &str = "mira@mail.example";

fn applicant(company: CompanyId, email: &str, password: &str) -> Applicant {
    let (email, password) = (email.to_owned(), password.into());
    Applicant { company, email, password, full_name: "Mira Okafor".into() }
}

struct Applying {
    w: World,
    company: CompanyId,
    /// Who recruits.
    hr: Caller,
    post: Post,
}

impl Applying {
    async fn new() -> Self {
        let w = World::new().await;
        let (registered, session) = w.admin().await;
        let (company, post) = (registered.company_id, Post::of(&w));
        let hr = Caller { roles: vec![Role::Hr], ..session.principal.caller };
        Self { w, company, hr, post }
    }

    async fn register(&self, email: &str, password: &str) -> &'static str {
        let applicant = applicant(self.company, email, password);
        code(self.w.identity.register_candidate(applicant).await)
    }

    /// The tokens that an address has got by now.
    async fn tokens(&self, email: &str) -> Vec<String> {
        self.post.tokens(email, "confirm-candidate-account").await
    }

    /// Registers and answers the token of the letter.
    async fn lettered(&self, email: &str, password: &str) -> String {
        assert_eq!(self.register(email, password).await, "ok");
        self.tokens(email).await.pop().expect("a letter")
    }

    async fn confirm(&self, token: &str, password: &str) -> Result<Session, IdentityError> {
        self.w.identity.confirm_candidate(token, password.into(), None).await
    }

    /// A record that the company has made.
    async fn record(&self, email: &str, n: u128) -> CandidateId {
        let id = CandidateId(Uuid::from_u128(n));
        let profile = GivenProfile {
            full_name: "M. Okafor".into(),
            email: email.into(),
            phone: None,
            source: Some("referral".into()),
        };
        let register = candidate::Command::Register { candidate_id: id, profile };
        let done = self.w.bus.execute::<Candidate>(&self.hr, id.0, register, order(n)).await;
        done.expect("made");
        id
    }

    async fn archive(&self, id: CandidateId, n: u128) {
        let archive = candidate::Command::Archive;
        let done = self.w.bus.execute::<Candidate>(&self.hr, id.0, archive, order(n)).await;
        done.expect("put away");
    }

    async fn names_of(&self, id: CandidateId) -> Vec<String> {
        let stream = StreamId::new(self.company, "candidate", id.0);
        let events = self.w.store.read_stream(&stream, Version(0), 100).await.expect("read");
        events.iter().map(|event| event.name.to_string()).collect()
    }

    async fn count(&self, of: &'static str) -> i64 {
        sqlx::query_scalar(of).fetch_one(&self.w.database.pool).await.expect("counted")
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<Session, IdentityError> {
        self.w.identity.sign_in(email, password.into(), &anywhere()).await
    }
}

fn who(session: &Session) -> CandidateId {
    let Actor::Candidate(candidate) = session.principal.caller.actor else {
        panic!("{:?}", session.principal.caller)
    };
    candidate
}

#[tokio::test]
async fn who_has_the_letter_and_the_password_becomes_a_candidate_with_a_login() {
    let a = Applying::new().await;
    assert_eq!(a.register(" Mira@Mail.example ", PASSWORD).await, "ok");
    let token = a.tokens(MIRA).await.pop().expect("a letter");
    assert!(a.lettered("lena@mail.example", PASSWORD).await != token);
    assert_eq!(code(a.sign_in(MIRA, PASSWORD).await), "AUTH_001", "there is no login yet");
    assert_eq!(code(a.confirm("garbage", PASSWORD).await), "LETTER_INVALID");
    assert_eq!(code(a.confirm(&token, "wrong horse 1").await), "AUTH_001");
    let session = a.confirm(&token, PASSWORD).await.expect("confirmed");
    assert_eq!(session.principal.caller.company, a.company);
    assert!(session.refresh_token.is_some());
    let account = session.principal.account_id.expect("an account");
    assert!(a.w.identity.login(account).await.expect("a login").is_verified, "the letter shows it");
    assert_eq!(
        a.names_of(who(&session)).await,
        ["candidate.registered", "candidate.account_linked"]
    );
    assert_eq!(code(a.confirm(&token, PASSWORD).await), "LETTER_INVALID", "good once");
    let again = a.sign_in(MIRA, PASSWORD).await.expect("signed in");
    assert_eq!(who(&again), who(&session));
    let told = a.w.told(account).await;
    let names: Vec<_> = told.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["account.registered", "account.email_verified", "account.signed_in", "account.signed_in"];
    assert_eq!(names, expected);
    assert_eq!(told[2].1["method"], "REGISTRATION");
}

#[tokio::test]
async fn nothing_that_is_answered_or_kept_tells_whether_an_address_is_known() {
    let a = Applying::new().await;
    a.record("lena@mail.example", 70).await;
    // Of the administrator, of a candidate, of nobody.
    for email in ["ada@acme.example", "lena@mail.example", "nobody@mail.example"] {
        assert_eq!(a.register(email, PASSWORD).await, "ok");
        assert_eq!(a.tokens(email).await.len(), 1, "{email}");
        assert_eq!(a.register(email, PASSWORD).await, "ok", "the same within the minute");
        assert_eq!(a.tokens(email).await.len(), 1, "{email}: one letter a minute");
    }
    assert_eq!(a.count("select count(*) from identity.candidate_registration").await, 3);
    assert_eq!(a.count("select count(*) from identity.candidacy").await, 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_told() {
    let a = Applying::new().await;
    for (email, password) in [("no address", PASSWORD), (MIRA, "short 1"), (MIRA, "onlyletters")] {
        assert_eq!(a.register(email, password).await, "VALIDATION_FAILED");
    }
    let named = Applicant { full_name: " M ".into(), ..applicant(a.company, MIRA, PASSWORD) };
    assert_eq!(code(a.w.identity.register_candidate(named).await), "VALIDATION_FAILED");
    for company in [CompanyId(Uuid::from_u128(404)), CompanyId::NONE] {
        let elsewhere = a.w.identity.register_candidate(applicant(company, MIRA, PASSWORD)).await;
        assert_eq!(code(elsewhere), "COMPANY_NOT_FOUND");
    }
    assert_eq!(a.w.n_letters("CANDIDATE_REGISTRATION", MIRA).await, 0);
}

#[tokio::test]
async fn a_record_that_the_company_has_is_linked_and_no_other_is_made() {
    let a = Applying::new().await;
    let record = a.record(MIRA, 70).await;
    let token = a.lettered(MIRA, PASSWORD).await;
    let session = a.confirm(&token, PASSWORD).await.expect("confirmed");
    assert_eq!(who(&session), record);
    assert_eq!(a.names_of(record).await, ["candidate.registered", "candidate.account_linked"]);
    // Registering again changes nothing, and is a way to sign in.
    a.w.clock.advance(TimeDelta::minutes(1));
    let token = a.lettered(MIRA, "Another horse 2").await;
    assert_eq!(code(a.confirm(&token, "Another horse 2").await), "AUTH_001", "not the login's");
    assert_eq!(who(&a.confirm(&token, PASSWORD).await.expect("the login's")), record);
    assert_eq!(a.names_of(record).await.len(), 2);
    assert_eq!(a.count("select count(*) from identity.account where email like 'mira%'").await, 1);
}

#[tokio::test]
async fn a_login_that_is_there_is_proved_as_in_signing_in() {
    let a = Applying::new().await;
    let ada = "ada@acme.example";
    let token = a.lettered(ada, "Another horse 2").await;
    for _ in 0..5 {
        assert_eq!(code(a.confirm(&token, "Another horse 2").await), "AUTH_001");
    }
    assert_eq!(code(a.confirm(&token, PASSWORD).await), "AUTH_LOCKED");
    a.w.clock.advance(TimeDelta::minutes(15));
    let session = a.confirm(&token, PASSWORD).await.expect("confirmed");
    // Where she is both, she is the member.
    assert!(matches!(session.principal.caller.actor, Actor::Member(_)));
    assert_eq!(a.count("select count(*) from identity.candidacy").await, 1);
}

#[tokio::test]
async fn an_account_that_another_prepared_is_not_made_by_the_letter_alone() {
    let a = Applying::new().await;
    let theirs = a.lettered(MIRA, "Prepared horse 9").await;
    a.w.clock.advance(TimeDelta::minutes(1));
    let own = a.lettered(MIRA, PASSWORD).await;
    assert_eq!(code(a.confirm(&theirs, PASSWORD).await), "AUTH_001");
    assert_eq!(code(a.confirm(&own, PASSWORD).await), "ok");
    assert_eq!(code(a.confirm(&theirs, "Prepared horse 9").await), "AUTH_001");
    assert_eq!(code(a.sign_in(MIRA, "Prepared horse 9").await), "AUTH_001");
}

#[tokio::test]
async fn a_registration_ends_after_a_day_and_is_forgotten() {
    let a = Applying::new().await;
    let token = a.lettered(MIRA, PASSWORD).await;
    a.w.clock.advance(TimeDelta::hours(24));
    assert_eq!(code(a.confirm(&token, PASSWORD).await), "LETTER_INVALID");
    identity::outbox::drain(&a.w.wall, &a.w.bus).await.expect("drained");
    assert_eq!(a.count("select count(*) from identity.candidate_registration").await, 0);
}

#[tokio::test]
async fn who_was_cut_off_while_confirming_goes_on_with_the_same_record() {
    let a = Applying::new().await;
    let token = a.lettered(MIRA, PASSWORD).await;
    let run = async |sql: &'static str| {
        sqlx::query(sql).execute(&a.w.database.pool).await.expect("done");
    };
    run("create table kept as table identity.candidate_registration").await;
    let first = a.confirm(&token, PASSWORD).await.expect("confirmed");
    // As if the process had died before its last transaction.
    run("delete from identity.candidacy").await;
    run("insert into identity.candidate_registration table kept").await;
    assert_eq!(code(a.sign_in(MIRA, PASSWORD).await), "AUTH_001");
    let again = a.confirm(&token, PASSWORD).await.expect("confirmed");
    assert_eq!(who(&again), who(&first));
    assert_eq!(a.names_of(who(&first)).await.len(), 2);
}

#[tokio::test]
async fn a_record_that_is_put_away_lets_nobody_in_and_another_may_follow() {
    let a = Applying::new().await;
    let token = a.lettered(MIRA, PASSWORD).await;
    let session = a.confirm(&token, PASSWORD).await.expect("confirmed");
    let access = session.access_token.expose_secret();
    assert_eq!(code(a.w.identity.verify(access).await), "ok");
    a.archive(who(&session), 71).await;
    assert_eq!(code(a.w.identity.verify_anew(access).await), "INVALID_TOKEN");
    let refresh = &session.refresh_token.as_ref().expect("a refresh token").token;
    assert_eq!(code(a.w.identity.refresh(refresh.expose_secret(), None).await), "AUTH_004");
    assert_eq!(code(a.sign_in(MIRA, PASSWORD).await), "AUTH_001");
    a.w.clock.advance(TimeDelta::minutes(1));
    let token = a.lettered(MIRA, "Another horse 2").await;
    let anew = a.confirm(&token, PASSWORD).await.expect("a new record");
    assert!(who(&anew) != who(&session));
    assert_eq!(code(a.w.identity.verify_anew(access).await), "INVALID_TOKEN", "the old one stays");
}

#[tokio::test]
async fn whoever_has_the_address_of_a_record_is_its_candidate_and_who_had_the_one_before_is_out() {
    let a = Applying::new().await;
    let token = a.lettered(MIRA, PASSWORD).await;
    let session = a.confirm(&token, PASSWORD).await.expect("confirmed");
    let mira = who(&session);
    let profile = GivenProfile {
        full_name: "Mira Okafor".into(),
        email: "lena@mail.example".into(),
        phone: None,
        source: None,
    };
    let change = candidate::Command::ChangeProfile { profile };
    let done = a.w.bus.execute::<Candidate>(&a.hr, mira.0, change, order(72)).await;
    done.expect("changed");
    let before = session.access_token.expose_secret();
    assert!(a.w.identity.verify_anew(before).await.is_err(), "still in");
    assert!(a.sign_in(MIRA, PASSWORD).await.is_err(), "still in");
    let token = a.lettered("lena@mail.example", PASSWORD).await;
    assert_eq!(who(&a.confirm(&token, PASSWORD).await.expect("confirmed")), mira);
    // Whoever had it before can have a record of their own.
    a.w.clock.advance(TimeDelta::minutes(1));
    let token = a.lettered(MIRA, PASSWORD).await;
    assert_ne!(who(&a.confirm(&token, PASSWORD).await.expect("confirmed")), mira);
}

#[tokio::test]
async fn a_candidate_of_two_companies_enters_either_and_the_last_one_without_a_word() {
    let a = Applying::new().await;
    let operator = a.w.identity.ensure_operator("op@colloquy.example", password()).await;
    let operator = operator.expect("an operator");
    let admin = invitee("eve@other.example", Role::CompanyAdmin);
    let other = a.w.identity.register_company(&operator, order(80), "Other".into(), None, admin);
    let other = other.await.expect("registered").company_id;
    let token = a.lettered(MIRA, PASSWORD).await;
    let here = a.confirm(&token, PASSWORD).await.expect("confirmed");
    a.w.clock.advance(TimeDelta::minutes(1));
    let applied = a.w.identity.register_candidate(applicant(other, MIRA, PASSWORD)).await;
    applied.expect("registered");
    let token = a.tokens(MIRA).await.pop().expect("a letter");
    let there = a.confirm(&token, PASSWORD).await.expect("confirmed");
    assert_eq!(there.principal.caller.company, other);
    assert_eq!(here.principal.account_id, there.principal.account_id);
    let anywhere = a.sign_in(MIRA, PASSWORD).await.expect("signed in");
    assert_eq!(anywhere.principal.caller, there.principal.caller);
    let place = Entrance { place: Place::Company(a.company), device: None };
    let entered = a.w.identity.sign_in(MIRA, password(), &place).await.expect("signed in");
    assert_eq!(entered.principal.caller, here.principal.caller);
    let refresh = entered.refresh_token.expect("a refresh token").token;
    let moved = a.w.identity.refresh(refresh.expose_secret(), Some(other)).await.expect("moved");
    assert_eq!(moved.principal.caller, there.principal.caller);
    let account = moved.principal.account_id.expect("an account");
    assert_eq!(a.w.identity.sessions(account).await.expect("listed").len(), 4);
}
