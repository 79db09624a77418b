-- How far each consumer (a read model's generation, or a reactor) has come, beside its rows.

create table consumer_applied (
  consumer   text   not null,
  company_id uuid   not null,
  category   text   not null,
  stream_id  uuid   not null,
  version    bigint not null,
  expected   bigint not null,            -- the version that the last move started from
  primary key (consumer, company_id, category, stream_id)
) with (fillfactor = 80);

create table consumer_checkpoint (
  consumer  text   not null,
  source    text   not null,             -- 'log' or a topic
  partition int    not null,
  next      bigint not null,
  primary key (consumer, source, partition)
) with (fillfactor = 50);

create table consumer_parked (           -- a poison event parks its stream; later events wait in the log
  consumer   text        not null,
  company_id uuid        not null,
  category   text        not null,
  stream_id  uuid        not null,
  version    bigint      not null,
  error      text        not null,       -- what kind of fault, never content
  parked_at  timestamptz not null default now(),
  primary key (consumer, company_id, category, stream_id)
);

create table deadline (                  -- what is due later; claimed by one worker at a time
  deadline_id uuid        not null primary key,   -- derived from what caused it
  kind        text        not null,
  company_id  uuid        not null,
  category    text        not null,
  stream_id   uuid        not null,
  detail      uuid,                       -- what within the stream, such as a question
  due_at      timestamptz not null,
  cause       uuid        not null        -- the event that set it
);
create index on deadline (due_at);
create unique index on deadline (company_id, category, stream_id, kind, detail) nulls not distinct;
