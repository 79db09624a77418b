-- The event log, what must be unique across its streams, and the vault of the subjects' keys.
--
-- Positions are 1, 2, 3 … in commit order: whoever gives them out holds the order's lock, an advisory
-- lock of the transaction, until the commit is done. An updated head row would do the same, but it
-- collects dead versions under any long snapshot in the database and every append would walk them.

create table es_stream (
  tenant_id uuid not null,
  category  text collate "C" not null,
  stream_id uuid not null,
  version   bigint not null,
  primary key (tenant_id, category, stream_id)
) with (fillfactor = 80);

-- An owner holds at most one key of a kind, whatever its scope.
create table es_claim (
  tenant_id uuid not null,
  category  text collate "C" not null,
  stream_id uuid not null,
  kind      text collate "C" not null,
  scope_id  uuid not null,                    -- in whose name the key is unique; nil for everywhere
  key       bytea not null,                   -- HMAC of the value
  primary key (tenant_id, category, stream_id, kind),
  unique (scope_id, kind, key)
);

create table es_event (
  position       bigint      not null,        -- without a gap, in commit order
  recorded_at    timestamptz not null,        -- never falls as the position grows
  tenant_id      uuid        not null,
  category       text collate "C" not null,
  stream_id      uuid        not null,
  version        bigint      not null,
  event_id       uuid        not null,
  event_type     text collate "C" not null,
  schema_version smallint    not null,
  command_id     uuid        not null,
  fingerprint    bytea       not null,        -- HMAC of the client's canonical input
  correlation_id uuid        not null,
  causation_id   uuid,
  actor          text collate "C" not null,
  trace_parent   text collate "C",
  occurred_at    timestamptz not null,
  payload        bytea       not null check (octet_length(payload) <= 262144),  -- the bytes as written, personal fields sealed
  hash           bytea       not null,        -- binds envelope and payload
  primary key (position)
) partition by range (position);

create index es_event_category on es_event (category, position);

create function es_forbid() returns trigger language plpgsql as $$
begin
  raise exception 'the log is append-only';
end $$;

create trigger es_event_immutable before update or delete on es_event
  for each row execute function es_forbid();
create trigger es_event_whole before truncate on es_event execute function es_forbid();
revoke all on es_event, es_stream, es_claim from public;

-- The last position there is, 0 if there is none.
create function es_head() returns bigint language sql stable as $$
  select coalesce((select position from es_event order by position desc limit 1), 0)
$$;

-- Makes the partition for the next position and at least one more, each for ten million positions.
-- Answers the last position that has a place. Attaching does not hold up appends.
create function es_ensure_partitions() returns bigint
language plpgsql security definer set search_path = public, pg_catalog, pg_temp as $$
declare
  size constant bigint := 10000000;
  last bigint;
  wanted bigint;
  part text;
begin
  perform pg_advisory_xact_lock(7305808870195457907);
  select coalesce(max(substr(c.relname, 11)::bigint), -1) into last
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'es_event'::regclass and c.relname ~ '^es_event_p[0-9]+$';
  wanted := es_head() / size + 1;
  for n in last + 1 .. wanted loop
    part := 'es_event_p' || n;
    execute format('create table %I (like es_event including all)', part);
    execute format('create unique index on %I (tenant_id, category, stream_id, version)', part);
    execute format('create trigger es_event_whole before truncate on %I execute function es_forbid()', part);
    execute format('revoke all on %I from public', part);
    execute format('alter table es_event attach partition %I for values from (%s) to (%s)',
                   part, n * size + 1, (n + 1) * size + 1);
  end loop;
  return (greatest(last, wanted) + 1) * size;
end $$;

select es_ensure_partitions();

-- How many more positions have a place.
create function es_positions_left() returns bigint language sql stable as $$
  select (coalesce(max(substr(c.relname, 11)::bigint), -1) + 1) * 10000000 - es_head()
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'es_event'::regclass and c.relname ~ '^es_event_p[0-9]+$'
$$;

-- The vault. A forgotten key keeps its row as a tombstone, so that it is never made again.
create schema vault;

create table vault.subject_key (
  key_id       uuid primary key,
  company_id   uuid not null,
  subject_kind text collate "C" not null,
  subject_id   uuid not null,
  wrapped      bytea,
  created_at   timestamptz not null default clock_timestamp(),
  forgotten_at timestamptz,
  unique (company_id, subject_kind, subject_id),
  check ((wrapped is null) = (forgotten_at is not null))
);

create table vault.subject_stream (            -- which streams hold what a key sealed
  key_id     uuid not null,
  company_id uuid not null,
  category   text collate "C" not null,
  stream_id  uuid not null,
  primary key (key_id, company_id, category, stream_id)
);

create table vault.secret (
  name    text primary key,
  wrapped bytea not null
);

revoke all on schema vault from public;

-- A subject's key, stored first if there is none; nothing while another one is storing it. Does not wait
-- for the disk: the append that first names the key does, and whatever is in the server's log before it
-- is then there, too.
create function vault.make_key(fresh_id uuid, company uuid, kind text, subject uuid, fresh bytea)
returns setof vault.subject_key language plpgsql set search_path = public, pg_catalog, pg_temp as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
    with made as (
      insert into vault.subject_key (key_id, company_id, subject_kind, subject_id, wrapped)
      values (fresh_id, company, kind, subject, fresh) on conflict do nothing
      returning *)
    select * from made
    union all
    select k.* from vault.subject_key k
     where k.company_id = company and k.subject_kind = kind and k.subject_id = subject;
end $$;

-- Every append begins here. A transaction that sees less than what was committed before it got the
-- lock would give positions out twice, so it is refused.
create function es_lock_order() returns void language plpgsql as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'appends need read committed';
  end if;
  perform pg_advisory_xact_lock(7305808870195457906);
end $$;

-- Forgets a subject's key under the order's lock: an append sealed with it is committed before, and
-- its stream is among those answered, or it is refused. Answers the key's id.
create function vault.forget(company uuid, kind text, subject uuid, fresh_id uuid) returns uuid
language plpgsql security definer set search_path = public, pg_catalog, pg_temp as $$
declare
  id uuid;
begin
  perform es_lock_order();
  insert into vault.subject_key as k (key_id, company_id, subject_kind, subject_id, forgotten_at)
  values (fresh_id, company, kind, subject, clock_timestamp())
      on conflict (company_id, subject_kind, subject_id)
      do update set wrapped = null, forgotten_at = coalesce(k.forgotten_at, excluded.forgotten_at)
  returning key_id into id;
  perform pg_notify('colloquy_key_forgotten', id::text);
  return id;
end $$;

-- One append alone: the batch's judgement below without its sets, which cost more than one command.
--
-- Each statement has a snapshot of its own, newer than the lock, so what is read cannot change.
-- Sequential scans are off because the generic plans are made while the tables are empty.
create function es_append_one(
  c_tenant uuid, c_category text, c_stream uuid, c_expected bigint, c_command uuid, c_fingerprint bytea,
  c_correlation uuid, c_causation uuid, c_actor text, c_trace text,
  s_key uuid[], p_key uuid[],
  g_tenant uuid[], g_category text[], g_stream uuid[], g_version bigint[],
  k_scope uuid[], k_kind text[], k_key bytea[],
  e_id uuid[], e_type text[], e_schema smallint[], e_occurred timestamptz[], e_payload bytea[], e_hash bytea[],
  out status text, out claim text, out version bigint, out last_position bigint, out recorded_at timestamptz)
language plpgsql security definer
set search_path = public, pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  n constant int := cardinality(e_id);
  base bigint;
  n_alive bigint;
begin
  perform es_lock_order();
  select s.version into es_append_one.version
    from es_stream s where s.tenant_id = c_tenant and s.category = c_category and s.stream_id = c_stream;
  select e.position, e.recorded_at into base, es_append_one.recorded_at from es_event e order by e.position desc limit 1;
  base := coalesce(base, 0);
  version := coalesce(version, 0);
  if version <> c_expected then
    status := 'conflict';
    return;
  end if;
  if cardinality(s_key) = 1 then
    if not exists (select from vault.subject_key v where v.key_id = s_key[1] and v.forgotten_at is null) then
      status := 'erased';
      return;
    end if;
  elsif cardinality(s_key) > 1 then
    select count(*) into n_alive from unnest(s_key) k
     where exists (select from vault.subject_key v where v.key_id = k and v.forgotten_at is null);
    if n_alive < cardinality(s_key) then
      status := 'erased';
      return;
    end if;
  end if;
  if cardinality(g_stream) > 0 and exists (
      select from unnest(g_tenant, g_category, g_stream, g_version) g(t, c, s, v)
       where g.v <> coalesce((select s2.version from es_stream s2
                               where s2.tenant_id = g.t and s2.category = g.c and s2.stream_id = g.s), 0)) then
    status := 'guard';
    return;
  end if;
  if cardinality(k_kind) > 0 then
    select k.kind into claim
      from unnest(k_scope, k_kind, k_key) with ordinality k(scope, kind, key, o)
      join es_claim h on h.scope_id = k.scope and h.kind = k.kind and h.key = k.key
     where (h.tenant_id, h.category, h.stream_id) <> (c_tenant, c_category, c_stream)
     order by k.o limit 1;
    if claim is not null then
      status := 'claimed';
      return;
    end if;
    delete from es_claim h using unnest(k_kind, k_key) k(kind, key)
     where k.key is null and h.tenant_id = c_tenant and h.category = c_category and h.stream_id = c_stream and h.kind = k.kind;
    insert into es_claim (tenant_id, category, stream_id, kind, scope_id, key)
    select c_tenant, c_category, c_stream, k.kind, k.scope, k.key
      from unnest(k_scope, k_kind, k_key) k(scope, kind, key) where k.key is not null
        on conflict (tenant_id, category, stream_id, kind) do update set scope_id = excluded.scope_id, key = excluded.key;
  end if;
  if cardinality(p_key) > 0 then
    insert into vault.subject_stream (key_id, company_id, category, stream_id)
    select p, c_tenant, c_category, c_stream from unnest(p_key) p on conflict do nothing;
  end if;

  if version = 0 then
    insert into es_stream (tenant_id, category, stream_id, version) values (c_tenant, c_category, c_stream, n);
  else
    update es_stream s set version = c_expected + n
     where s.tenant_id = c_tenant and s.category = c_category and s.stream_id = c_stream;
  end if;
  recorded_at := greatest(clock_timestamp(), recorded_at);
  if n = 1 then
    insert into es_event (position, recorded_at, tenant_id, category, stream_id, version, event_id, event_type, schema_version,
                          command_id, fingerprint, correlation_id, causation_id, actor, trace_parent, occurred_at, payload, hash)
    values (base + 1, es_append_one.recorded_at, c_tenant, c_category, c_stream, c_expected + 1, e_id[1], e_type[1], e_schema[1],
            c_command, c_fingerprint, c_correlation, c_causation, c_actor, c_trace, e_occurred[1], e_payload[1], e_hash[1]);
  else
    insert into es_event (position, recorded_at, tenant_id, category, stream_id, version, event_id, event_type, schema_version,
                          command_id, fingerprint, correlation_id, causation_id, actor, trace_parent, occurred_at, payload, hash)
    select base + v.o, es_append_one.recorded_at, c_tenant, c_category, c_stream, c_expected + v.o, v.id, v.ty, v.sv,
           c_command, c_fingerprint, c_correlation, c_causation, c_actor, c_trace, v.oc, v.pa, v.ha
      from unnest(e_id, e_type, e_schema, e_occurred, e_payload, e_hash) with ordinality v(id, ty, sv, oc, pa, ha, o);
  end if;
  status := 'ok';
  version := c_expected + n;
  last_position := base + n;
end $$;

-- Many appends in one call and one commit. The caller puts together only commands of which none
-- touches a stream or a claim's key that another one writes, so that judging all of them by what was
-- there before is right. A refused command is a status in the answer and harms no neighbour.
-- Arrays beginning with c have an element for each command, the others name the command they belong to.
create function es_append(
  c_tenant uuid[], c_category text[], c_stream uuid[], c_expected bigint[], c_n int[],
  s_cmd int[], s_key uuid[], p_cmd int[], p_key uuid[],
  g_cmd int[], g_tenant uuid[], g_category text[], g_stream uuid[], g_version bigint[],
  k_cmd int[], k_scope uuid[], k_kind text[], k_key bytea[],
  e_cmd int[], e_off int[], e_tenant uuid[], e_category text[], e_stream uuid[], e_version bigint[],
  e_id uuid[], e_type text[], e_schema smallint[], e_command uuid[], e_fingerprint bytea[], e_correlation uuid[],
  e_causation uuid[], e_actor text[], e_trace text[], e_occurred timestamptz[], e_payload bytea[], e_hash bytea[],
  out status text[], out claim text[], out version bigint[], out last_position bigint[], out recorded_at timestamptz)
language plpgsql security definer
set search_path = public, pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
  n constant int := cardinality(c_stream);
  next bigint;
  before bigint[];                             -- a command's position before its first event, -1 where it is refused
  verdict record;
begin
  perform es_lock_order();
  select e.position, e.recorded_at into next, es_append.recorded_at from es_event e order by e.position desc limit 1;
  next := coalesce(next, 0);
  recorded_at := greatest(clock_timestamp(), recorded_at);

  status := array_fill('ok'::text, array[n]);
  claim := array_fill(null::text, array[n]);
  -- From the weakest reason to the strongest, so that the strongest stands in the end.
  if cardinality(k_cmd) > 0 then
    for verdict in
        select distinct on (k.cmd) k.cmd, k.kind
          from unnest(k_cmd, k_scope, k_kind, k_key) with ordinality k(cmd, scope, kind, key, o)
          join es_claim h on h.scope_id = k.scope and h.kind = k.kind and h.key = k.key
         where (h.tenant_id, h.category, h.stream_id) <> (c_tenant[k.cmd], c_category[k.cmd], c_stream[k.cmd])
         order by k.cmd, k.o loop
      status[verdict.cmd] := 'claimed';
      claim[verdict.cmd] := verdict.kind;
    end loop;
  end if;
  if cardinality(g_cmd) > 0 then
    for verdict in
        select g.cmd from unnest(g_cmd, g_tenant, g_category, g_stream, g_version) g(cmd, t, c, s, v)
         where g.v <> coalesce((select s2.version from es_stream s2
                                 where s2.tenant_id = g.t and s2.category = g.c and s2.stream_id = g.s), 0) loop
      status[verdict.cmd] := 'guard';
    end loop;
  end if;
  if cardinality(s_cmd) > 0 then
    for verdict in
        select k.cmd from unnest(s_cmd, s_key) k(cmd, key)
         where not exists (select from vault.subject_key v where v.key_id = k.key and v.forgotten_at is null) loop
      status[verdict.cmd] := 'erased';
    end loop;
  end if;
  select array_agg(coalesce((select s.version from es_stream s
                              where s.tenant_id = u.t and s.category = u.c and s.stream_id = u.s), 0) order by u.o)
    into es_append.version from unnest(c_tenant, c_category, c_stream) with ordinality u(t, c, s, o);

  before := array_fill(-1::bigint, array[n]);
  last_position := before;
  for i in 1 .. n loop
    if version[i] <> c_expected[i] then
      status[i] := 'conflict';
    elsif status[i] = 'ok' then
      before[i] := next;
      next := next + c_n[i];
      version[i] := c_expected[i] + c_n[i];
      last_position[i] := next;
    end if;
  end loop;

  if cardinality(k_cmd) > 0 then
    delete from es_claim h using unnest(k_cmd, k_kind, k_key) k(cmd, kind, key)
     where k.key is null and before[k.cmd] >= 0 and h.kind = k.kind
       and h.tenant_id = c_tenant[k.cmd] and h.category = c_category[k.cmd] and h.stream_id = c_stream[k.cmd];
    insert into es_claim (tenant_id, category, stream_id, kind, scope_id, key)
    select c_tenant[k.cmd], c_category[k.cmd], c_stream[k.cmd], k.kind, k.scope, k.key
      from unnest(k_cmd, k_scope, k_kind, k_key) k(cmd, scope, kind, key) where k.key is not null and before[k.cmd] >= 0
        on conflict (tenant_id, category, stream_id, kind) do update set scope_id = excluded.scope_id, key = excluded.key;
  end if;
  if cardinality(p_cmd) > 0 then
    insert into vault.subject_stream (key_id, company_id, category, stream_id)
    select p.key, c_tenant[p.cmd], c_category[p.cmd], c_stream[p.cmd]
      from unnest(p_cmd, p_key) p(cmd, key) where before[p.cmd] >= 0 on conflict do nothing;
  end if;
  insert into es_stream (tenant_id, category, stream_id, version)
  select u.t, u.c, u.s, u.x + u.n from unnest(c_tenant, c_category, c_stream, c_expected, c_n) with ordinality u(t, c, s, x, n, o)
   where before[u.o] >= 0
      on conflict (tenant_id, category, stream_id) do update set version = excluded.version;
  insert into es_event (position, recorded_at, tenant_id, category, stream_id, version, event_id, event_type, schema_version,
                        command_id, fingerprint, correlation_id, causation_id, actor, trace_parent, occurred_at, payload, hash)
  select before[v.cmd] + v.off, es_append.recorded_at, v.te, v.ct, v.st, v.ve, v.id, v.ty, v.sv,
         v.cm, v.fi, v.co, v.ca, v.ac, v.tr, v.oc, v.pa, v.ha
    from unnest(e_cmd, e_off, e_tenant, e_category, e_stream, e_version, e_id, e_type, e_schema, e_command, e_fingerprint,
                e_correlation, e_causation, e_actor, e_trace, e_occurred, e_payload, e_hash)
           v(cmd, off, te, ct, st, ve, id, ty, sv, cm, fi, co, ca, ac, tr, oc, pa, ha)
   where before[v.cmd] >= 0;
end $$;

-- The greatest position recorded at or before a time, and whether that is final: a later event is
-- committed, or the order's lock was passed once after that time, so that no later one can be earlier.
create function es_position_at(until timestamptz, out reached bigint, out final boolean)
language plpgsql security definer
set search_path = public, pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off
as $$
declare
  head bigint := es_head();
  low bigint;
  high bigint;
  middle bigint;
  at timestamptz;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a position in time needs read committed';
  end if;
  select e.recorded_at into at from es_event e where e.position = head;
  if head = 0 or at <= until then
    final := clock_timestamp() > until;
    if final then
      -- Whoever was appending when the time came is done once the lock is passed.
      perform pg_advisory_xact_lock_shared(7305808870195457906);
      select e.position, e.recorded_at into head, at from es_event e order by e.position desc limit 1;
      head := coalesce(head, 0);
    end if;
    if head = 0 or at <= until then
      reached := head;
      return;
    end if;
  end if;
  final := true;
  low := 0;
  high := head - 1;
  while low < high loop
    middle := (low + high + 1) / 2;
    select e.recorded_at into at from es_event e where e.position = middle;
    if at <= until then low := middle; else high := middle - 1; end if;
  end loop;
  reached := low;
end $$;

-- For people: the payload as jsonb, null where it is not.
create function es_json(payload bytea) returns jsonb language plpgsql immutable as $$
begin
  return convert_from(payload, 'UTF8')::jsonb;
exception when others then
  return null;
end $$;

create view es_event_json as
select position, recorded_at, tenant_id, category, stream_id, version, event_id, event_type, schema_version, command_id,
       correlation_id, causation_id, actor, trace_parent, occurred_at, es_json(payload) as payload, encode(hash, 'hex') as hash
  from es_event;

-- Functions run with their owner's rights, so who may call them is granted by whoever sets up roles.
revoke all on function es_append, es_append_one, es_position_at, es_ensure_partitions, vault.forget from public;
revoke all on es_event_json from public;
