-- Generations of read models: each has its own table, its own applied versions and checkpoints (under
-- its consumer's name), and at most one of each version is live, which is the one that queries find
-- through the view `<shape>_v<version>`. A program follows and shows generations of its own version
-- only, so that programs of two versions can run side by side.

create sequence read_model_generation_number start 2;

create table read_model_generation (
  model        text        not null,
  generation   int         not null,
  version      int         not null,          -- of the fold that fills it
  shape        text        not null,          -- the table that it is made after; changed by migrations
  table_name   text        not null unique,
  consumer     text        not null unique,   -- in consumer_applied, consumer_checkpoint, consumer_parked
  filled       boolean     not null default false,   -- whether projectors follow it
  live         boolean     not null default false,   -- whether queries find it
  created_at   timestamptz not null default clock_timestamp(),
  went_live_at timestamptz,
  primary key (model, generation)
);
create unique index on read_model_generation (model, version) where live;

-- The second wall between companies: a role that owns nothing sees the rows of the company that its
-- connection names, and none where it names none. The owner, who fills the tables, sees all.
create function rm_wall(part text) returns void language plpgsql as $$
begin
  execute format('alter table %I enable row level security', part);
  execute format('create policy company on %I for select
                    using (company_id = nullif(current_setting(''colloquy.company_id'', true), '''')::uuid)', part);
end $$;

-- Whoever may read a shape may read what is made after it.
create function rm_share(of_shape text, part text) returns void language plpgsql as $$
declare
  reader text;
begin
  for reader in
    select r.rolname from pg_class c, aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
     where c.oid = of_shape::regclass and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
  loop
    execute format('grant select on %I to %I', part, reader);
  end loop;
end $$;

-- A view that queries find. It asks with the rights of whoever asks it, so that the wall stands behind it.
create function rm_show(of_shape text, of_version int, part text) returns void language plpgsql as $$
declare
  shown constant text := of_shape || '_v' || of_version;
begin
  execute format('create view %I with (security_invoker = true) as select * from %I', shown, part);
  perform rm_share(of_shape, shown);
end $$;

-- Lets a role read every read model, those made later included. Nothing is locked where it may already.
create function rm_let_read(reader text) returns void language plpgsql as $$
declare
  part text;
  parts constant text :=
    'select p from read_model_generation g,
            lateral (values (g.shape), (g.table_name), (case when g.live then g.shape || ''_v'' || g.version end)) v(p)
      where p is not null and not has_table_privilege($1, p, ''select'') group by p';
begin
  if not has_schema_privilege(reader, 'public', 'usage') then
    execute format('grant usage on schema public to %I', reader);
  end if;
  execute parts into part using reader;
  if part is null then
    return;
  end if;
  -- Nothing is made, shown or dropped meanwhile.
  lock table read_model_generation in share row exclusive mode;
  for part in execute parts using reader loop
    execute format('grant select on %I to %I', part, reader);
  end loop;
end $$;

-- Makes an empty table after the shape, without its secondary indexes, which are built when it is full.
create function rm_create_generation(of_model text, of_version int, of_shape text) returns int
language plpgsql as $$
declare
  number constant int := nextval('read_model_generation_number');
  part constant text := of_shape || '_g' || number;
  primary_key text;
  options text;
begin
  execute format('create table %I (like %I including all excluding indexes)', part, of_shape);
  select pg_get_constraintdef(oid) into strict primary_key
    from pg_constraint where conrelid = of_shape::regclass and contype = 'p';
  execute format('alter table %I add %s', part, primary_key);
  select array_to_string(reloptions, ', ') into options from pg_class where oid = of_shape::regclass;
  if options is not null then
    execute format('alter table %I set (%s)', part, options);
  end if;
  insert into read_model_generation (model, generation, version, shape, table_name, consumer)
  values (of_model, number, of_version, of_shape, part, format('%s.v%s.g%s', of_model, of_version, number));
  perform rm_wall(part);
  perform rm_share(of_shape, part);
  return number;
end $$;

-- Builds the shape's secondary indexes and lets projectors follow.
create function rm_finish_generation(of_model text, of_generation int) returns void
language plpgsql as $$
declare
  made read_model_generation;
  wanted record;
begin
  select * into strict made from read_model_generation
   where model = of_model and generation = of_generation for update;
  if made.filled then
    return;
  end if;
  for wanted in
    select indisunique, pg_get_indexdef(indexrelid) as definition
      from pg_index where indrelid = made.shape::regclass and not indisprimary order by indexrelid
  loop
    execute format('create %s index on %I using %s', case when wanted.indisunique then 'unique' else '' end,
                   made.table_name, substring(wanted.definition from ' USING (.*)$'));
  end loop;
  execute format('analyze %I', made.table_name);
  update read_model_generation set filled = true where model = of_model and generation = of_generation;
end $$;

-- Lets queries find this generation instead of the one that they found so far.
create function rm_go_live(of_model text, of_generation int) returns void
language plpgsql as $$
declare
  chosen read_model_generation;
begin
  select * into strict chosen from read_model_generation
   where model = of_model and generation = of_generation and filled for update;
  execute format('drop view if exists %I', chosen.shape || '_v' || chosen.version);
  perform rm_show(chosen.shape, chosen.version, chosen.table_name);
  update read_model_generation set live = false
   where model = of_model and version = chosen.version and live;
  update read_model_generation set live = true, went_live_at = clock_timestamp()
   where model = of_model and generation = of_generation;
end $$;

-- Removes a generation with all that was kept about it. A shape stays, empty.
create function rm_drop_generation(of_model text, of_generation int) returns void
language plpgsql as $$
declare
  gone read_model_generation;
begin
  delete from read_model_generation where model = of_model and generation = of_generation returning * into strict gone;
  if gone.live then
    execute format('drop view %I', gone.shape || '_v' || gone.version);
  end if;
  if gone.table_name = gone.shape then
    execute format('truncate %I', gone.shape);
  else
    execute format('drop table %I', gone.table_name);
  end if;
  delete from consumer_applied where consumer = gone.consumer;
  delete from consumer_checkpoint where consumer = gone.consumer;
  delete from consumer_parked where consumer = gone.consumer;
end $$;

-- For later migrations: `select rm_alter('rm_job', 'add column pinned boolean not null default false')`
-- changes a shape, every generation made after it, and the views.
create function rm_alter(of_shape text, action text) returns void
language plpgsql as $$
declare
  made read_model_generation;
begin
  for made in select * from read_model_generation where shape = of_shape and live loop
    execute format('drop view %I', of_shape || '_v' || made.version);
  end loop;
  execute format('alter table %I %s', of_shape, action);
  for made in select * from read_model_generation where shape = of_shape and table_name <> of_shape loop
    execute format('alter table %I %s', made.table_name, action);
  end loop;
  for made in select * from read_model_generation where shape = of_shape and live loop
    perform rm_show(of_shape, made.version, made.table_name);
  end loop;
end $$;

-- The tables that there are so far are the first generations, and the shapes of the next ones.
insert into read_model_generation (model, generation, version, shape, table_name, consumer, filled)
select model, 1, 1, shape, shape, model || '.v1', true
  from (values ('access_log', 'rm_access'), ('ai_calls', 'rm_ai_call'), ('applications', 'rm_application'), ('candidates', 'rm_candidate'),
               ('companies', 'rm_company'), ('interviews', 'rm_interview'), ('jobs', 'rm_job'),
               ('members', 'rm_member'), ('observations', 'rm_observation'), ('resumes', 'rm_resume'),
               ('transcripts', 'rm_transcript_turn'), ('verdicts', 'rm_verdict')) as known(model, shape);
select rm_wall(shape), rm_go_live(model, generation) from read_model_generation;

-- Who asked for a parked stream to be tried again; until it was, it does not count as parked.
alter table consumer_parked add column retry_by text;
create index on consumer_parked (consumer) where retry_by is not null;

-- Events that a person has decided to leave out of a read model or reactor, whatever its version and
-- generation. A rebuild leaves them out as well.
create table consumer_skip (
  family     text        not null,             -- the consumer without version and generation
  company_id uuid        not null,
  category   text        not null,
  stream_id  uuid        not null,
  version    bigint      not null,
  error      text        not null,             -- what kind of fault, never content
  reason     text        not null,
  skipped_by text        not null,
  skipped_at timestamptz not null default clock_timestamp(),
  primary key (family, company_id, category, stream_id, version)
);
