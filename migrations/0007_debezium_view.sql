-- The log in the columns of Debezium's outbox event router, for tools that poll by SQL, such as Kafka Connect's JDBC source
-- (incrementing column: position). Personal members of the payload are sealed here as they are in the log. Debezium's own
-- connector reads the write-ahead log and cannot capture a view.
create view es_outbox as
select event_id                                            as id,
       category                                            as aggregatetype,
       stream_id::text                                     as aggregateid,
       'colloquy.' || event_type || '.v' || schema_version as type,
       es_json(payload)                                    as payload,
       recorded_at                                         as "timestamp",
       tenant_id,
       version,
       position
  from es_event;

revoke all on es_outbox from public;
