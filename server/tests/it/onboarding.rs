//! How a company comes in, from the first request until each of its people does what their role is
//! for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::authenticator::{self, Authenticator};
use crate::client::{Client, text};
use crate::job::PASSWORD;
use crate::letters::{APP, letter_to, letters_to, token_in, token_of_letter};
use crate::provider::{Provider, sign_on};
use crate::world::{World, until};

/// Asks for a company, as anybody may; the request's id.
async fn ask_for(client: &Client, name: &str, contact: &str) -> Value {
    let request = "mutation($input: RequestCompanyInput!) { requestCompany(input: $input) \
                   { requestId errors { code path } } }";
    let input = json!({
        "commandId": uuid::Uuid::new_v4(), "companyName": name,
        "contactFullName": "Ada", "contactEmail": contact,
    });
    client.query(request, json!({ "input": input })).await["requestId"].take()
}

/// Invites one more, and brings the answer to the letter.
async fn joins(world: &World, admin: &Client, first: &str, role: &str) -> Client {
    let email = invited(admin, first, role).await;
    let token = token_of_letter(world, &email, "accept-invitation").await;
    let input = json!({ "token": token, "password": PASSWORD });
    admin.stranger().enter("acceptInvitation", input).await
}

/// Invites one more; the address.
async fn invited(admin: &Client, first: &str, role: &str) -> String {
    let email = format!("{first}@acme.example");
    let input = json!({ "email": email, "fullName": first, "role": role });
    admin.carry_out("inviteMember", input, "member { id }").await;
    email
}

async fn by_password(client: &Client, email: &str) -> Client {
    client.enter("signIn", json!({ "email": email, "password": PASSWORD })).await
}

async fn code(who: &Client, document: &str) -> String {
    let answer = who.ask(document, json!({})).await;
    answer.map_or_else(|refused| refused.code, |_| "ok".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_comes_in_and_each_of_its_people_sees_what_their_role_is_for() {
    let world = World::without_kafka().await;
    let provider = Provider::start().await;
    let settings =
        [("COLLOQUY_MAIL__APP_URL", APP), ("COLLOQUY_SIGN_ON__ISSUERS", provider.issuer.as_str())];
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;

    // Two strangers ask. One is turned away and told why, the other is let in.
    let odd = ask_for(&client, "Odd", "odd@odd.example").await;
    let acme = ask_for(&client, "Acme", "ada@acme.example").await;
    let (email, password) = world.operator();
    let operator = client.enter("signIn", json!({ "email": email, "password": password })).await;
    let input = json!({ "requestId": odd, "reason": "The register knows no such company." });
    decide(&operator, "rejectCompanyRequest", input, "requestId").await;
    let letter = letter_to(&world, "odd@odd.example", "Your request").await;
    assert!(letter.contains("The register knows no such company."), "{letter}");
    let input = json!({ "requestId": acme });
    let approved = decide(&operator, "approveCompanyRequest", input, "company { id name }").await;
    assert_eq!(text(&approved, "/company/name"), "Acme");
    let company = text(&approved, "/company/id");

    // The first administrator takes the letter's invitation up, and invites one person per role.
    let token = token_of_letter(&world, "ada@acme.example", "accept-invitation").await;
    let input = json!({ "token": token, "password": PASSWORD });
    let ada = client.enter("acceptInvitation", input).await;
    provider.configure(&ada).await;
    let bea = joins(&world, &ada, "bea", "COMPANY_ADMIN").await;
    joins(&world, &ada, "hana", "HR").await;
    joins(&world, &ada, "hugo", "HIRING_MANAGER").await;
    joins(&world, &ada, "aude", "AUDITOR").await;

    // Emil's letter is lost: he is invited once more, and the first link is dead.
    let emil = invited(&ada, "emil", "EMPLOYEE").await;
    let lost = token_of_letter(&world, &emil, "accept-invitation").await;
    let member = member_of(&ada, &emil).await;
    let input = json!({ "memberId": member });
    let renewed = ada.carry_out("renewInvitation", input.clone(), "invitationToken").await;
    let fresh = until("another letter comes", async || {
        let letters = letters_to(&world, &emil);
        let mut tokens = letters.iter().filter_map(|letter| token_in(letter, "accept-invitation"));
        tokens.find(|token| *token != lost)
    })
    .await;
    let accept = crate::client::sign_in_document("acceptInvitation");
    for dead in [lost.as_str(), "garbage"] {
        let input = json!({ "token": dead, "password": PASSWORD });
        let refused = client.ask(&accept, json!({ "input": input })).await.expect_err("dead");
        assert_eq!(refused.code, "INVITATION_INVALID");
    }
    assert_ne!(text(&renewed, "/invitationToken"), fresh, "two tokens for two ways");
    client.enter("acceptInvitation", json!({ "token": fresh, "password": PASSWORD })).await;
    let refused = ada.order("renewInvitation", input, "member { id }").await;
    assert_eq!(refused.expect_err("he has joined").code, "MEMBER_ALREADY_JOINED");

    // Each signs in: by password, by two proofs, once by a recovery code, by the company's provider.
    let authenticator = Authenticator::enrol(&bea, PASSWORD).await;
    let bea = "bea@acme.example";
    let by_code = authenticator.code(30);
    authenticator::sign_in(&client, bea, PASSWORD, &by_code).await;
    let recovery = &authenticator.recovery_codes[0];
    let admin = authenticator::sign_in(&client, bea, PASSWORD, recovery).await;
    let step = authenticator::first_step(&client, bea, PASSWORD, None).await;
    let again = json!({ "input": { "token": step, "code": recovery } });
    let finish = crate::client::sign_in_document("finishSignIn");
    let refused = client.ask(&finish, again).await.expect_err("used");
    assert_eq!(refused.code, "SECOND_FACTOR_WRONG");
    let vera = invited(&ada, "vera", "VIEWER").await;
    provider.is_visited_by("person 9", &vera);
    let viewer = sign_on(&client, company).await.expect("in");
    let hr = by_password(&client, "hana@acme.example").await;
    let manager = by_password(&client, "hugo@acme.example").await;
    let employee = by_password(&client, &emil).await;
    let auditor = by_password(&client, "aude@acme.example").await;

    // Emil gets a manager, who must be somebody of the company who is there.
    let profile = |manager: &str| {
        json!({
            "memberId": member, "fullName": "Emil Berg", "department": "Lamps", "managerId": manager
        })
    };
    let known = "member { fullName department manager { email } }";
    let hugo = member_of(&ada, "hugo@acme.example").await;
    let changed = hr.carry_out("updateMember", profile(&hugo), known).await;
    let expected = json!({
        "fullName": "Emil Berg", "department": "Lamps", "manager": { "email": "hugo@acme.example" }
    });
    assert_eq!(changed["member"], expected);
    let refused = hr.order("updateMember", profile(&member), known).await.expect_err("himself");
    assert_eq!(refused.code, "MEMBER_NO_SUCH_MANAGER");

    // Who looks after people sees when they came last, and nobody else does.
    let last = async |who: &Client| {
        let found = who.query("{ members { nodes { email lastSignedInAt } } }", json!({})).await;
        let members = found["members"]["nodes"].as_array().expect("a list").clone();
        let came = members.iter().filter(|member| !member["lastSignedInAt"].is_null());
        came.count()
    };
    assert_eq!((last(&hr).await, last(&viewer).await), (7, 0));

    // What each sees, and what each is refused.
    let input = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    hr.carry_out("createCandidate", input, "candidate { id }").await;
    world.until_projected().await;
    let people = BTreeMap::from([
        ("COMPANY_ADMIN", (admin, Some(1), "{ companyRequests { id } }")),
        ("HR", (hr, Some(1), "{ signOnProvider { issuer } }")),
        ("HIRING_MANAGER", (manager, Some(0), "{ signOnProvider { issuer } }")),
        ("EMPLOYEE", (employee, Some(0), "{ hrDashboard { __typename } }")),
        ("VIEWER", (viewer, Some(1), "{ signOnProvider { issuer } }")),
        ("AUDITOR", (auditor, Some(1), "{ jobs { nodes { id } } }")),
        ("SYSTEM_ADMIN", (operator, None, "{ candidates { totalCount } }")),
    ]);
    for (role, (who, n_candidates, refused)) in people {
        let document = "{ viewer { __typename ... on MemberViewer { roles companyId } } }";
        let seen = who.query(document, json!({})).await;
        if let Some(n) = n_candidates {
            assert_eq!(seen["viewer"]["roles"], json!([role]));
            assert_eq!(seen["viewer"]["companyId"], company);
            let found = who.query("{ candidates { totalCount } }", json!({})).await;
            assert_eq!(found["candidates"]["totalCount"], n, "{role}");
        } else {
            assert_eq!(seen["viewer"]["__typename"], "OperatorViewer");
        }
        assert_eq!(code(&who, refused).await, "AUTH_003", "{role}: {refused}");
    }

    // Bea loses her phone. Nobody takes the own second proof away like this, and Ada does it for her.
    let document = "mutation($input: RemoveMemberSecondFactorInput!) { removeMemberSecondFactor(\
                    input: $input) { isDone errors { code } } }";
    let take = async |who: &Client, whose: &str| {
        let input = json!({ "memberId": member_of(&ada, whose).await });
        let answer = who.ask(document, json!({ "input": input })).await;
        answer.map_or_else(|refused| refused.code, |_| "ok".to_owned())
    };
    let present = by_password(&client, "hana@acme.example").await;
    assert_eq!(take(&present, bea).await, "AUTH_003", "HR looks after no logins");
    assert_eq!(take(&ada, "ada@acme.example").await, "AUTH_003", "the own one");
    assert_eq!(take(&ada, bea).await, "ok");
    letter_to(&world, bea, "Your second proof was taken away").await;
    let bea = by_password(&client, bea).await;
    let login = bea.query("{ login { hasSecondFactor } }", json!({})).await;
    assert_eq!(login["login"]["hasSecondFactor"], false);
    until("the log tells of it", async || {
        let told = world.log_of("account").await;
        told.iter().any(|e| e.event_type == "account.second_factor_taken_away").then_some(())
    })
    .await;
    all.is_running();
}

/// A decision about a request; it answers no version.
async fn decide(operator: &Client, mutation: &str, mut input: Value, selection: &str) -> Value {
    let (first, rest) = mutation.split_at(1);
    let of = format!("{}{rest}Input", first.to_ascii_uppercase());
    input["commandId"] = json!(uuid::Uuid::new_v4());
    let document = format!(
        "mutation($input: {of}!) {{ {mutation}(input: $input) {{ {selection} errors {{ code }} }} }}"
    );
    operator.query(&document, json!({ "input": input })).await
}

/// The member of this address.
async fn member_of(who: &Client, email: &str) -> String {
    until("the member is shown", async || {
        let found = who.query("{ members { nodes { id email } } }", json!({})).await;
        let members = found["members"]["nodes"].as_array()?.clone();
        let member = members.iter().find(|member| member["email"] == email)?;
        member["id"].as_str().map(str::to_owned)
    })
    .await
}
