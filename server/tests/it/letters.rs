//! Letters as people get them: from a mail server, and from the folder of whoever tries things out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::authenticator::{self, Authenticator};
use crate::client::{Client, text};
use crate::job::Company;
use crate::world::{World, until};

/// A mail server that keeps what it takes, and refuses mailboxes that start with `nobody`.
struct MailServer {
    address: SocketAddr,
    /// Recipient and text of each message.
    taken: Arc<Mutex<Vec<(String, String)>>>,
    refused: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl MailServer {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (taken, refused) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (keeping, refusing) = (Arc::clone(&taken), Arc::clone(&refused));
        let task = tokio::spawn(async move {
            let mut talking = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                talking.spawn(talk(client, Arc::clone(&keeping), Arc::clone(&refusing)));
            }
        });
        Self { address, taken, refused, task }
    }

    /// The token of the last letter that links to a page.
    async fn token(&self, to: &str, page: &str) -> String {
        until("a letter comes", async || {
            let taken = self.taken.lock().expect("whole");
            let letters = taken.iter().rev().filter(|(recipient, _)| recipient == to);
            letters.filter_map(|(_, text)| token_in(text, page)).next()
        })
        .await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One conversation (RFC 5321).
async fn talk(
    client: TcpStream,
    taken: Arc<Mutex<Vec<(String, String)>>>,
    refused: Arc<Mutex<Vec<String>>>,
) {
    let (reading, mut writing) = client.into_split();
    let mut lines = BufReader::new(reading).lines();
    let mut to = String::new();
    if writing.write_all(b"220 mail.example\r\n").await.is_err() {
        return;
    }
    while let Ok(Some(line)) = lines.next_line().await {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" | "MAIL" | "RSET" | "NOOP" => "250 mail.example",
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                to = address.to_owned();
                if to.starts_with("nobody") {
                    refused.lock().expect("whole").push(to.clone());
                    "550 no such mailbox"
                } else {
                    "250 good"
                }
            }
            "DATA" => {
                let _ = writing.write_all(b"354 go on\r\n").await;
                let mut text = String::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    if line == "." {
                        break;
                    }
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push('\n');
                }
                taken.lock().expect("whole").push((to.clone(), text));
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "500 what",
        };
        if writing.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || verb == "QUIT" {
            return;
        }
    }
}

/// The frontend that letters link to.
pub const APP: &str = "https://app.example.com";

pub fn token_in(text: &str, page: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("{APP}/{page}#token="))?;
    rest.lines().next().map(str::to_owned)
}

async fn done(client: &Client, mutation: &str, input: serde_json::Value) {
    let (first, rest) = mutation.split_at(1);
    let kind = format!("{}{rest}Input", first.to_ascii_uppercase());
    let document = format!(
        "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ isDone errors {{ code message }} }} }}"
    );
    let answer = client.ask(&document, json!({ "input": input })).await;
    let answer = answer.unwrap_or_else(|refused| panic!("{mutation}: {refused:?}"));
    assert_eq!(answer["isDone"], true, "{mutation}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_joins_and_gets_a_new_password_by_letters_from_a_mail_server() {
    let world = World::without_kafka().await;
    let server = MailServer::start().await;
    let smtp = format!("smtp://{}", server.address);
    let settings = [("COLLOQUY_MAIL__SMTP_URL", smtp.as_str()), ("COLLOQUY_MAIL__APP_URL", APP)];
    let mut all = world.start_with("all", &settings);
    let client = all.client().await;
    let company = Company::found(&world, &client, "lights").await;
    let invite = async |email: &str| {
        let input = json!({ "email": email, "fullName": "Cy", "role": "VIEWER" });
        company.admin.carry_out("inviteMember", input, "member { id }").await
    };
    invite("nobody@acme.example").await;
    invite("cy@acme.example").await;
    let token = server.token("cy@acme.example", "accept-invitation").await;
    let input = json!({ "token": token, "password": "First pass 1" });
    let cy = client.enter("acceptInvitation", input).await;
    let login = cy.query("{ login { email isEmailVerified } }", json!({})).await;
    assert_eq!(login["login"]["isEmailVerified"], true, "the letter shows it");

    let unknown = json!({ "email": "stranger@acme.example" });
    done(&client, "requestPasswordReset", unknown).await;
    done(&client, "requestPasswordReset", json!({ "email": "CY@acme.example" })).await;
    let token = server.token("cy@acme.example", "reset-password").await;
    done(&client, "resetPassword", json!({ "token": token, "newPassword": "Second pass 2" })).await;
    until("the session from before is refused", async || {
        let answer = cy.ask("{ login { email } }", json!({})).await;
        (answer.err()?.code == "AUTH_004").then_some(())
    })
    .await;
    let input = json!({ "email": "cy@acme.example", "password": "Second pass 2" });
    let cy = client.enter("signIn", input).await;
    let input = json!({ "oldPassword": "Second pass 2", "newPassword": "Third pass 3" });
    done(&cy, "changePassword", input).await;

    until("the refused letter is given up", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from identity.mail")
            .fetch_one(&world.pool)
            .await
            .expect("counted");
        (waiting == 0).then_some(())
    })
    .await;
    assert_eq!(*server.refused.lock().expect("whole"), ["nobody@acme.example"]);
    let taken = server.taken.lock().expect("whole").clone();
    assert!(taken.iter().all(|(to, _)| to != "stranger@acme.example"));
    let logged = all.said();
    for secret in [token.as_str(), "cy@acme.example", "nobody@acme.example"] {
        assert!(!logged.contains(secret), "{secret} stands in the log");
    }
}

/// The letters in the folder to this address, oldest first.
pub fn letters_to(world: &World, to: &str) -> Vec<String> {
    let folder = world.data.path().join("mailbox");
    let files = std::fs::read_dir(&folder).expect("a folder");
    let mut letters: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    letters.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    letters.sort();
    let letters = letters.iter().map(|path| std::fs::read_to_string(path).expect("a letter"));
    let head = format!("To: {to}\r\n");
    letters.filter(|letter| letter.contains(&head)).collect()
}

/// The letter to this address about something.
pub async fn letter_to(world: &World, to: &str, subject: &str) -> String {
    let head = format!("Subject: {subject}\r\n");
    until("a letter is written", async || {
        letters_to(world, to).into_iter().find(|letter| letter.contains(&head))
    })
    .await
}

/// The token of the first letter to this address for a page.
pub async fn token_of_letter(world: &World, to: &str, page: &str) -> String {
    until("a letter is written", async || {
        letters_to(world, to).iter().find_map(|letter| token_in(letter, page))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_asks_is_let_in_and_its_administrator_enters_with_two_proofs() {
    let world = World::without_kafka().await;
    let mut all = world.start_with("all", &[("COLLOQUY_MAIL__APP_URL", APP)]);
    let client = all.client().await;
    let folder = world.data.path().join("mailbox");
    assert!(all.said().contains(folder.to_str().expect("a path")), "{}", all.said());
    let request = "mutation($input: RequestCompanyInput!) { requestCompany(input: $input) \
                   { requestId errors { code path } } }";
    let input = json!({
        "commandId": uuid::Uuid::new_v4(), "companyName": "Acme", "domain": "acme.example",
        "contactFullName": "Ada", "contactEmail": "ada@acme.example",
    });
    let asked = client.ask(request, json!({ "input": input })).await.expect("asked");
    let refused = client.ask("{ companyRequests { id } }", json!({})).await;
    assert_eq!(refused.expect_err("a stranger").code, "AUTH_REQUIRED");

    let operator = world.operator();
    let input = json!({ "email": operator.0, "password": operator.1 });
    let operator = client.enter("signIn", input).await;
    let listed = operator.query("{ companyRequests { id companyName contactEmail } }", json!({}));
    let listed = listed.await;
    assert_eq!(listed["companyRequests"][0]["id"], asked["requestId"]);
    let approve = "mutation($input: ApproveCompanyRequestInput!) { approveCompanyRequest(input: \
                   $input) { company { name domain } errors { code } } }";
    let input = json!({ "commandId": uuid::Uuid::new_v4(), "requestId": asked["requestId"] });
    let approved = operator.ask(approve, json!({ "input": input })).await.expect("approved");
    assert_eq!(text(&approved, "/company/domain"), "acme.example");

    let token = token_of_letter(&world, "ada@acme.example", "accept-invitation").await;
    let input = json!({ "token": token, "password": "First pass 1" });
    let ada = client.enter("acceptInvitation", input).await;
    let authenticator = Authenticator::enrol(&ada, "First pass 1").await;
    assert_eq!(authenticator.recovery_codes.len(), 10);
    let code = authenticator.code(30);
    let ada = authenticator::sign_in(&client, "ada@acme.example", "First pass 1", &code).await;
    let viewer = ada.query("{ viewer { __typename } login { hasSecondFactor } }", json!({})).await;
    assert_eq!(text(&viewer, "/viewer/__typename"), "MemberViewer");
    assert_eq!(viewer["login"]["hasSecondFactor"], true);
}
