//! Who runs the platform, in companies: by two proofs, told to the company, and never by a provider's
//! word.

use domain::ids::AccountId;
use identity::{Place, Session};

use crate::second_factor::{by_two_proofs, enrol};
use crate::*;

const OP: &str = "op@colloquy.example";
const ADA: &str = "ada@acme.example";

fn at(company: CompanyId) -> Entrance {
    Entrance { place: Place::Company(company), device: None }
}

fn account(session: &Session) -> AccountId {
    session.principal.account_id.expect("an account")
}

/// What the company's own history says, by name and actor.
async fn history(w: &World, company: CompanyId) -> Vec<(String, String)> {
    let stream = StreamId::new(company, "company", company.0);
    let events = w.store.read_stream(&stream, Version(0), 100).await.expect("read");
    let of = |event: &StoredEvent| (event.name.to_string(), event.cause.actor.to_string());
    events.iter().map(of).collect()
}

#[tokio::test]
async fn an_operator_enters_a_company_by_two_proofs_and_its_history_says_so() {
    let w = World::new().await;
    let company = w.company().await.company_id;
    let outside = w.identity.sign_in(OP, password(), &anywhere()).await.expect("in");
    assert_eq!(outside.principal.caller.company, CompanyId::NONE);
    let refused = w.identity.sign_in(OP, password(), &at(company)).await;
    assert_eq!(code(refused), "SECOND_FACTOR_MISSING");
    let refresh = outside.refresh_token.as_ref().expect("one").token.expose_secret();
    let refused = w.identity.refresh(refresh, Some(company)).await;
    assert_eq!(code(refused), "SECOND_FACTOR_MISSING");
    assert_eq!(history(&w, company).await.len(), 1, "nobody was in");

    // Whoever has the password alone can set a second proof up, and comes in nowhere by that.
    let codes = enrol(&w, account(&outside)).await;
    assert_eq!(w.n_letters("SECOND_FACTOR_ENROLLED", OP).await, 1, "the holder is told");
    let refused = w.identity.refresh(refresh, Some(company)).await;
    assert_eq!(code(refused), "SECOND_FACTOR_MISSING");
    assert_eq!(history(&w, company).await.len(), 1, "nobody was in");

    let outside = by_two_proofs(&w, OP, &anywhere(), &codes[0]).await.expect("in");
    let refresh = refresh_token(&outside);
    let nowhere = w.identity.refresh(refresh, Some(CompanyId(Uuid::from_u128(4)))).await;
    assert_eq!(code(nowhere), "COMPANY_NOT_FOUND");
    let inside = w.identity.refresh(refresh, Some(company)).await.expect("inside");
    let caller = &inside.principal.caller;
    assert_eq!(caller.company, company);
    assert_eq!(caller.actor, Actor::Operator(account(&outside)));
    let token = inside.access_token.expose_secret();
    assert_eq!(w.identity.verify(token).await.expect("good").caller, *caller);
    let actor = caller.actor.to_string();
    let entered = ("company.operator_entered".to_owned(), actor);
    assert_eq!(history(&w, company).await.last(), Some(&entered));

    // Staying is no entering.
    let refresh = inside.refresh_token.expect("one").token;
    let stayed = w.identity.refresh(refresh.expose_secret(), None).await.expect("prolonged");
    assert_eq!(stayed.principal.caller.company, company);
    assert_eq!(history(&w, company).await.len(), 2);
}

/// How often somebody came into a company by what its history says.
async fn n_entries(w: &World, company: CompanyId) -> usize {
    let told = history(w, company).await;
    told.iter().filter(|(name, _)| name == "company.operator_entered").count()
}

fn refresh_token(session: &Session) -> &str {
    session.refresh_token.as_ref().expect("one").token.expose_secret()
}

#[tokio::test]
async fn a_repeat_that_names_a_company_is_told_to_it_and_once_of_a_session() {
    let w = World::new().await;
    let company = w.company().await.company_id;
    let outside = w.identity.sign_in(OP, password(), &anywhere()).await.expect("in");
    let codes = enrol(&w, account(&outside)).await;
    let outside = by_two_proofs(&w, OP, &anywhere(), &codes[0]).await.expect("in");
    let first = refresh_token(&outside);
    let stayed = w.identity.refresh(first, None).await.expect("prolonged");
    assert_eq!(stayed.principal.caller.company, CompanyId::NONE);
    assert_eq!(n_entries(&w, company).await, 0);
    let inside = w.identity.refresh(first, Some(company)).await.expect("a lost answer");
    assert_eq!(inside.principal.caller.company, company);
    assert_eq!(n_entries(&w, company).await, 1);
    w.identity.refresh(first, Some(company)).await.expect("another lost answer");
    w.identity.refresh(refresh_token(&inside), Some(company)).await.expect("prolonged");
    assert_eq!(n_entries(&w, company).await, 1);
    let over = w.identity.refresh(first, Some(company)).await;
    assert_eq!(code(over), "AUTH_004", "what follows was used");
}

#[tokio::test]
async fn who_is_no_member_any_more_but_runs_the_platform_stays_as_that_and_is_told() {
    let w = World::new().await;
    let (company, session) = w.admin().await;
    let (company, member) = (company.company_id, company.admin.member_id);
    let codes = enrol(&w, account(&session)).await;
    let session = by_two_proofs(&w, ADA, &anywhere(), &codes[0]).await.expect("in");
    sqlx::query("insert into identity.operator (account_id) values ($1)")
        .bind(account(&session).0)
        .execute(&w.database.pool)
        .await
        .expect("made one");
    let stayed = w.identity.refresh(refresh_token(&session), None).await.expect("prolonged");
    assert_eq!(stayed.principal.caller.actor, Actor::Member(member));
    assert_eq!(n_entries(&w, company).await, 0, "a member");
    let other = Actor::Operator(AccountId(Uuid::from_u128(5)));
    let other = Caller::new(company, other, vec![]);
    let deactivate = member::Command::Deactivate;
    w.bus.execute::<Member>(&other, member.0, deactivate, order(9)).await.expect("deactivated");
    let stayed = w.identity.refresh(refresh_token(&stayed), None).await.expect("prolonged");
    assert_eq!(stayed.principal.caller.actor, Actor::Operator(account(&session)));
    assert_eq!(stayed.principal.caller.company, company);
    assert_eq!(n_entries(&w, company).await, 1);
}

#[tokio::test]
async fn a_company_s_provider_makes_nobody_an_operator() {
    let stage = crate::sign_on::Stage::set().await;
    let w = &stage.w;
    let first = stage.sign_on().await.expect("in");
    sqlx::query(
        "with proof as (insert into identity.second_factor (account_id, factor_id, confirmed_at)
                        values ($1, $1, now()))
         insert into identity.operator (account_id) values ($1)",
    )
    .bind(account(&first).0)
    .execute(&w.database.pool)
    .await
    .expect("made one");
    let member = stage.company.admin.member_id;
    let other = Actor::Operator(AccountId(Uuid::from_u128(5)));
    let other = Caller::new(stage.company.company_id, other, vec![]);
    let deactivate = member::Command::Deactivate;
    w.bus.execute::<Member>(&other, member.0, deactivate, order(9)).await.expect("deactivated");
    assert_eq!(code(stage.sign_on().await), "SIGN_ON_REFUSED");
}
