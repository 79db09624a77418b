//! Companies that ask to be let in.

use domain::ids::CompanyRequestId;
use identity::Application;

use crate::*;

fn application(domain: Option<&str>) -> Application {
    Application {
        company_name: " Acme ".into(),
        domain: domain.map(str::to_owned),
        contact_full_name: "Ada Example".into(),
        contact_email: "Ada@acme.example".into(),
    }
}

async fn operator(w: &World) -> Caller {
    let operator = w.identity.ensure_operator("op@colloquy.example", password()).await;
    operator.expect("an operator")
}

async fn ask(w: &World, n: u128, domain: Option<&str>) -> CompanyRequestId {
    let asked = w.identity.request_company(order(n), application(domain)).await;
    asked.expect("asked").0
}

async fn pending(w: &World, operator: &Caller) -> usize {
    w.identity.pending_requests(operator, None, 100).await.expect("listed").len()
}

#[tokio::test]
async fn a_company_is_let_in_once_and_its_administrator_is_invited_by_letter() {
    let w = World::new().await;
    let operator = operator(&w).await;
    let request = ask(&w, 1, Some("ACME.example")).await;
    assert_eq!(ask(&w, 1, Some("ACME.example")).await, request, "a repeat asks once");
    let listed = w.identity.pending_requests(&operator, None, 100).await.expect("listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].application.company_name, "Acme");
    assert_eq!(listed[0].application.contact_email, "ada@acme.example");

    let approved = w.identity.approve_request(&operator, order(2), request, None).await;
    let made = approved.expect("approved").1.expect("a company");
    assert_eq!(pending(&w, &operator).await, 0);
    let again = w.identity.approve_request(&operator, order(3), request, None).await;
    assert!(again.expect("a repeat is harmless").1.is_none());
    let reject = w.identity.reject_request(&operator, order(4), request, "No.".into()).await;
    assert_eq!(code(reject), "COMPANY_REQUEST_ALREADY_APPROVED");
    assert_eq!(ask(&w, 1, Some("ACME.example")).await, request);
    assert_eq!(pending(&w, &operator).await, 0, "what was decided does not come back");

    let letters: Vec<(String, String)> = sqlx::query_as("select letter, email from identity.mail")
        .fetch_all(&w.database.pool)
        .await
        .expect("read");
    assert_eq!(letters, [("INVITATION".to_owned(), "ada@acme.example".to_owned())]);
    let token = made.admin.token.expose_secret();
    let session = w.identity.accept_invitation(token, password(), None).await.expect("joined");
    assert_eq!(session.principal.caller.roles, [Role::CompanyAdmin]);
    assert_eq!(session.principal.caller.company, made.company_id);
}

#[tokio::test]
async fn a_company_whose_domain_is_taken_is_let_in_with_another() {
    let w = World::new().await;
    w.company().await;
    let operator = operator(&w).await;
    let request = ask(&w, 5, Some("acme.example")).await;
    let taken = w.identity.approve_request(&operator, order(6), request, None).await;
    assert_eq!(code(taken), "COMPANY_DOMAIN_TAKEN");
    assert_eq!(pending(&w, &operator).await, 1, "it is not done");
    let other = Some("acme-two.example".to_owned());
    let made = w.identity.approve_request(&operator, order(7), request, other).await;
    assert!(made.expect("approved").1.is_some());
    assert_eq!(pending(&w, &operator).await, 0);
}

#[tokio::test]
async fn a_company_is_turned_away_and_only_operators_decide() {
    let w = World::new().await;
    let (_, session) = w.admin().await;
    let operator = operator(&w).await;
    let request = ask(&w, 5, None).await;
    let member = session.principal.caller;
    let listed = w.identity.pending_requests(&member, None, 100).await;
    assert_eq!(code(listed), "AUTH_003");
    let approve = w.identity.approve_request(&member, order(6), request, None).await;
    assert_eq!(code(approve), "AUTH_003");
    let reject = w.identity.reject_request(&member, order(7), request, "No.".into()).await;
    assert_eq!(code(reject), "AUTH_003");
    let rejected = w.identity.reject_request(&operator, order(8), request, "No.".into()).await;
    assert_eq!(code(rejected), "ok");
    let told = "select email || ': ' || note from identity.mail where letter = 'COMPANY_REJECTED'";
    let told: Vec<String> =
        sqlx::query_scalar(told).fetch_all(&w.database.pool).await.expect("read");
    assert_eq!(told, ["ada@acme.example: No."]);
    assert_eq!(pending(&w, &operator).await, 0);
    let approve = w.identity.approve_request(&operator, order(9), request, None).await;
    assert_eq!(code(approve), "COMPANY_REQUEST_ALREADY_REJECTED");
    let nowhere = CompanyRequestId(Uuid::from_u128(9));
    let approve = w.identity.approve_request(&operator, order(10), nowhere, None).await;
    assert_eq!(code(approve), "COMPANY_REQUEST_NOT_FOUND");
}

#[tokio::test]
async fn a_thousand_requests_wait_and_no_more_and_all_are_shown_by_pages() {
    let w = World::new().await;
    let operator = operator(&w).await;
    let first = ask(&w, 1, None).await;
    sqlx::query(
        "insert into identity.company_request
           (request_id, company_name, contact_name, contact_email, requested_at)
         select gen_random_uuid(), 'Acme', 'Ada', 'ada@acme.example', $1
           from generate_series(1, 999)",
    )
    .bind(w.bus.now())
    .execute(&w.database.pool)
    .await
    .expect("filled");
    let head = w.store.head().await.expect("a position");
    let refused = w.identity.request_company(order(2), application(None)).await;
    assert_eq!(code(refused), "COMPANY_REQUESTS_FULL");
    assert_eq!(w.store.head().await.expect("a position"), head, "and the log does not grow");
    assert_eq!(ask(&w, 1, None).await, first, "a repeat is none more");
    let (mut shown, mut after) = (std::collections::HashSet::new(), None);
    loop {
        let page = w.identity.pending_requests(&operator, after, 100).await.expect("listed");
        let Some(last) = page.last() else { break };
        after = Some(last.request_id);
        shown.extend(page.iter().map(|request| request.request_id));
    }
    assert_eq!(shown.len(), 1000);
    w.identity.reject_request(&operator, order(3), first, "No.".into()).await.expect("rejected");
    ask(&w, 2, None).await;
    let gone = w.identity.pending_requests(&operator, Some(first), 100).await;
    assert_eq!(code(gone), "VALIDATION_FAILED");
}
