//! Lets queries find another generation: in one transaction, and only when that one is at or past
//! every version that the one before has applied, so that nobody who reads goes back in time.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::fill::{Filler, Target};
use crate::generation::{self, Generation};
use crate::rebuild::{Progress, RebuildError};

/// How long a switch may hold up the projectors of the generation before.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried to get past those who read.
const N_TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
/// Readers wait behind whoever waits for the view, so that nobody waits for it longer than this.
const LOCK_TIMEOUT: &str = "set local lock_timeout to '100ms'";
/// What the database says of a lock that was not to be had in time, and of a deadlock.
const NOT_IN_TIME: [&str; 2] = ["55P03", "40P01"];

/// How far a generation is behind another.
struct Behind {
    n_streams: i64,
    n_parked: i64,
}

/// Switches to the target. Answers which generation was found before it.
pub(crate) async fn to(
    filler: &Filler,
    target: &Target,
    progress: &watch::Sender<Progress>,
) -> Result<Option<Generation>, RebuildError> {
    for _ in 0..N_TRIES {
        match try_once(filler, target, progress).await {
            Err(Interrupted::Locked) => sleep(BETWEEN_TRIES).await,
            Err(Interrupted::By(error)) => return Err(error),
            Ok(before) => return Ok(before),
        }
    }
    Err(RebuildError::ReadersInTheWay { model: target.model.name })
}

enum Interrupted {
    /// Somebody reads or writes; nothing was changed.
    Locked,
    By(RebuildError),
}

impl From<sqlx::Error> for Interrupted {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.is_some_and(|code| NOT_IN_TIME.contains(&&*code)) {
            true => Self::Locked,
            false => Self::By(error.into()),
        }
    }
}

impl From<RebuildError> for Interrupted {
    fn from(error: RebuildError) -> Self {
        Self::By(error)
    }
}

async fn try_once(
    filler: &Filler,
    target: &Target,
    progress: &watch::Sender<Progress>,
) -> Result<Option<Generation>, Interrupted> {
    let Target { model, generation: chosen, .. } = target;
    let mut tx = filler.pool.begin().await?;
    let known = generation::of_model(&mut tx, model).await.map_err(RebuildError::from)?;
    let before = before(&known, chosen);
    if let Some(before) = &before {
        if before.number == chosen.number {
            return Ok(None);
        }
        generation::pause(&mut tx, &before.consumer).await?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Behind { n_streams, n_parked } = behind(&mut tx, before, chosen).await?;
            if n_streams == 0 {
                break;
            }
            if n_streams == n_parked || Instant::now() > deadline {
                let (model, n_streams) = (model.name, n_streams.unsigned_abs());
                let n_parked = n_parked.unsigned_abs();
                return Err(RebuildError::Behind { model, n_streams, n_parked }.into());
            }
            filler.run(std::slice::from_ref(target), progress).await?;
        }
    }
    (filler.fail_point)("switch.caught_up");
    sqlx::query(LOCK_TIMEOUT).execute(&mut *tx).await?;
    generation::go_live(&mut tx, chosen).await?;
    (filler.fail_point)("switch.before_commit");
    tx.commit().await?;
    (filler.fail_point)("switch.after_commit");
    Ok(before)
}

/// What was found so far: the live generation of the version, or of the version before it.
pub(crate) fn before(known: &[Generation], chosen: &Generation) -> Option<Generation> {
    let live = known.iter().filter(|g| g.is_live && g.version <= chosen.version);
    live.max_by_key(|g| g.version).cloned()
}

/// Streams in which a generation has not come as far as the one before.
async fn behind(
    conn: &mut PgConnection,
    before: &Generation,
    chosen: &Generation,
) -> sqlx::Result<Behind> {
    let (n_streams, n_parked) = sqlx::query_as(
        "select count(*), count(p.consumer)
           from consumer_applied o
           left join consumer_applied n
             on n.consumer = $2 and n.company_id = o.company_id
            and n.category = o.category and n.stream_id = o.stream_id
           left join consumer_parked p
             on p.consumer = $2 and p.company_id = o.company_id and p.retry_by is null
            and p.category = o.category and p.stream_id = o.stream_id
          where o.consumer = $1 and o.version > coalesce(n.version, 0)",
    )
    .bind(&before.consumer)
    .bind(&chosen.consumer)
    .fetch_one(conn)
    .await?;
    Ok(Behind { n_streams, n_parked })
}

/// Waits, bounded, until the target is close to what it is to replace, so that the switch itself is
/// short.
pub(crate) async fn approach(
    pool: &PgPool,
    filler: &Filler,
    target: &Target,
    progress: &watch::Sender<Progress>,
) -> Result<(), RebuildError> {
    let mut conn = pool.acquire().await?;
    let known = generation::of_model(&mut conn, &target.model).await?;
    let Some(before) = before(&known, &target.generation) else {
        return Ok(());
    };
    for _ in 0..3 {
        let Behind { n_streams, n_parked } = behind(&mut conn, &before, &target.generation).await?;
        if n_streams == n_parked {
            break;
        }
        filler.run(std::slice::from_ref(target), progress).await?;
    }
    Ok(())
}
