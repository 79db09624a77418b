//! `colloquy`: one binary, the role is the argument.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use eventlog::kafka::topics;
use projections::model::MODELS;
use secrecy::SecretString;
use server::config::Config;
use server::embedded::{DATABASE, EmbeddedPostgres};
use server::events_export::{self, Format};
use server::logins::{self, LoginsVerb};
use server::operate::{self, ParkedVerb, RebuildArgs};
use server::parts::Parts;
use server::proof::{self, ExportArgs, ProofVerb, VerifyArgs};
use server::roles::Roles;
use server::signing_keys::{self, KeysVerb};
use server::store::StoreError;
use server::web::Providers;
use server::{bootstrap, contracts, demo, doctor, embedded, faults, published, telemetry};
use tokio_util::sync::CancellationToken;

/// The system of record for interviewing.
#[derive(Parser)]
#[command(name = "colloquy", version, about)]
struct Cli {
    /// Settings file, see deploy/config.example.toml.
    #[arg(long, global = true, env = "COLLOQUY_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Everything in one process; without settings on a private database and without Kafka.
    All,
    /// The GraphQL API.
    Serve,
    /// Publishes the log to Kafka, or checks what was published.
    Relay {
        #[command(subcommand)]
        verb: Option<RelayVerb>,
    },
    /// Builds the read models.
    Project,
    /// Acts on events: asks, judges, proposes, reads résumés, keeps deadlines.
    React,
    /// The events for analytics.
    Events {
        #[command(subcommand)]
        verb: EventsVerb,
    },
    /// Brings the database's schema up to date.
    Migrate,
    /// Checks an export offline with the log's public key alone: for auditors.
    Verify(VerifyArgs),
    /// Writes events with their proofs to a file, for `verify`.
    Export(ExportArgs),
    /// Keys and checkpoints of the log's proof.
    Proof {
        #[command(subcommand)]
        verb: ProofVerb,
    },
    /// The read models.
    Models {
        #[command(subcommand)]
        verb: ModelsVerb,
    },
    /// Rebuilds read models from the log beside the live ones, or goes back.
    Rebuild(RebuildArgs),
    /// Looks at parked streams and settles them.
    Parked {
        #[command(subcommand)]
        verb: ParkedVerb,
    },
    /// Logins of another system.
    Logins {
        #[command(subcommand)]
        verb: LoginsVerb,
    },
    /// The keys that access tokens are signed with.
    Keys {
        #[command(subcommand)]
        verb: KeysVerb,
    },
    /// Says what is missing.
    Doctor,
    /// Reads one résumé from standard input; how `react` keeps hostile files out of itself.
    #[command(hide = true)]
    ReadResume,
    /// Writes the contracts under schemas/.
    Schema {
        /// Folder to write to.
        #[arg(long, default_value = "schemas")]
        folder: PathBuf,
        /// Keeps the schemas as those of this release: from then on they change only in ways that
        /// no consumer notices.
        #[arg(long)]
        release: Option<String>,
    },
    /// Plays an interview from job to signed verdict through the public API.
    Demo {
        /// A running API; without it one is started for the demo.
        #[arg(long)]
        url: Option<String>,
        /// The platform operator's address; the development operator's without it.
        #[arg(long)]
        operator: Option<String>,
        /// The operator's password.
        #[arg(long, env = "COLLOQUY_OPERATOR_PASSWORD", hide_env_values = true)]
        password: Option<String>,
        /// Folder of jobs, résumés and answers.
        #[arg(long, default_value = "examples")]
        examples: PathBuf,
    },
}

#[derive(Subcommand)]
enum RelayVerb {
    /// Compares every topic with the log, event by event.
    Check,
}

#[derive(Subcommand)]
enum ModelsVerb {
    /// Compares every read model with one folded afresh from the log.
    Check,
}

#[derive(Subcommand)]
enum EventsVerb {
    /// Writes the log without personal data into files, with a manifest. Run again, it goes on where
    /// it was cut short.
    Export {
        /// How the events are written.
        #[arg(long, value_enum)]
        format: Format,
        /// Folder of the files.
        #[arg(long)]
        out: PathBuf,
        /// First position.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Last position; the log's last one without it.
        #[arg(long)]
        to: Option<u64>,
        /// Only events of this aggregate; may be given several times.
        #[arg(long = "aggregate")]
        aggregates: Vec<String>,
        /// Positions that one file covers.
        #[arg(long, default_value_t = events_export::POSITIONS_PER_FILE)]
        positions_per_file: u64,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Role::Verify(args) = &cli.role {
        // An auditor's machine has neither settings nor a database of ours.
        return exit(proof::verify(args));
    }
    if matches!(cli.role, Role::ReadResume) {
        // Before any setting is read: this process knows nothing and can do nothing else.
        return match reactors::resume::text::read_piped() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(cli)));
    exit(result)
}

fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colloquy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    let config = Config::read(cli.config.as_deref())?;
    match cli.role {
        Role::Schema { folder, release } => {
            contracts::write(&folder)?;
            return match release {
                Some(name) => published::released::release(&folder, &name),
                None => Ok(()),
            };
        }
        Role::Doctor => return tell(&doctor::examine(&config).await),
        Role::Demo { url: Some(url), operator, password, examples } => {
            let (Some(operator), Some(password)) = (operator, password) else {
                anyhow::bail!("--url needs --operator and --password");
            };
            return play(url, operator, password, examples, &config).await;
        }
        _ => {}
    }
    let is_one_process = matches!(cli.role, Role::All | Role::Demo { .. });
    if config.event_store.is_memory() && !is_one_process {
        return Err(StoreError::OneProcessOnly.into());
    }
    telemetry::start_log(&config.log)?;
    let stop = CancellationToken::new();
    let database = match config.is_embedded() {
        true => Some(start_database(&config).await?),
        false => None,
    };
    let result = with_database(&config, cli.role, database.as_ref(), stop).await;
    if let Some(database) = database {
        database.stop().await.context("the private database did not stop cleanly")?;
    }
    result
}

async fn start_database(config: &Config) -> anyhow::Result<EmbeddedPostgres> {
    let mut settings = embedded::Settings::new(&config.data_dir);
    settings.pg_bin = Some(&config.embedded.pg_bin).filter(|b| !b.is_empty()).map(PathBuf::from);
    Ok(EmbeddedPostgres::start(settings).await?)
}

async fn with_database(
    config: &Config,
    role: Role,
    database: Option<&EmbeddedPostgres>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let url = match database {
        Some(database) => database.url(DATABASE),
        None => SecretString::from(config.database.url.expose()),
    };
    let mut config = config.clone();
    let demo = matches!(role, Role::Demo { .. });
    if demo {
        // A demo of its own takes any free port, so that it runs beside a started installation.
        config.http.listen.set_port(0);
        // It asks more in a minute than people do.
        config.limits.enabled = false;
    }
    let fail_point = faults::from_environment();
    let parts = Arc::new(Parts::open(config.clone(), url, Arc::clone(&fail_point)).await?);
    let metrics = telemetry::start_metrics()?;
    let roles = Roles::new(Arc::clone(&parts), Arc::clone(&fail_point), stop.clone());
    let outcome = async {
        match role {
            Role::Migrate => {}
            Role::Models { verb: ModelsVerb::Check } => check_models(&parts).await?,
            Role::Export(args) => proof::write_export(&parts, &args).await?,
            Role::Proof { verb } => proof::administer(&parts, &verb).await?,
            Role::Events { verb } => export_events(&parts, verb).await?,
            Role::Rebuild(args) => {
                let fail_point = Arc::clone(&fail_point);
                tokio::select! {
                    done = operate::rebuild(&parts, fail_point, &stop, args) => done?,
                    told = until_told() => {
                        told?;
                        anyhow::bail!("stopped; the next rebuild goes on from here");
                    }
                }
            }
            Role::Parked { verb } => operate::parked(&parts, verb).await?,
            Role::Logins { verb } => {
                logins::administer(&parts.identity().await?, &verb).await?;
            }
            Role::Keys { verb } => signing_keys::administer(&parts.wall().await?, &verb).await?,
            Role::Relay { verb: Some(RelayVerb::Check) } => relay_check(&parts).await?,
            Role::Relay { verb: None } => {
                roles.measure(metrics).await?;
                roles.prove().await?;
                roles.relay()?;
                until_told().await?;
            }
            Role::Project => {
                roles.measure(metrics).await?;
                roles.project().await?;
                until_told().await?;
            }
            Role::React => {
                roles.measure(metrics).await?;
                roles.react().await?;
                until_told().await?;
            }
            Role::Serve => {
                let identity = parts.identity().await?;
                let identity =
                    identity.with_web(Arc::new(Providers::new(&config.sign_on.issuers)?));
                bootstrap::operator(&config, &identity).await?;
                let address = roles.serve(identity, metrics).await?;
                tracing::info!(%address, "serving");
                until_told().await?;
            }
            Role::All | Role::Demo { .. } => {
                let identity = parts.identity().await?;
                let identity =
                    identity.with_web(Arc::new(Providers::new(&config.sign_on.issuers)?));
                bootstrap::operator(&config, &identity).await?;
                let logins = match database.is_some() && (config.development.company || demo) {
                    true => Some(bootstrap::development(&config, &identity).await?),
                    false => None,
                };
                roles.project().await?;
                roles.react().await?;
                roles.prove().await?;
                if parts.kafka().is_some() {
                    roles.relay()?;
                }
                let address = roles.serve(identity, metrics).await?;
                match role {
                    Role::Demo { operator, password, examples, .. } => {
                        let known = logins.map(|l| (l.operator.email, l.operator.password));
                        let (email, password) = operator
                            .zip(password)
                            .or(known)
                            .context("the demo needs --operator and --password")?;
                        let url = format!("http://{address}");
                        play(url, email, password, examples, &config).await?;
                    }
                    _ => {
                        greet(address, logins.as_ref(), &config);
                        until_told().await?;
                    }
                }
            }
            Role::Schema { .. } | Role::Doctor | Role::ReadResume | Role::Verify(_) => {}
        }
        Ok(())
    }
    .await;
    roles.finish().await;
    outcome
}

/// Waits for Ctrl-C or SIGTERM.
async fn until_told() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told?,
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    Ok(())
}

fn greet(
    address: std::net::SocketAddr,
    logins: Option<&bootstrap::DevelopmentLogins>,
    config: &Config,
) {
    println!("\nColloquy is running at http://{address}");
    println!("  GraphiQL   http://{address}/graphiql");
    println!("  GraphQL    http://{address}/graphql   health http://{address}/health");
    if config.mail.smtp_url.is_empty() {
        println!(
            "  Letters    {}   (mail goes there, and to nobody)",
            config.mailbox_dir().display()
        );
    }
    if let Some(logins) = logins {
        let (admin, operator) = (&logins.administrator, &logins.operator);
        println!("\nDevelopment company \"Acme\":");
        println!("  administrator   {}   {}", admin.email, admin.password);
        println!("  operator        {}   {}", operator.email, operator.password);
        println!("\nIn GraphiQL, sign in with this and put the token into the header");
        println!("  {{\"Authorization\": \"Bearer <accessToken>\"}}\n");
        println!(
            "  mutation {{ signIn(input: {{email: \"{}\", password: \"{}\"}}) \
             {{ accessToken expiresAt }} }}",
            admin.email, admin.password
        );
    }
    println!("\nCtrl-C stops it; the data stays.\n");
}

async fn play(
    url: String,
    email: String,
    password: String,
    examples: PathBuf,
    config: &Config,
) -> anyhow::Result<()> {
    let settings = demo::DemoSettings {
        base_url: url,
        operator: (email, password),
        examples,
        kafka: server::parts::kafka(config),
    };
    demo::run(settings).await.map(drop)
}

async fn check_models(parts: &Parts) -> anyhow::Result<()> {
    let mut n_different = 0;
    for model in MODELS {
        let log = parts.log();
        let compared = model.rebuild_equals_live(&parts.pool, &*log, &parts.codec).await?;
        let verdict = if compared.is_equal() { "equal" } else { "DIFFERENT" };
        println!(
            "{verdict:<9} {:<16} {} rows, {} from the log, {} differ",
            model.name, compared.n_live, compared.n_rebuilt, compared.n_different
        );
        n_different += u32::from(!compared.is_equal());
    }
    anyhow::ensure!(n_different == 0, "{n_different} read models differ from the log");
    Ok(())
}

async fn export_events(parts: &Parts, verb: EventsVerb) -> anyhow::Result<()> {
    let EventsVerb::Export { format, out, from, to, aggregates, positions_per_file } = verb;
    let request = events_export::Request {
        format,
        folder: out,
        from,
        to,
        aggregates: aggregates.into_iter().collect(),
        positions_per_file,
        schema_base: parts.config.kafka.schema_base.clone(),
    };
    let tell = |part: &events_export::PartFile| println!("{}: {} events", part.name, part.events);
    let manifest = events_export::export(&*parts.log(), &request, tell).await?;
    println!(
        "{} events of positions {} to {} in {} files",
        manifest.events,
        manifest.from,
        manifest.to,
        manifest.files.len()
    );
    Ok(())
}

async fn relay_check(parts: &Parts) -> anyhow::Result<()> {
    let settings = parts.kafka().context("the check needs kafka.bootstrap")?;
    let mut n_incomplete = 0;
    for topic in topics::published(parts.config.kafka.public_topics) {
        let store = parts.log();
        let report = eventlog::kafka::check::completeness(&settings, topic, store).await?;
        println!("{report}");
        n_incomplete += u32::from(!report.is_complete());
    }
    anyhow::ensure!(n_incomplete == 0, "{n_incomplete} topics differ from the log");
    Ok(())
}

fn tell(findings: &[doctor::Finding]) -> anyhow::Result<()> {
    for finding in findings {
        match &finding.how {
            Ok(how) => println!("ok       {}: {how}", finding.what),
            Err(wrong) => println!("MISSING  {}: {wrong}", finding.what),
        }
    }
    let n_missing = findings.iter().filter(|finding| finding.how.is_err()).count();
    anyhow::ensure!(n_missing == 0, "{n_missing} of {} are missing", findings.len());
    Ok(())
}
