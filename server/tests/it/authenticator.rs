//! A person's second proof: an authenticator's codes and the recovery codes, each good once.

use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use crate::client::{Client, text};

pub struct Authenticator {
    totp: Totp,
    pub recovery_codes: Vec<String>,
}

impl Authenticator {
    /// Lets signing in to this login ask for a code from now on.
    pub async fn enrol(who: &Client, password: &str) -> Self {
        let begin = "mutation($input: BeginSecondFactorInput!) { beginSecondFactor(input: $input) \
                     { secret url errors { code } } }";
        let begun = who.query(begin, json!({ "input": { "password": password } })).await;
        let secret = Secret::try_from_base32(text(&begun, "/secret")).expect("base 32");
        let totp = Builder::new().with_secret(secret).with_account_name("me").build();
        let mut made = Self { totp: totp.expect("an authenticator"), recovery_codes: vec![] };
        let confirm = "mutation($input: ConfirmSecondFactorInput!) { confirmSecondFactor(input: \
                       $input) { recoveryCodes errors { code } } }";
        let input = json!({ "code": made.code(0) });
        let confirmed = who.query(confirm, json!({ "input": input })).await;
        let codes = confirmed["recoveryCodes"].as_array().expect("codes");
        let codes = codes.iter().map(|code| code.as_str().expect("a code").to_owned());
        made.recovery_codes = codes.collect();
        made
    }

    /// The code of so many seconds from now. That of the next half minute is good by now, and was not
    /// used to confirm.
    pub fn code(&self, ahead: i64) -> String {
        let at = crate::job::now().timestamp() + ahead;
        self.totp.generate(u64::try_from(at).expect("after 1970")).to_string()
    }
}

/// The first step of signing in, which asks for a code: the token of the second.
pub async fn first_step(
    client: &Client,
    email: &str,
    password: &str,
    company: Option<&str>,
) -> String {
    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) \
                   { accessToken secondStepToken errors { code } } }";
    let input = json!({ "email": email, "password": password, "companyId": company });
    let step = client.query(sign_in, json!({ "input": input })).await;
    assert!(step["accessToken"].is_null(), "nobody is in yet");
    text(&step, "/secondStepToken").to_owned()
}

/// Both steps.
pub async fn sign_in(client: &Client, email: &str, password: &str, code: &str) -> Client {
    let token = first_step(client, email, password, None).await;
    client.enter("finishSignIn", json!({ "token": token, "code": code })).await
}
