-- Which process publishes a topic to Kafka, for liveness only: the broker's fence keeps two
-- publishers apart. `expires_at` is on this database's clock, so that the processes' clocks do not
-- matter. A row may be deleted at any time: the topic is then free to be taken.
CREATE TABLE relay_leases (
    name       text        PRIMARY KEY,
    holder     uuid        NOT NULL,
    expires_at timestamptz NOT NULL
);
