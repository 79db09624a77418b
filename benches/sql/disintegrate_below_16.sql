-- disintegrate-postgres 4.0.1 cannot install itself below PostgreSQL 16, because one of its functions has a hexadecimal
-- literal. There this file supplies that function, with the same lock keys, so that the crate's own reader works
-- unchanged, and the column and index which its set-up then never reached.
create or replace function event_store_begin_epoch() returns void language plpgsql as $$
declare
  s bigint;
  low bigint;
  d int;
begin
  select last_value into s from seq_event_event_id;
  select oid into d from pg_database where datname = current_database();
  low := s % 4294967296;
  if low > 2147483647 then low := low - 4294967296; end if;
  perform pg_try_advisory_xact_lock_shared(d, 0);
  perform pg_try_advisory_xact_lock_shared(1, low::int);
  perform pg_try_advisory_xact_lock_shared(2, (s / 4294967296)::int);
end $$;
alter table event add column if not exists interview_id uuid;
create index if not exists idx_event_interview_id on event (interview_id) where interview_id is not null;
