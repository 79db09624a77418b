//! The settings: one typed tree, read once. File, then environment, then the well-known aliases
//! `DATABASE_URL`, `EVENTSTORE_URL` and `KAFKA_BOOTSTRAP`. `deploy/config.example.toml` lists every key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::Value;
use identity::{LifetimeInvalid, Lifetimes};
use serde::{Deserialize, Deserializer, Serialize};

pub use crate::rates::Limits;

/// All settings. Unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the private database, files and generated secrets.
    pub data_dir: PathBuf,
    /// The API's address and limits.
    pub http: Http,
    /// How much may be asked.
    pub limits: Limits,
    /// The log and the read models.
    pub database: Database,
    /// The private database, where no other is given.
    pub embedded: Embedded,
    /// Where the log is, if not in the database.
    pub event_store: EventStore,
    /// Kafka; without it the log itself is the feed.
    pub kafka: Kafka,
    /// Letters to people.
    pub mail: Mail,
    /// How long tokens and sessions live.
    pub sessions: Sessions,
    /// Providers of OpenID Connect.
    pub sign_on: SignOn,
    /// Keys.
    pub secrets: Secrets,
    /// The log's tree and its checkpoints.
    pub proof: Proof,
    /// Files of candidates.
    pub files: Files,
    /// Who asks, judges and proposes.
    pub ai: Ai,
    /// The first operator of the platform.
    pub operator: Operator,
    /// The company that a new installation starts with, for trying things out.
    pub development: Development,
    /// What is logged.
    pub log: Log,
}

/// The API's address and limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address listened on.
    pub listen: SocketAddr,
    /// Address at which `/metrics` is told, by every role; empty tells it at `listen`.
    pub metrics_listen: String,
    /// Whether there is a page for trying the API by hand, `/graphiql`.
    pub explorer: bool,
    /// Origins beside the own one whose pages may call the API, as a list or with commas.
    #[serde(deserialize_with = "listed")]
    pub cors_origins: Vec<String>,
    /// How long the head of a request may take, and a kept connection may wait for its next one, in
    /// seconds.
    pub head_seconds: u64,
    /// How long a client may take nothing of what is sent to it, in seconds.
    pub stall_seconds: u64,
    /// A JSON file of the only documents that are carried out; empty carries out any.
    pub trusted_documents: String,
    /// Addresses and networks of proxies whose `X-Forwarded-For` is believed, as a list or with commas.
    #[serde(deserialize_with = "listed")]
    pub trusted_proxies: Vec<String>,
}

/// The log and the read models.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://…`; empty starts a private one.
    pub url: Secret,
    /// `postgres://…` of the role that reads the read models; empty makes one.
    pub read_url: Secret,
    /// `postgres://…` of the role that uses the tables of logins; empty makes one.
    pub identity_url: Secret,
    /// Connections of a process for writing read models, again as many for reading them, and again for
    /// identity.
    pub max_connections: u32,
}

/// The private database.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// Folder of `postgres` and `initdb`; empty searches for the newest.
    pub pg_bin: String,
}

/// Where the log is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventStore {
    /// Empty is the database; `esdb://…` or `kurrentdb://…` an EventStoreDB; `memory` this process.
    pub url: Secret,
    /// First part of the names of streams in an EventStoreDB, so that logs can share a server.
    pub prefix: String,
}

impl EventStore {
    /// Whether the log lives in the process alone.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.url.expose() == "memory"
    }
}

/// Kafka.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kafka {
    /// `host:port`, separated by commas; empty works without Kafka.
    pub bootstrap: String,
    /// First part of topic names, so that environments can share a broker.
    pub prefix: String,
    /// What `ce_dataschema` begins with.
    pub schema_base: String,
    /// Copies of each partition; 0 leaves it to the broker.
    pub replication: i32,
    /// Whether every topic has a twin without the data of persons.
    pub public_topics: bool,
    /// How long a standby relay waits for the leader's sign of life, in seconds.
    pub lease_seconds: u64,
}

/// Letters to people: invitations, verification, new passwords.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// `smtps://user:password@host` or `smtp://host?tls=required`; empty writes letters into files.
    pub smtp_url: Secret,
    /// Who they come from.
    pub from: String,
    /// The frontend's address, which links in letters begin with; empty shows tokens alone.
    pub app_url: String,
    /// Folder of letters that go into files; empty is `mailbox` in the data folder.
    pub mailbox: String,
}

/// How long tokens and sessions live.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Of a person's access token, in minutes.
    pub access_minutes: u32,
    /// Of the access token for one interview, in minutes.
    pub interview_minutes: u32,
    /// How long a session lives that is not prolonged, in days.
    pub refresh_days: u32,
}

impl Sessions {
    /// The same as identity has it.
    ///
    /// # Errors
    /// [`LifetimeInvalid`].
    pub fn lifetimes(&self) -> Result<Lifetimes, LifetimeInvalid> {
        let minutes = |n: u32| TimeDelta::minutes(n.into());
        let refresh = TimeDelta::days(self.refresh_days.into());
        Lifetimes::new(minutes(self.access_minutes), minutes(self.interview_minutes), refresh)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { access_minutes: 15, interview_minutes: 60, refresh_days: 7 }
    }
}

/// Providers of OpenID Connect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignOn {
    /// Issuers that companies may name, as a list or with commas.
    #[serde(deserialize_with = "listed")]
    pub issuers: Vec<String>,
}

/// Keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// 64 hex digits; empty makes one in the data folder, which only the embedded mode may do.
    pub master_key: Secret,
}

/// The log's tree and its checkpoints.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proof {
    /// The log's name in all that it signs; empty makes one. It never changes.
    pub origin: String,
    /// Time between checkpoints while the log grows, in seconds.
    pub checkpoint_seconds: u64,
}

/// Files of candidates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Folder; empty is `files` in the data folder.
    pub directory: String,
}

/// Who asks, judges and proposes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ai {
    /// Tried in this order; `rules` is the built-in one, all others are named in `openai`.
    pub providers: Vec<String>,
    /// OpenAI-compatible endpoints by name.
    pub openai: std::collections::BTreeMap<String, OpenAi>,
}

/// An OpenAI-compatible endpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    /// Such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// The model's name.
    pub model: String,
    /// The key.
    #[serde(default)]
    pub api_key: Secret,
    /// US dollars for a million tokens sent.
    #[serde(default)]
    pub usd_per_million_in: f64,
    /// US dollars for a million tokens received.
    #[serde(default)]
    pub usd_per_million_out: f64,
}

/// The first operator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operator {
    /// Address to sign in with; empty makes none.
    pub email: String,
    /// Password, at least 10 characters.
    pub password: Secret,
}

/// The development company.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Development {
    /// Makes it in a private database. Never with a database of one's own.
    pub company: bool,
}

/// What is logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `json` or `text`.
    pub format: LogFormat,
    /// A filter such as `info` or `info,eventlog=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A text that does not print.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            http: Http::default(),
            limits: Limits::default(),
            database: Database::default(),
            embedded: Embedded::default(),
            event_store: EventStore::default(),
            kafka: Kafka::default(),
            mail: Mail::default(),
            sessions: Sessions::default(),
            sign_on: SignOn::default(),
            secrets: Secrets::default(),
            proof: Proof::default(),
            files: Files::default(),
            ai: Ai::default(),
            operator: Operator::default(),
            development: Development::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            metrics_listen: String::new(),
            explorer: true,
            cors_origins: vec![],
            head_seconds: 30,
            stall_seconds: 30,
            trusted_documents: String::new(),
            trusted_proxies: vec![],
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            read_url: Secret::default(),
            identity_url: Secret::default(),
            max_connections: 20,
        }
    }
}

impl Default for EventStore {
    fn default() -> Self {
        Self { url: Secret::default(), prefix: "colloquy".to_owned() }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            bootstrap: String::new(),
            prefix: "colloquy".to_owned(),
            schema_base: "https://schemas.colloquy.dev/events".to_owned(),
            replication: 0,
            public_topics: false,
            lease_seconds: 10,
        }
    }
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            smtp_url: Secret::default(),
            from: "Colloquy <colloquy@localhost>".to_owned(),
            app_url: String::new(),
            mailbox: String::new(),
        }
    }
}

impl Default for Proof {
    fn default() -> Self {
        Self { origin: String::new(), checkpoint_seconds: 60 }
    }
}

impl Default for Ai {
    fn default() -> Self {
        Self { providers: vec!["rules".to_owned()], openai: std::collections::BTreeMap::new() }
    }
}

impl Default for Development {
    fn default() -> Self {
        Self { company: true }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, filter: "info".to_owned() }
    }
}

impl Config {
    /// Reads the settings: defaults, then the file, then `COLLOQUY_…` with `__` between the levels
    /// (`COLLOQUY_HTTP__LISTEN`), then `DATABASE_URL`, `EVENTSTORE_URL` and
    /// `KAFKA_BOOTSTRAP`.
    ///
    /// # Errors
    /// Names the key that is wrong, never its value.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            anyhow::ensure!(file.exists(), "there is no settings file {}", file.display());
            figment = figment.merge(Toml::file(file));
        }
        // Names of other variables of ours that are no settings.
        let no_settings = ["config", "failpoint", "operator_password"];
        for (key, text) in Env::prefixed("COLLOQUY_").ignore(&no_settings).split("__").iter() {
            let key = key.as_str();
            // A password may look like a number and is none.
            let is_text = matches!(figment.find_value(key), Ok(Value::String(..)));
            let value =
                if is_text || is_of_endpoint(key) { Value::from(text) } else { parsed(&text) };
            figment = figment.merge(Serialized::default(key, value));
        }
        let alias = |name: &'static str, key: &'static str| {
            Env::raw().only(&[name]).map(move |_| key.into()).split(".")
        };
        let figment = figment
            .merge(alias("DATABASE_URL", "database.url"))
            .merge(alias("EVENTSTORE_URL", "event_store.url"))
            .merge(alias("KAFKA_BOOTSTRAP", "kafka.bootstrap"));
        figment.extract().map_err(|error| anyhow::anyhow!("settings: {}", without_value(&error)))
    }

    /// Folder of candidates' files.
    #[must_use]
    pub fn files_dir(&self) -> PathBuf {
        match self.files.directory.as_str() {
            "" => self.data_dir.join("files"),
            directory => PathBuf::from(directory),
        }
    }

    /// Folder of letters that go into files.
    #[must_use]
    pub fn mailbox_dir(&self) -> PathBuf {
        match self.mail.mailbox.as_str() {
            "" => self.data_dir.join("mailbox"),
            folder => PathBuf::from(folder),
        }
    }

    /// Whether the private database is used.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.database.url.is_empty()
    }
}

/// Whether a key names a text of an AI endpoint. Endpoints have no defaults to tell that from.
fn is_of_endpoint(key: &str) -> bool {
    let of_endpoint = |rest: &str| rest.rsplit_once('.').map(|(_, last)| last.to_owned());
    key.strip_prefix("ai.openai.")
        .and_then(of_endpoint)
        .is_some_and(|last| ["api_key", "base_url", "model"].contains(&last.as_str()))
}

/// Texts as a list, or in one text with commas between them.
fn listed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Listed {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Listed::deserialize(deserializer)? {
        Listed::List(texts) => texts,
        Listed::Text(text) => {
            let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
            texts.map(str::to_owned).collect()
        }
    })
}

/// A number, a truth value or a list where the text is one.
fn parsed(text: &str) -> Value {
    // Reading a value out of a text never fails: what is nothing else stays a text.
    text.parse().unwrap_or_else(|_| Value::from(text))
}

/// What is wrong and where, without quoting what was given: it may be a secret.
fn without_value(error: &figment::Error) -> String {
    use figment::error::Kind;
    let key = error.path.join(".");
    let what = match &error.kind {
        Kind::UnknownField(field, _) => format!("unknown key {field}"),
        Kind::MissingField(field) => format!("key {field} is missing"),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            format!("must be {expected}")
        }
        Kind::UnknownVariant(_, expected) => format!("must be one of {}", expected.join(", ")),
        _ => "is not well formed".to_owned(),
    };
    if key.is_empty() { what } else { format!("{key}: {what}") }
}
