//! Rows D: the database stops, is killed, stands still, is full, refuses to flush, or goes back in time.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use serde_json::json;
use server::embedded::{Settings, find_programs};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::GATE;
use crate::load::Load;
use crate::orders::{n_stored, until_lock_is_waited_for};
use crate::product::Product;
use crate::relays::{delete_topics, until_publishing};
use crate::row::{Length, Row};
use crate::servers::Postgres;
use crate::world::{World, root, until};

pub const ROWS: &[Row] = &[
    Row {
        name: "D1",
        fault: "PostgreSQL stops at once, again and again",
        is_short: true,
        body: |length| Box::pin(stops_at_once(length)),
    },
    Row {
        name: "D2",
        fault: "SIGKILL of the first process and of one backend",
        is_short: true,
        body: |length| Box::pin(is_killed(length)),
    },
    Row {
        name: "D3",
        fault: "PostgreSQL stands still",
        is_short: false,
        body: |length| Box::pin(stands_still(length)),
    },
    Row {
        name: "D4",
        fault: "the disk is full, for tables and for the write-ahead log",
        is_short: false,
        body: |_| Box::pin(disk_is_full()),
    },
    Row {
        name: "D5",
        fault: "a snapshot is held open",
        is_short: false,
        body: |length| Box::pin(snapshot_is_held(length)),
    },
    Row {
        name: "D6",
        fault: "flushing to the disk fails",
        is_short: false,
        body: |_| Box::pin(flushing_fails()),
    },
    Row {
        name: "D7",
        fault: "pool exhausted, lock and statement time-outs",
        is_short: true,
        body: |length| Box::pin(nothing_is_free(length)),
    },
    Row {
        name: "D8",
        fault: "a restore older than the topic; migrations twice, half, at once",
        is_short: false,
        body: |length| Box::pin(goes_back(length)),
    },
];

/// The product on a server of its own.
async fn api_on(server: &Postgres) -> Product {
    let mut world = World::on(server.url());
    world
        .use_kafka(std::env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP names a broker"), true);
    Product::whole_on(world).await
}

/// Waits until a command was told of trouble once more.
async fn until_told(load: &Load, n_before: usize) {
    until("a command is told of the trouble", async || (load.n_told() > n_before).then_some(()))
        .await;
}

/// Ends the load and asserts what must hold.
async fn finish(product: &mut Product, load: Load) -> usize {
    load.until_more(40).await;
    let done = load.stop().await;
    product.holds(&done).await;
    product.serve.is_running();
    done.len()
}

async fn stops_at_once(length: Length) -> String {
    let mut server = Postgres::start().await;
    let mut product = api_on(&server).await;
    let load = product.load(8);
    let (n, up) = length.of((2, 1), (10, 3));
    for _ in 0..n {
        load.until_more(20).await;
        tokio::time::sleep(Duration::from_secs(up)).await;
        server.end(Signal::SIGQUIT).await;
        server.resume().await;
    }
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    let n_recovered = server.log().matches("automatic recovery in progress").count();
    assert!(n_recovered >= n, "recovered {n_recovered} times of {n}");
    drop(product);
    server.stop().await;
    format!("{n_recovered} recoveries ({told}), {n_done} commands acknowledged")
}

async fn is_killed(length: Length) -> String {
    let mut server = Postgres::start().await;
    let mut product = api_on(&server).await;
    let load = product.load(8);
    let n = length.of(1, 5);
    for _ in 0..n {
        load.until_more(20).await;
        server.end(Signal::SIGKILL).await;
        server.resume().await;
        load.until_more(20).await;
        let mut admin = server.connect().await;
        let n_before = n_crashes(&server);
        until("a backend is killed", async || {
            let backend: Option<i32> = sqlx::query_scalar(
                "select pid from pg_stat_activity where datname = 'colloquy'
                  order by query_start desc",
            )
            .fetch_optional(&mut admin)
            .await
            .expect("the backends are known");
            // One that has ended meanwhile leaves nobody to signal.
            kill(Pid::from_raw(backend?), Signal::SIGKILL).ok()
        })
        .await;
        until("PostgreSQL notices", async || (n_crashes(&server) > n_before).then_some(())).await;
    }
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    let n_crashes = n_crashes(&server);
    assert!(n_crashes >= n, "{n_crashes} backends were killed of {n}");
    drop(product);
    server.stop().await;
    format!("{n} servers and {n_crashes} backends killed ({told}), {n_done} commands acknowledged")
}

/// How many backends PostgreSQL has lost.
fn n_crashes(server: &Postgres) -> usize {
    server.log().matches("was terminated by signal 9").count()
}

async fn stands_still(length: Length) -> String {
    let server = Postgres::start().await;
    let mut product = api_on(&server).await;
    let load = product.load(8);
    load.until_more(40).await;
    let lasting = Duration::from_secs(length.of(5, 30));
    let pids = server.pids();
    for pid in &pids {
        let _ = kill(*pid, Signal::SIGSTOP);
    }
    let n_done = load.n_done();
    tokio::time::sleep(lasting).await;
    let n_meanwhile = load.n_done() - n_done;
    let (status, _) = product.admin.get("/health").await.expect("the API answers all along");
    assert_eq!(status, 200);
    for pid in &pids {
        let _ = kill(*pid, Signal::SIGCONT);
    }
    assert!(n_meanwhile <= 8, "{n_meanwhile} commands were acknowledged by nobody");
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    drop(product);
    server.stop().await;
    format!("{} processes stopped for {lasting:?} ({told}), {n_done} acknowledged", pids.len())
}

/// A disk of a few megabytes; it goes with this.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Needs the right to mount.
    fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={megabytes}m,mode=777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path());
        assert!(mount.status().is_ok_and(|ended| ended.success()), "mounting needs root");
        Self { folder }
    }

    /// A folder on it that the database may use.
    fn place(&self, name: &str) -> PathBuf {
        let place = self.folder.path().join(name);
        fs::create_dir(&place).expect("a folder");
        give_to_server(&place);
        place
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }

    /// Takes all that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut filler = fs::File::create(self.filler()).expect("a file");
        while filler.write_all(&[1; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).expect("a filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for the server that used it may still be ending.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

/// PostgreSQL refuses root, who lends it another account.
fn give_to_server(path: &Path) {
    if geteuid().is_root() {
        let user = User::from_name("postgres").ok().flatten();
        let user = user.or_else(|| User::from_name("nobody").ok().flatten()).expect("an account");
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("root may");
    }
}

async fn disk_is_full() -> String {
    let tables = tables_are_full().await;
    let log = write_ahead_log_is_full().await;
    format!("tables: {tables}; write-ahead log: {log}")
}

async fn tables_are_full() -> String {
    let disk = SmallDisk::mount(96);
    let server = Postgres::start().await;
    let place = disk.place("tables");
    let mut admin = server.connect().await;
    let statement = format!("create tablespace small location '{}'", place.display());
    sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await.expect("a tablespace");
    sqlx::query("alter database colloquy set tablespace small")
        .execute(&mut admin)
        .await
        .expect("the database moves");
    let mut product = api_on(&server).await;
    let load = product.load(4);
    load.until_more(40).await;
    let n_told = load.n_told();
    disk.fill();
    until_told(&load, n_told).await;
    let n_full = server.log().matches("No space left on device").count();
    assert!(n_full > 0, "PostgreSQL saw a full disk");
    disk.empty();
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    drop(product);
    server.stop().await;
    format!("{n_full} writes refused ({told}), {n_done} acknowledged")
}

async fn write_ahead_log_is_full() -> String {
    let disk = SmallDisk::mount(160);
    let folder = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::new(folder.path());
    settings.options = ["min_wal_size=32MB", "max_wal_size=64MB"].map(str::to_owned).to_vec();
    let mut server = Postgres::start_with(settings, folder).await;
    server.end(Signal::SIGQUIT).await;
    let (own, place) = (server.settings.data.join("pg/pg_wal"), disk.place("wal"));
    let moved = Command::new("cp").arg("-a").arg(own.join(".")).arg(&place).status();
    assert!(moved.is_ok_and(|ended| ended.success()), "the write-ahead log is copied");
    fs::remove_dir_all(&own).expect("removed");
    std::os::unix::fs::symlink(&place, &own).expect("a link");
    server.resume().await;
    let mut product = api_on(&server).await;
    let load = product.load(4);
    load.until_more(40).await;
    let n_told = load.n_told();
    disk.fill();
    let panics = "PANIC:  could not write to file";
    until("the write-ahead log is full", async || {
        // Each needs another segment.
        if let Ok(mut connection) =
            <sqlx::PgConnection as sqlx::Connection>::connect(&product.world.url).await
        {
            let switch = "select pg_switch_wal()";
            let _ = sqlx::query(switch).execute(&mut connection).await;
        }
        server.log().contains(panics).then_some(())
    })
    .await;
    until_told(&load, n_told).await;
    disk.empty();
    server.end(Signal::SIGQUIT).await;
    server.resume().await;
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    drop(product);
    let n_panics = server.log().matches(panics).count();
    server.stop().await;
    format!("{n_panics} PANICs ({told}), {n_done} acknowledged")
}

async fn snapshot_is_held(length: Length) -> String {
    let mut product = Product::whole().await;
    let load = product.load(8);
    load.until_more(40).await;
    let rate = async |lasting: Duration| {
        let (from, began_at) = (load.n_done(), Instant::now());
        tokio::time::sleep(lasting).await;
        (load.n_done() - from) as f64 / began_at.elapsed().as_secs_f64()
    };
    let lasting = Duration::from_secs(length.of(3, 600));
    let without = rate(Duration::from_secs(length.of(3, 60))).await;
    let mut snapshot = product.world.pool.begin().await.expect("a transaction");
    let held = "set transaction isolation level repeatable read";
    sqlx::query(held).execute(&mut *snapshot).await.expect("a snapshot");
    let count = "select count(*) from es_event";
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *snapshot).await.expect("read");
    let beside = rate(lasting).await;
    let still: i64 = sqlx::query_scalar(count).fetch_one(&mut *snapshot).await.expect("read");
    assert_eq!(seen, still, "the snapshot was held all the time");
    snapshot.rollback().await.expect("given back");
    // The figure itself is a benchmark's; a log that walks dead rows would be at a small part of it.
    assert!(
        beside > without / 3.0,
        "{beside:.0} commands/s beside the snapshot, {without:.0} before"
    );
    let n_done = finish(&mut product, load).await;
    format!(
        "held {lasting:?} at {seen} events: {beside:.0} commands/s beside it, {without:.0} before, \
         {n_done} acknowledged"
    )
}

/// A folder of PostgreSQL's programs whose server fails to flush while the answered file exists.
fn programs_that_fail_to_flush(folder: &Path) -> (PathBuf, PathBuf) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("permissions");
    let (library, sign) = (folder.join("failing_flush.so"), folder.join("fails"));
    let source = root().join("server/tests/chaos/failing_flush.c");
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compile.status().is_ok_and(|ended| ended.success()), "cc compiles");
    let (real, own) = (find_programs(None).expect("PostgreSQL"), folder.join("bin"));
    fs::create_dir(&own).expect("a folder");
    for program in fs::read_dir(&real).expect("programs").flatten() {
        if program.file_name() != "postgres" {
            let link = own.join(program.file_name());
            std::os::unix::fs::symlink(program.path(), link).expect("a link");
        }
    }
    let script = format!(
        "#!/bin/sh\nexport LD_PRELOAD={} FLUSH_FAILS_IF={}\nexec {}/postgres \"$@\"\n",
        library.display(),
        sign.display(),
        real.display()
    );
    let wrapper = own.join("postgres");
    fs::write(&wrapper, script).expect("a script");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("allowed");
    (own, sign)
}

async fn flushing_fails() -> String {
    let (folder, wrapped) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (programs, sign) = programs_that_fail_to_flush(wrapped.path());
    let mut settings = Settings::new(folder.path());
    settings.pg_bin = Some(programs);
    let mut server = Postgres::start_with(settings, folder).await;
    let mut product = api_on(&server).await;
    let load = product.load(4);
    load.until_more(40).await;
    let failed = "could not fsync file";
    let n_failed = |server: &Postgres| {
        let log = server.log();
        log.lines().filter(|line| line.contains("PANIC") && line.contains(failed)).count()
    };
    fs::write(&sign, "").expect("a file");
    until("flushing fails", async || (n_failed(&server) > 0).then_some(())).await;
    server.end(Signal::SIGKILL).await;
    fs::remove_file(&sign).expect("a file");
    server.resume().await;
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    drop(product);
    let n_failed = n_failed(&server);
    server.stop().await;
    format!("{n_failed} flushes failed, a PANIC each ({told}), {n_done} acknowledged")
}

async fn nothing_is_free(length: Length) -> String {
    let server = Postgres::start().await;
    let mut product = api_on(&server).await;
    let narrow = [("COLLOQUY_DATABASE__MAX_CONNECTIONS", "2")];
    let serve = product.world.start_with("serve", &narrow);
    product.turn_to(serve).await.terminate().await;
    let lasting = Duration::from_secs(length.of(3, 15));
    let load = product.load(4);
    load.until_more(20).await;

    // Twenty readers wait for a table; two connections are all there are.
    let mut lock = product.world.pool.begin().await.expect("a transaction");
    sqlx::query("lock table rm_job_v1 in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("locked");
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let admin = product.admin.clone();
        readers.spawn(async move {
            let document = "query($first: Int) { jobs(first: $first) { totalCount } }";
            admin.try_ask(document, &json!({ "first": 1 })).await.expect("an answer")
        });
    }
    tokio::time::sleep(lasting).await;
    let early: Vec<_> = std::iter::from_fn(|| readers.try_join_next()).collect();
    assert!(early.iter().all(|read| read.as_ref().is_ok_and(Result::is_err)), "{early:?}");
    lock.rollback().await.expect("given back");
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    let rest = readers.join_all().await;
    for read in early.into_iter().map(|read| read.expect("no panic")).chain(rest) {
        let code = read.map_or_else(|refused| refused.code, |_| "read".into());
        *codes.entry(code).or_default() += 1;
    }

    let mut waited = vec![];
    for (setting, sign) in
        [("lock_timeout", "due to lock timeout"), ("statement_timeout", "due to statement timeout")]
    {
        waited.push(appends_time_out(&server, &product, &load, setting, sign).await);
    }
    let told = load.told();
    let n_done = finish(&mut product, load).await;
    drop(product);
    server.stop().await;
    format!(
        "20 readers on 2 connections: {codes:?}; {} for {told}; {n_done} acknowledged",
        waited.join(", ")
    )
}

/// Appends wait for the order's lock longer than this setting allows; answers how often PostgreSQL
/// ended one.
async fn appends_time_out(
    server: &Postgres,
    product: &Product,
    load: &Load,
    setting: &str,
    sign: &str,
) -> String {
    let mut admin = server.connect().await;
    let mut lock = product.world.connect().await;
    sqlx::query("begin").execute(&mut lock).await.expect("a transaction");
    sqlx::query("select es_lock_order()").execute(&mut lock).await.expect("locked");
    let set = format!("alter database colloquy set {setting} = '200ms'");
    sqlx::query(AssertSqlSafe(set)).execute(&mut admin).await.expect("set");
    // New connections have the new limit.
    let renew = "select pg_terminate_backend(pid) from pg_stat_activity
                  where application_name = 'colloquy log'";
    sqlx::query(renew).execute(&mut admin).await.expect("told");
    let n_ended = || server.log().matches(sign).count();
    let n_before = n_ended();
    until("PostgreSQL ends an append", async || (n_ended() > n_before).then_some(())).await;
    let n_told = load.n_told();
    until_told(load, n_told).await;
    sqlx::query("rollback").execute(&mut lock).await.expect("given back");
    let reset = format!("alter database colloquy reset {setting}");
    sqlx::query(AssertSqlSafe(reset)).execute(&mut admin).await.expect("reset");
    sqlx::query(renew).execute(&mut admin).await.expect("told");
    load.until_more(20).await;
    format!("{} x {sign}", n_ended() - n_before)
}

async fn goes_back(length: Length) -> String {
    let restored = log_is_restored().await;
    let migrated = migrations_are_disturbed(length).await;
    format!("{restored}; {migrated}")
}

/// The product goes on from a backup, while the topics hold what came after it.
async fn log_is_restored() -> String {
    let mut server = Postgres::start().await;
    let broker = std::env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP names a broker");
    let mut world = World::on(server.url());
    world.use_kafka(broker, true);
    let mut product = Product::on(world).await;
    let relay = product.world.start("relay");
    until_publishing(&relay).await;
    let load = product.load(4);
    load.until_more(40).await;
    let done = load.stop().await;
    server.end(Signal::SIGQUIT).await;
    let (cluster, backup) = (server.settings.data.join("pg"), server.settings.data.join("backup"));
    copy(&cluster, &backup);
    server.resume().await;
    let load = product.load(4);
    load.until_more(40).await;
    let lost = load.stop().await;
    product.world.topics_equal_the_log().await;
    assert!(relay.terminate().await.success());
    product.serve.kill();
    server.end(Signal::SIGQUIT).await;
    fs::remove_dir_all(&cluster).expect("removed");
    copy(&backup, &cluster);
    server.resume().await;
    product.restart().await;
    for command in &lost {
        let n = n_stored(&product.world, command.command).await;
        assert_eq!(n, 0, "the restored log is from before");
    }

    let mut relay = product.world.start("relay");
    let job = format!("{}.job.v1", product.world.prefix());
    until("the relay refuses to go on", async || {
        let lines = relay.lines();
        let refused = lines.iter().any(|line| {
            line["message"] == "the topic's relay stopped"
                && line["topic"] == job.as_str()
                && line["reason"].as_str().is_some_and(|why| why.contains("does not hold"))
        });
        refused.then_some(())
    })
    .await;
    relay.signal(Signal::SIGTERM);
    relay.until_ended().await;
    // Commands go on meanwhile.
    let load = product.load(4);
    load.until_more(40).await;
    let mut all = load.stop().await;
    let logged: Vec<String> = sqlx::query_scalar("select distinct category from es_stream")
        .fetch_all(&product.world.pool)
        .await
        .expect("the log can be read");
    let prefix = product.world.prefix();
    let names: Vec<_> = logged.iter().map(|category| format!("{prefix}.{category}.v1")).collect();
    delete_topics(&product.world, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _relay = product.world.start("relay");
    let _project = product.world.start("project");
    all.extend(done);
    product.holds(&all).await;
    product.is_published_and_projected().await;
    drop((_relay, _project));
    drop(product);
    server.stop().await;
    format!(
        "the restored log lacked {} published commands: the relay refused, the emptied topics were \
         filled",
        lost.len()
    )
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|ended| ended.success()), "{} is copied", from.display());
}

async fn migrations_are_disturbed(length: Length) -> String {
    let mut n_whole = vec![];
    for n_tables in length.of(vec![0, 14], vec![0, 1, 5, 9, 14, 20, 24]) {
        let world = World::without_kafka().await;
        let mut holder = stop_at_a_table(&world, n_tables).await;
        let mut cut = world.start("migrate");
        until_lock_is_waited_for(&world, GATE).await;
        cut.kill();
        n_whole.push(n_migrations(&world).await);
        let go_on = "drop event trigger chaos_wait; drop function chaos_wait;
                     select pg_advisory_unlock(4711)";
        sqlx::raw_sql(go_on).execute(&mut holder).await.expect("no trigger");
        for (ended, said) in three_migrate(&world).await {
            assert!(ended.success(), "{said}");
        }
        assert_eq!(n_migrations(&world).await, all_migrations(), "each is applied once");
        let product = Product::on(world).await;
        assert_eq!(
            n_migrations(&product.world).await,
            all_migrations(),
            "one more changes nothing"
        );
        let load = product.load(2);
        load.until_more(5).await;
        let done = load.stop().await;
        product.holds(&done).await;
    }
    let is_inside = |n: &i64| (1..all_migrations()).contains(n);
    assert!(n_whole[0] == 0 && n_whole.iter().any(is_inside), "cut at {n_whole:?}");
    format!(
        "SIGKILL inside a migration, after {n_whole:?} of {} whole ones; then three programs at once, \
         then one more: each migration applied once",
        all_migrations()
    )
}

/// Lets a migration stand still in its transaction, before it changes a schema with so many tables, as
/// long as somebody holds this lock.
async fn stop_at_a_table(world: &World, n_tables: i64) -> sqlx::PgConnection {
    let mut holder = world.connect().await;
    let statements = format!(
        "create function chaos_wait() returns event_trigger language plpgsql as $$ begin
           if {n_tables} <= (select count(*) from pg_class
                              where relkind = 'r' and relnamespace = 'public'::regnamespace) then
             perform pg_advisory_xact_lock(4711);
           end if; end $$;
         create event trigger chaos_wait on ddl_command_start execute function chaos_wait();
         select pg_advisory_lock(4711)"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut holder).await.expect("a trigger");
    holder
}

/// How many migrations the database has.
async fn n_migrations(world: &World) -> i64 {
    let mut connection = world.connect().await;
    let is_begun: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut connection)
        .await
        .expect("read");
    if !is_begun {
        return 0;
    }
    sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(&mut connection)
        .await
        .expect("read")
}

/// How many there are.
fn all_migrations() -> i64 {
    let files = fs::read_dir(root().join("migrations")).expect("a folder").flatten();
    let is_one = |file: &fs::DirEntry| file.path().extension().is_some_and(|end| end == "sql");
    i64::try_from(files.filter(is_one).count()).expect("few")
}

/// Three migrations at once.
async fn three_migrate(world: &World) -> [(std::process::ExitStatus, String); 3] {
    let (one, two, three) =
        tokio::join!(world.run(&["migrate"]), world.run(&["migrate"]), world.run(&["migrate"]));
    [one, two, three]
}
