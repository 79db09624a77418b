//! How letters go out: by SMTP, or into a folder for whoever tries things out.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use eventlog::clock::Clock;
use identity::mail::{Mail, MailError, Mailer};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;

use crate::config::Config;

/// How long a server may take to take a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// The mailer that the settings name.
///
/// # Errors
/// When `mail.from` or `mail.smtp_url` is not well formed, or the folder cannot be made.
pub fn mailer(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Arc<dyn Mailer>> {
    let from: Mailbox = config.mail.from.parse().context("mail.from is no address")?;
    if !config.mail.smtp_url.is_empty() {
        return Ok(Arc::new(Smtp::new(config.mail.smtp_url.expose(), from)?));
    }
    let folder = config.mailbox_dir();
    if !config.is_embedded() {
        tracing::warn!("mail.smtp_url is empty: mail goes into files and to nobody");
    }
    Ok(Arc::new(Folder::open(&folder, from, clock)?))
}

/// Sends by SMTP (RFC 5321). The server takes over from its first yes.
struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    fn new(url: &str, from: Mailbox) -> anyhow::Result<Self> {
        // What is wrong with it may quote a password.
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .map_err(|_| anyhow::anyhow!("mail.smtp_url is not the address of a mail server"))?;
        Ok(Self { transport: transport.timeout(Some(PATIENCE)).build(), from })
    }
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let message = message(mail, &self.from)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_permanent() => {
                tracing::warn!(status = ?error.status(), "the mail server refuses a message");
                Err(MailError::Refused)
            }
            Err(error) => {
                let status = error.status();
                tracing::warn!(?status, timeout = error.is_timeout(), "the mail server fails");
                Err(MailError::Unavailable)
            }
        }
    }
}

/// Writes each message into a file of its own, `<milliseconds>-<number>.eml`.
struct Folder {
    folder: PathBuf,
    from: Mailbox,
    clock: Arc<dyn Clock>,
    n_written: AtomicU64,
}

impl Folder {
    fn open(folder: &Path, from: Mailbox, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let mut made = std::fs::DirBuilder::new();
        made.recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("the mailbox {} cannot be made", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), from, clock, n_written: AtomicU64::new(0) })
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let n = self.n_written.fetch_add(1, Ordering::Relaxed);
        let name =
            format!("{:013}-{}-{n:04}", self.clock.now().timestamp_millis(), std::process::id());
        let beside = self.folder.join(format!("{name}.part"));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(beside, self.folder.join(format!("{name}.eml")))
    }
}

#[async_trait]
impl Mailer for Folder {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let bytes = message(mail, &self.from)?.formatted();
        self.write(&bytes).map_err(|error| {
            tracing::warn!(%error, "the mailbox cannot be written");
            MailError::Unavailable
        })
    }
}

/// The message in its form on the wire (RFC 5322).
fn message(mail: &Mail, from: &Mailbox) -> Result<Message, MailError> {
    let to: Mailbox = mail.to.parse().map_err(|_| MailError::Refused)?;
    Message::builder()
        .from(from.clone())
        .to(to)
        .subject(mail.subject.clone())
        .header(ContentType::TEXT_PLAIN)
        .body(body(mail.text.expose_secret()))
        .map_err(|_| MailError::Refused)
}

/// The text as it is where mail allows that (RFC 5322, 2.1.1), so that a link stays in one piece for
/// whoever reads the bare message.
fn body(text: &str) -> Body {
    match text.is_ascii() && text.lines().all(|line| line.len() <= 998) {
        true => {
            let text = text.replace('\n', "\r\n").into_bytes();
            Body::dangerous_pre_encoded(text, ContentTransferEncoding::SevenBit)
        }
        false => Body::new(text.to_owned()),
    }
}
