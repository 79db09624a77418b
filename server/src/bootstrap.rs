//! What a new installation starts with: its operator, and in the embedded mode a company to try
//! things out with.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use commands::{Order, new_id};
use domain::caller::Role;
use eventlog::clock::SystemClock;
use identity::{Identity, IdentityError, Invitee};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Sign-in data of the development company, kept in the data folder.
#[derive(Clone, Serialize, Deserialize)]
pub struct DevelopmentLogins {
    /// The command that makes the company, so that a start that was cut off goes on.
    command_id: uuid::Uuid,
    /// The platform's operator.
    pub operator: Login,
    /// The company's administrator.
    pub administrator: Login,
}

/// Address and password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// Address to sign in with.
    pub email: String,
    /// Password.
    pub password: String,
}

/// Makes the operator that the settings name, if there is none with that address.
///
/// # Errors
/// When the password breaks a rule or the database cannot be reached.
pub async fn operator(config: &Config, identity: &Identity) -> anyhow::Result<()> {
    if config.operator.email.is_empty() {
        return Ok(());
    }
    let password = SecretString::from(config.operator.password.expose());
    match identity.ensure_operator(&config.operator.email, password).await {
        Ok(_) => Ok(()),
        Err(IdentityError::BadCredentials) => {
            tracing::warn!("operator.password is not the password of the operator's account");
            Ok(())
        }
        Err(error) => Err(error).context("the operator cannot be made"),
    }
}

/// Makes the development company with an operator and an administrator, once, and answers how to
/// sign in. A start that was cut off is finished by the next one.
///
/// # Errors
/// When the database cannot be reached or the data folder cannot be written.
pub async fn development(
    config: &Config,
    identity: &Identity,
) -> anyhow::Result<DevelopmentLogins> {
    let file = config.data_dir.join("development-logins.json");
    let logins = if file.exists() {
        serde_json::from_slice(&std::fs::read(&file)?)
            .with_context(|| format!("{} is damaged; delete it for new logins", file.display()))?
    } else {
        let logins = DevelopmentLogins {
            command_id: new_id(&SystemClock),
            operator: login("operator@colloquy.example"),
            administrator: login("admin@acme.example"),
        };
        write_private(&file, &serde_json::to_vec_pretty(&logins)?)?;
        logins
    };
    let password = SecretString::from(logins.operator.password.clone());
    let operator = identity.ensure_operator(&logins.operator.email, password).await?;
    let administrator = Invitee {
        email: logins.administrator.email.clone(),
        full_name: "Ada Administrator".to_owned(),
        role: Role::CompanyAdmin,
        department: None,
    };
    let order = Order::of_client(logins.command_id, b"development".to_vec());
    let name = "Acme (development)".to_owned();
    let company = identity
        .register_company(&operator, order, name, Some("acme.example".to_owned()), administrator)
        .await?;
    let token = secrecy::ExposeSecret::expose_secret(&company.admin.token).to_owned();
    // Whoever took it up may have another password by now.
    if !identity.is_taken_up(&token).await? {
        let password = SecretString::from(logins.administrator.password.clone());
        let taken_up = identity.take_up(&token, password).await;
        taken_up.context("the development company cannot be made")?;
    }
    Ok(logins)
}

fn login(email: &str) -> Login {
    let random: [u8; 12] = rand::random();
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Login { email: email.to_owned(), password: format!("Dev-1{password}") }
}

fn write_private(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    std::io::Write::write_all(&mut written, bytes)?;
    written.sync_all()?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
