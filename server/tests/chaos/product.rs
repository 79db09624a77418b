//! The product as processes, and what must hold of it after any fault.

use serde_json::json;

use crate::client::Client;
use crate::door::Door;
use crate::load::{Acknowledged, Load, repeats_are_answered_alike};
use crate::orders::{ADMINISTRATOR, administrator};
use crate::process::Process;
use crate::relays::until_publishing;
use crate::world::World;

/// Processes of the product on a database, and perhaps topics, of their own. Clients reach the API
/// through a door, so that it may be another process after a fault.
pub struct Product {
    /// Relay and projector, where the row does not look after them. Gone before their data.
    roles: Vec<Process>,
    pub world: World,
    pub serve: Process,
    pub door: Door,
    /// An administrator whose requests go through the door.
    pub admin: Client,
}

impl Product {
    /// The API, a relay and a projector on the shared test server and broker.
    pub async fn whole() -> Self {
        Self::whole_on(World::with_kafka().await).await
    }

    /// The API, a relay and a projector in this world.
    pub async fn whole_on(world: World) -> Self {
        let mut product = Self::on(world).await;
        let [relay, project] = ["relay", "project"].map(|role| product.world.start(role));
        // Before they are up, a fault ends them with a word: whoever runs them starts them again.
        until_publishing(&relay).await;
        product.world.until_projected().await;
        product.roles = vec![relay, project];
        product
    }

    /// The API without Kafka on the shared test server; projectors are started by the row.
    pub async fn api() -> Self {
        Self::on(World::without_kafka().await).await
    }

    /// The API on the shared test server and broker; the other roles are started by the row.
    pub async fn with_kafka() -> Self {
        Self::on(World::with_kafka().await).await
    }

    /// The API in this world.
    pub async fn on(world: World) -> Self {
        world.migrate().await;
        let mut serve = world.start("serve");
        let admin = administrator(&world, &mut serve).await;
        let address = serve.address().await;
        let door = Door::to(address).await;
        let admin = admin.at(door.address);
        Self { roles: vec![], world, serve, door, admin }
    }

    /// The administrator without the connections kept from before, which may be cut already: a request
    /// sent once arrives.
    pub fn admin_on_new_connections(&self) -> Client {
        Client::new(self.door.address).with_token(self.admin.token())
    }

    /// The administrator, signed in anew.
    pub async fn sign_in(&self) -> Client {
        let (email, password) = ADMINISTRATOR;
        let input = json!({ "email": email, "password": password });
        self.admin.stranger().enter("signIn", input).await
    }

    pub fn load(&self, n_writers: usize) -> Load {
        Load::start(&self.admin, n_writers)
    }

    /// Lets clients go to another process of the API, which replaces the one before.
    pub async fn turn_to(&mut self, mut serve: Process) -> Process {
        self.door.turn_to(serve.address().await);
        std::mem::replace(&mut self.serve, serve)
    }

    /// Starts the API again, after it was ended.
    pub async fn restart(&mut self) {
        let serve = self.world.start("serve");
        let mut ended = self.turn_to(serve).await;
        assert!(ended.has_ended(), "two processes where there was one");
    }

    /// Asserts what must hold of the log after every fault, and of all that follows from it where the
    /// row leaves relay and projector to the product.
    pub async fn holds(&self, acknowledged: &[Acknowledged]) {
        assert!(!acknowledged.is_empty(), "nothing was acknowledged, so nothing is shown");
        self.log_holds(acknowledged).await;
        repeats_are_answered_alike(&self.admin, acknowledged).await;
        // A repeat writes nothing.
        self.log_holds(acknowledged).await;
        if !self.roles.is_empty() {
            self.is_published_and_projected().await;
        }
    }

    /// Asserts that topics and read models are what the log says.
    pub async fn is_published_and_projected(&self) {
        self.world.topics_equal_the_log().await;
        self.world.read_models_equal_their_rebuild().await;
    }

    async fn log_holds(&self, acknowledged: &[Acknowledged]) {
        let pool = &self.world.pool;
        let (commands, versions): (Vec<_>, Vec<_>) = acknowledged
            .iter()
            .map(|done| (done.command, done.receipt["version"].as_i64().expect("a version")))
            .unzip();
        let n_lost: i64 = sqlx::query_scalar(
            "with stored as (
               select command_id, version, count(*) as n from es_event group by 1, 2)
             select count(*) from unnest($1::uuid[], $2::bigint[]) a(command, version)
               left join stored s on s.command_id = a.command and s.version = a.version
              where s.n is distinct from 1",
        )
        .bind(&commands)
        .bind(&versions)
        .fetch_one(pool)
        .await
        .expect("the log can be read");
        assert_eq!(n_lost, 0, "acknowledged commands that are not in the log once");
        let n_doubled: i64 = sqlx::query_scalar(
            "select count(*) from (select 1 from es_event where category = 'job'
              group by command_id having count(*) > 1) doubled",
        )
        .fetch_one(pool)
        .await
        .expect("the log can be read");
        assert_eq!(n_doubled, 0, "commands that took effect twice");
        let n_holes: i64 = sqlx::query_scalar(
            "select count(*) from (
               select version - row_number() over (
                        partition by tenant_id, category, stream_id order by version) as hole
                 from es_event) versions where hole <> 0",
        )
        .fetch_one(pool)
        .await
        .expect("the log can be read");
        assert_eq!(n_holes, 0, "versions are 1, 2, 3 …");
        let (n, last): (i64, i64) =
            sqlx::query_as("select count(*), coalesce(max(position), 0) from es_event")
                .fetch_one(pool)
                .await
                .expect("the log can be read");
        assert_eq!(n, last, "positions are 1, 2, 3 …");
    }
}
