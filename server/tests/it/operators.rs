//! Who runs the platform, in a company: by two proofs, and not without the company knowing.

use serde_json::json;

use crate::authenticator::{self, Authenticator, first_step};
use crate::client::text;
use crate::job::Company;

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_the_platform_enters_a_company_by_two_proofs_and_its_history_tells() {
    let (world, mut all, client, people) = Company::lights().await;
    let company = people.admin.query("{ company { id } }", json!({})).await;
    let company = text(&company, "/company/id").to_owned();
    let (email, password) = world.operator();
    let entries = async || {
        let told = world.log_of("company").await;
        told.iter().filter(|event| event.event_type == "company.operator_entered").count()
    };

    // Outside, there is nothing of any company to be seen, and one proof does not lead in.
    let list = "{ candidates { totalCount } members { totalCount } }";
    let refused = people.operator.ask(list, json!({})).await.expect_err("outside");
    assert_eq!(refused.code, "AUTH_003");
    let companies = "{ companies(first: 1) { totalCount nodes { id name } } }";
    world.until_projected().await;
    let there_are = people.operator.query(companies, json!({})).await;
    let told = json!({ "totalCount": 1, "nodes": [{ "id": company, "name": "lights" }] });
    assert_eq!(there_are["companies"], told);
    let refused =
        people.admin.ask(companies, json!({})).await.expect_err("one company sees itself");
    assert_eq!(refused.code, "AUTH_003");
    let sign_in = crate::client::sign_in_document("signIn");
    let input = json!({ "email": email, "password": password, "companyId": company });
    let refused = client.ask(&sign_in, json!({ "input": input })).await.expect_err("one proof");
    assert_eq!(refused.code, "SECOND_FACTOR_MISSING");
    assert_eq!(entries().await, 0);

    let authenticator = Authenticator::enrol(&people.operator, &password).await;
    let absent = format!("comp_{}", uuid::Uuid::new_v4().simple());
    let nowhere = first_step(&client, &email, &password, Some(&absent)).await;
    let input = json!({ "token": nowhere, "code": authenticator.recovery_codes[0] });
    let finish = crate::client::sign_in_document("finishSignIn");
    let refused = client.ask(&finish, json!({ "input": input })).await.expect_err("no company");
    assert_eq!(refused.code, "COMPANY_NOT_FOUND");
    let step = first_step(&client, &email, &password, Some(&company)).await;
    let input = json!({ "token": step, "code": authenticator.recovery_codes[1] });
    let inside = client.enter("finishSignIn", input).await;
    assert_eq!(entries().await, 1, "told before anything was shown");

    let document = "{ viewer { ... on OperatorViewer { companyId } } company { id } }";
    let seen = inside.query(document, json!({})).await;
    assert_eq!(seen["viewer"]["companyId"], json!(company));
    assert_eq!(seen["company"]["id"], json!(company));
    let input = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    inside.carry_out("createCandidate", input, "candidate { id }").await;
    world.until_projected().await;
    let seen = inside.query(list, json!({})).await;
    assert_eq!(
        (&seen["candidates"]["totalCount"], &seen["members"]["totalCount"]),
        (&json!(1), &json!(5))
    );
    let by: String =
        sqlx::query_scalar("select actor from es_event where event_type = 'candidate.registered'")
            .fetch_one(&world.pool)
            .await
            .expect("one event");
    assert!(by.starts_with("operator:"), "{by}");

    // The company sees who came in.
    let history = "{ companyHistory { totalCount nodes { eventType actor { kind } } } }";
    let told = people.admin.query(history, json!({})).await;
    let made = json!({ "eventType": "company.registered", "actor": { "kind": "OPERATOR" } });
    let came = json!({ "eventType": "company.operator_entered", "actor": { "kind": "OPERATOR" } });
    assert_eq!(told["companyHistory"], json!({ "totalCount": 2, "nodes": [made, came] }));
    let refused = people.hr.ask(history, json!({})).await.expect_err("no auditor");
    assert_eq!(refused.code, "AUTH_003");

    // What would outlast the visit is not theirs: a login is made by the letter alone.
    let input = json!({
        "email": "eve@lights.example", "fullName": "Eve", "role": "COMPANY_ADMIN",
    });
    let shown = "member { id } invitationToken";
    let invited = inside.carry_out("inviteMember", input, shown).await;
    let input = json!({ "memberId": text(&invited, "/member/id") });
    let renewed = inside.carry_out("renewInvitation", input, shown).await;
    for answer in [invited, renewed] {
        assert_eq!(answer["invitationToken"], json!(null));
    }

    // The talk itself is not theirs, nor is a verdict: it has a signer, who is a member.
    let job = people.open_job().await;
    let round = people.schedule(&job, "Lena").await;
    let refused = inside.order("joinInterview", round.input(), "version").await;
    assert_eq!(refused.expect_err("no interviewer").code, "AUTH_003");

    // Without the second proof there is no way in any more, not even for who is inside.
    let code = &authenticator.recovery_codes[2];
    let input = json!({ "password": password, "code": code });
    let remove = "mutation($input: RemoveSecondFactorInput!) { removeSecondFactor(input: $input) \
                  { isDone errors { code } } }";
    let outside = authenticator::sign_in(&client, &email, &password, &authenticator.code(30)).await;
    outside.query(remove, json!({ "input": input })).await;
    crate::world::until("who is inside is refused", async || {
        let answer = inside.ask(list, json!({})).await;
        (answer.err()?.code == "INVALID_TOKEN").then_some(())
    })
    .await;
    all.is_running();
}
