//! The tree over a real log: it grows whatever dies, and nothing false is signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::ids::CompanyId;
use eventlog::envelope::{Position, StreamId};
use eventlog::fail_point::no_fail_point;
use eventlog::proof::builder::{Grown, Prover};
use eventlog::proof::collect::{ExportError, Options, Wanted, export};
use eventlog::proof::export::{Of, Payloads};
use eventlog::proof::merkle::{self, Hash, leaf_data, leaf_hash};
use eventlog::proof::note::{Note, PublicKey};
use eventlog::proof::shelf::ProofError;
use eventlog::proof::tiles::{Edge, Tiles};
use eventlog::proof::verify::{Demands, Least, Refused, Verified, verify};
use eventlog::store::{EventStore, Filter};
use eventlog::vault::MasterKey;

use crate::database::Database;
use crate::samples::{append, id, sibling, stream};

const WHOLE: Options = Options { payloads: Payloads::Included, since: None };

fn prover(database: &Database) -> Prover {
    let store: Arc<dyn EventStore> = database.store();
    Prover::new(store, database.pool.clone(), MasterKey::new([7; 32]), no_fail_point())
}

/// A log of so many events, all of one stream.
async fn log(database: &Database, n_events: u64) -> (Prover, StreamId) {
    let (prover, stream) = (prover(database), stream());
    prover.prepare("").await.expect("a key");
    more(database, &stream, 0, n_events).await;
    (prover, stream)
}

async fn more(database: &Database, stream: &StreamId, after: u64, n_events: u64) {
    let n = usize::try_from(n_events).expect("a count");
    database.store().append(append(stream, after, n)).await.expect("is stored");
}

async fn key(prover: &Prover, nth: usize) -> PublicKey {
    prover.shelf().keys().await.expect("reads")[nth].public.clone()
}

async fn exported(prover: &Prover, wanted: Wanted, options: Options) -> Vec<u8> {
    let mut file = vec![];
    export(prover, wanted, options, &mut file).await.expect("an export");
    file
}

fn check(file: &[u8], key: PublicKey) -> Result<Verified, Refused> {
    verify(file, &Demands { key, least: None, kept: None })
}

/// The root over the log as it is read, made at once.
async fn root(database: &Database, size: u64) -> Hash {
    let page = database.store().read_log(Position(0), &Filter::default(), size as usize).await;
    let (mut edge, mut tiles) = (Edge::default(), Tiles::default());
    for event in page.expect("reads").events {
        edge.push(leaf_hash(&leaf_data(event.position, event.recorded_at, event.hash)));
    }
    tiles.extend(edge.take_changed());
    merkle::range_hash(&tiles, &(0..size)).expect("a root")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_builder_killed_at_any_point_goes_on_with_the_same_tree() {
    let database = Database::create().await;
    let (_, stream) = log(&database, 40).await;
    let mut n_events = 40;
    for place in ["before_commit", "after_commit", "before_signed", "after_signed"] {
        for nth in 1..=3 {
            let n_new = 171 + nth * 300;
            more(&database, &stream, n_events, n_new).await;
            n_events += n_new;
            let passed = AtomicU64::new(0);
            let dies: eventlog::fail_point::FailPoint = Arc::new(move |at| {
                let is_here = at == format!("proof.{place}");
                assert!(!is_here || passed.fetch_add(1, Ordering::SeqCst) + 1 < nth, "dies");
            });
            let store: Arc<dyn EventStore> = database.store();
            let dying = Prover::new(store, database.pool.clone(), MasterKey::new([7; 32]), dies);
            let died = tokio::spawn(async move {
                loop {
                    dying.grow().await.expect("grows");
                    dying.checkpoint().await.expect("signs");
                }
            });
            assert!(died.await.expect_err("dies").is_panic(), "{place} {nth}");
        }
    }
    let next = prover(&database);
    let signed = next.checkpoint().await.expect("signs").checkpoint;
    assert_eq!((signed.size, signed.root), (n_events, root(&database, n_events).await));
    assert_eq!(next.grow().await, Ok(Grown::UpToDate(n_events)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_builders_at_once_build_one_tree() {
    let database = Database::create().await;
    let (_, stream) = log(&database, 700).await;
    let builders = (0..4).map(|_| {
        let prover = prover(&database);
        tokio::spawn(async move {
            for _ in 0..6 {
                prover.grow().await.expect("grows");
                prover.checkpoint().await.expect("signs");
            }
        })
    });
    let builders: Vec<_> = builders.collect();
    for n in 0..20 {
        more(&database, &stream, 700 + n * 31, 31).await;
    }
    for builder in builders {
        builder.await.expect("ends well");
    }
    let signed = prover(&database).checkpoint().await.expect("signs").checkpoint;
    assert_eq!((signed.size, signed.root), (1320, root(&database, 1320).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_builder_that_stands_still_lets_others_start() {
    let database = Database::create().await;
    log(&database, 3).await;
    let (stands, standing) = std::sync::mpsc::channel();
    let (go_on, going) = std::sync::mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    let stops: eventlog::fail_point::FailPoint = Arc::new(move |at| {
        if at == "proof.before_commit" {
            stands.send(()).expect("is awaited");
            going.lock().expect("no panic").recv().expect("is told to");
        }
    });
    let store: Arc<dyn EventStore> = database.store();
    let stopped = Prover::new(store, database.pool.clone(), MasterKey::new([7; 32]), stops);
    let stopped = tokio::spawn(async move { stopped.grow().await });
    tokio::task::spawn_blocking(move || standing.recv()).await.expect("ends").expect("stands");
    let other = prover(&database);
    other.prepare("").await.expect("waits for nobody");
    assert_eq!(other.grow().await, Ok(Grown::Busy));
    go_on.send(()).expect("is awaited");
    assert_eq!(stopped.await.expect("ends well"), Ok(Grown::UpToDate(3)));
}

#[tokio::test]
async fn a_root_that_contradicts_a_signed_one_is_never_signed() {
    let database = Database::create().await;
    let (prover, stream) = log(&database, 300).await;
    prover.checkpoint().await.expect("signs");
    let refused = database.run("update proof_tile set hashes = decode(repeat('00', 32), 'hex')");
    assert!(refused.await.is_err(), "a tile can be overwritten by mistake");
    let n_checkpoints = "select count(*) from proof_checkpoint";
    for damage in [
        "update proof_tile set hashes = set_byte(hashes, 70, get_byte(hashes, 70) # 1)
          where level = 0 and index = 1",
        "update proof_tile set hashes = set_byte(hashes, 3, get_byte(hashes, 3) # 1) where level = 1",
        "delete from proof_tile where level = 1",
        "update proof_checkpoint set root = set_byte(root, 0, get_byte(root, 0) # 1)",
        "update proof_checkpoint set note = replace(note, 'time 2', 'time 3')",
        "update proof_checkpoint set size = size - 1",
    ] {
        more(&database, &stream, 300, 1).await;
        let kept = "create table kept_tile as table proof_tile;
                    create table kept_checkpoint as table proof_checkpoint;";
        database.run(kept).await.expect("is kept");
        let off = "alter table proof_tile disable trigger all;
                   alter table proof_checkpoint disable trigger all;";
        database.run(&format!("{off}{damage}")).await.expect("is damaged");
        let signed = prover.checkpoint().await;
        assert!(matches!(signed, Err(ProofError::Broken(_))), "{damage}: {signed:?}");
        let n: i64 = sqlx::query_scalar(n_checkpoints).fetch_one(&database.pool).await.expect("n");
        assert_eq!(n, 1, "{damage}");
        let undo = "delete from proof_tile; insert into proof_tile table kept_tile;
                    delete from proof_checkpoint;
                    insert into proof_checkpoint overriding system value table kept_checkpoint;
                    drop table kept_tile; drop table kept_checkpoint;
                    alter table es_event disable trigger all;
                    delete from es_event where position > 300;
                    update es_stream set version = 300;";
        database.run(undo).await.expect("is undone");
    }
    // A log that lost its end, as after a restore of an old copy.
    database.run("delete from es_event where position > 290").await.expect("is cut");
    let signed = prover.checkpoint().await;
    assert!(matches!(signed, Err(ProofError::Broken(_))), "{signed:?}");
    more(&database, &stream, 300, 20).await;
    let signed = prover.checkpoint().await;
    assert!(matches!(signed, Err(ProofError::Broken(_))), "{signed:?}");
}

#[tokio::test]
async fn a_tree_that_lost_its_end_grows_anew_to_the_root_that_was_signed() {
    let database = Database::create().await;
    let (prover, stream) = log(&database, 300).await;
    prover.checkpoint().await.expect("signs");
    let cut = "alter table proof_tile disable trigger all;
               update proof_tile set hashes = substr(hashes, 1, 32) where level = 0 and index = 1;";
    database.run(cut).await.expect("is cut");
    more(&database, &stream, 300, 1).await;
    let signed = prover.checkpoint().await.expect("signs").checkpoint;
    assert_eq!((signed.size, signed.root), (301, root(&database, 301).await));
}

#[tokio::test]
async fn an_event_changed_in_the_database_is_named_by_the_verifier() {
    let database = Database::create().await;
    let (prover, _) = log(&database, 30).await;
    prover.checkpoint().await.expect("signs");
    let key = key(&prover, 0).await;
    let wanted = Wanted::Range(3, None);
    let verified = check(&exported(&prover, wanted, WHOLE).await, key.clone()).expect("is true");
    assert_eq!((verified.n_events, verified.of), (28, Of::Range {}));
    for (damage, undo) in [
        ("payload = payload || ' '", "payload = substr(payload, 1, octet_length(payload) - 1)"),
        ("actor = 'member:8'", "actor = 'member:7'"),
        (
            "recorded_at = recorded_at - interval '1 day'",
            "recorded_at = recorded_at + interval '1 day'",
        ),
    ] {
        let change = |set| format!("update es_event set {set} where position = 17");
        database.run("alter table es_event disable trigger all").await.expect("is possible");
        database.run(&change(damage)).await.expect("is changed");
        match check(&exported(&prover, wanted, WHOLE).await, key.clone()) {
            Err(Refused::Wrong(wrong)) => assert_eq!(wrong.position, 17, "{damage}: {wrong}"),
            other => panic!("{damage}: {other:?}"),
        }
        database.run(&change(undo)).await.expect("is undone");
    }
    check(&exported(&prover, wanted, WHOLE).await, key).expect("is true again");
}

#[tokio::test]
async fn a_new_key_is_introduced_by_the_old_one_and_old_checkpoints_stay_verifiable() {
    let database = Database::create().await;
    let (prover, stream) = log(&database, 10).await;
    let kept = prover.checkpoint().await.expect("signs");
    let seeds: Vec<Vec<u8>> = {
        let turned = prover.rotate_key().await.expect("rotates");
        let note = Note::parse(&turned.note).expect("a note");
        for nth in 0..2 {
            assert!(note.is_signed_by(&key(&prover, nth).await), "key {nth}");
        }
        more(&database, &stream, 10, 5).await;
        prover.rotate_key().await.expect("rotates");
        let names = "select wrapped from vault.secret where name like 'proof_signing_key_%'";
        sqlx::query_scalar(names).fetch_all(&database.pool).await.expect("reads")
    };
    assert_eq!(seeds.len(), 3);
    let keys = prover.shelf().keys().await.expect("reads");
    let options = Options { since: Some(kept.checkpoint.size), ..WHOLE };
    let file = exported(&prover, Wanted::Range(1, None), options).await;
    for key in &keys {
        let verified = check(&file, key.public.clone()).expect("is true");
        assert_eq!(verified.signed_by, keys[2].public);
    }
    let demands = |note: &str| Demands {
        key: keys[0].public.clone(),
        least: Some(Least::Size(15)),
        kept: Some(note.to_owned()),
    };
    verify(file.as_slice(), &demands(&kept.note)).expect("continues what was kept");
    let newer = prover.shelf().latest().await.expect("reads").expect("one").note;
    verify(file.as_slice(), &demands(&newer)).expect("is what was kept");
    let stranger = PublicKey::new(keys[0].public.name(), [1; 32]).expect("a key");
    assert!(check(&file, stranger).is_err());
    // Without the first key's word for the second, the first one proves nothing.
    let text = String::from_utf8(file).expect("a text");
    let introduction = keys[1].introduction.clone().expect("one");
    let without = serde_json::to_string(&introduction).expect("a text");
    let cut = text.replacen(&format!("{without},"), "", 1);
    assert_ne!(cut, text);
    match check(cut.as_bytes(), keys[0].public.clone()) {
        Err(Refused::Wrong(wrong)) => assert_eq!((wrong.line, wrong.position), (2, 0)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_export_of_a_record_has_every_stream_that_concerns_it() {
    let database = Database::create().await;
    let prover = prover(&database);
    prover.prepare("log.example/one").await.expect("a key");
    let named = prover.prepare("log.example/two").await;
    assert_eq!(named, Err(ProofError::Named("log.example/one".to_owned())));
    let candidate = StreamId::new(CompanyId(id()), "candidate", id());
    let of = |aggregate: &'static str, id| StreamId::new(candidate.company, aggregate, id);
    let interview = of("interview", id());
    let streams = [
        candidate.clone(),
        of("application", id()),
        interview.clone(),
        of("observation", interview.id),
        sibling(&interview),
        stream(),
    ];
    let store = database.store();
    for round in 0..3 {
        for (nth, stream) in streams.iter().enumerate() {
            let mut append = append(stream, round * 2, 2);
            if round == 0 && [1, 2].contains(&nth) {
                let names_it = format!("{{\"candidate_id\":\"{}\"}}", candidate.id);
                append.events[0].payload = names_it.into();
            }
            store.append(append).await.expect("is stored");
        }
    }
    let key = key(&prover, 0).await;
    for (wanted, n_streams) in
        [(Wanted::Candidate(candidate.id), 4), (Wanted::Interview(interview.id), 2)]
    {
        for payloads in [Payloads::Included, Payloads::Withheld] {
            let options = Options { payloads, since: None };
            let file = exported(&prover, wanted, options).await;
            let verified = check(&file, key.clone()).expect("is true");
            assert_eq!((verified.n_streams, verified.n_events), (n_streams, 6 * n_streams as u64));
        }
    }
    let unknown = export(&prover, Wanted::Candidate(id()), WHOLE, &mut vec![]).await;
    assert!(matches!(unknown, Err(ExportError::Proof(ProofError::NotThere(_)))));
    let beyond = export(&prover, Wanted::Range(1, Some(37)), WHOLE, &mut vec![]).await;
    assert!(matches!(beyond, Err(ExportError::Proof(ProofError::NotThere(_)))));
}
