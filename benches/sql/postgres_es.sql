-- postgres-es expects its user to make this table; names and types are its contract.
create table events (
  aggregate_type text, aggregate_id text, sequence bigint,
  event_type text not null, event_version text not null, payload json not null, metadata json not null,
  primary key (aggregate_type, aggregate_id, sequence)
);
