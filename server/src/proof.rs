//! What operators and auditors do with the log's proof: export, verify, look at keys and checkpoints.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context;
use chrono::SecondsFormat;
use clap::{Args, Subcommand};
use domain::ids::{CandidateId, InterviewId};
use eventlog::proof::collect::{Options, Wanted, export};
use eventlog::proof::export::{Of, Payloads};
use eventlog::proof::note::PublicKey;
use eventlog::proof::verify::{self, Demands, Least};

use crate::parts::Parts;

/// What `colloquy verify` is told.
#[derive(Args)]
pub struct VerifyArgs {
    /// The export.
    file: PathBuf,
    /// The log's public key, as the log's owner published it.
    #[arg(long)]
    key: PublicKey,
    /// The oldest checkpoint that will do: a number of events, or a time.
    #[arg(long)]
    least: Option<Least>,
    /// File with a checkpoint kept from before; the export must continue it (`export --since`).
    #[arg(long)]
    kept: Option<PathBuf>,
}

/// What `colloquy export` is told.
#[derive(Args)]
pub struct ExportArgs {
    #[command(subcommand)]
    of: ExportOf,
    /// File to write; standard output without it.
    #[arg(long, short, global = true)]
    output: Option<PathBuf>,
    /// Writes the SHA-256 of each payload in place of the payload.
    #[arg(long, global = true)]
    withhold_payloads: bool,
    /// Adds a proof that the log continues the checkpoint of this size, for `verify --kept`.
    #[arg(long, global = true)]
    since: Option<u64>,
}

/// What an export is of.
#[derive(Subcommand)]
enum ExportOf {
    /// One interview, with what was observed in it.
    Interview {
        /// Its id, `intv_…`.
        id: InterviewId,
    },
    /// Everything that concerns one candidate's record.
    Candidate {
        /// Its id, `cand_…`.
        id: CandidateId,
    },
    /// The whole log, or a range of its positions.
    Range {
        /// The first position.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// The last position; the newest without it.
        #[arg(long)]
        to: Option<u64>,
    },
}

/// What `colloquy proof` can do.
#[derive(Subcommand)]
pub enum ProofVerb {
    /// Prints the log's public keys, the last of which signs.
    Keys,
    /// Signs a checkpoint as of now and prints it.
    Checkpoint,
    /// Makes a new signing key, which the old one introduces.
    RotateKey,
}

/// Checks an export without any setting, database or network.
///
/// # Errors
/// Names the first thing that is wrong.
pub fn verify(args: &VerifyArgs) -> anyhow::Result<()> {
    let open = |path: &Path| {
        File::open(path).with_context(|| format!("{} cannot be opened", path.display()))
    };
    let kept = match &args.kept {
        None => None,
        Some(path) => Some(std::io::read_to_string(open(path)?)?),
    };
    let demands = Demands { key: args.key.clone(), least: args.least, kept };
    let proven = match verify::verify(BufReader::new(open(&args.file)?), &demands) {
        Ok(proven) => proven,
        Err(refused) => {
            println!("WRONG  {refused}");
            anyhow::bail!("{} proves nothing", args.file.display());
        }
    };
    let what = match proven.of {
        Of::Interview { id, .. } => InterviewId(id).to_string(),
        Of::Candidate { id, .. } => CandidateId(id).to_string(),
        Of::Range {} => "a range of the log".to_owned(),
    };
    let time = proven.checkpoint.signed_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    println!(
        "TRUE   {what}: {} events, {} whole streams, complete as of {time} ({} events in the log)",
        proven.n_events, proven.n_streams, proven.checkpoint.size
    );
    println!("       signed by {}", proven.signed_by);
    Ok(())
}

/// Writes an export.
///
/// # Errors
/// Says why there is none.
pub async fn write_export(parts: &Parts, args: &ExportArgs) -> anyhow::Result<()> {
    let wanted = match args.of {
        ExportOf::Interview { id } => Wanted::Interview(id.0),
        ExportOf::Candidate { id } => Wanted::Candidate(id.0),
        ExportOf::Range { from, to } => Wanted::Range(from, to),
    };
    let payloads = match args.withhold_payloads {
        true => Payloads::Withheld,
        false => Payloads::Included,
    };
    let mut out: Box<dyn Write + Send> = match &args.output {
        Some(path) => {
            let file = File::create(path);
            let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
            Box::new(BufWriter::new(file))
        }
        None => Box::new(BufWriter::new(stdout())),
    };
    let prover = parts.prover().await?;
    let options = Options { payloads, since: args.since };
    let checkpoint = export(&prover, wanted, options, &mut out).await?;
    let time = checkpoint.signed_at.to_rfc3339_opts(SecondsFormat::Micros, true);
    eprintln!("complete as of {time}, {} events in the log", checkpoint.size);
    Ok(())
}

/// Looks at or changes what signs.
///
/// # Errors
/// Says what is wrong with the proof.
pub async fn administer(parts: &Parts, verb: &ProofVerb) -> anyhow::Result<()> {
    let prover = parts.prover().await?;
    match verb {
        ProofVerb::Keys => {}
        ProofVerb::Checkpoint => {
            print!("{}", prover.checkpoint().await?.note);
            return Ok(());
        }
        ProofVerb::RotateKey => {
            prover.rotate_key().await?;
        }
    }
    for key in prover.shelf().keys().await? {
        println!("{}", key.public);
    }
    Ok(())
}
