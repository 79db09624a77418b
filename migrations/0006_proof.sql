-- The Merkle tree over the log (RFC 9162), the checkpoints signed over it, and the public keys.
--
-- The tree is kept in tiles of up to 256 hashes, as C2SP tlog-tiles cuts it: tile (0, i) has the
-- leaves 256·i …, and each full tile of one level gives one hash of the level above. A full tile never
-- changes, the last of a level only gets longer.

create table proof_tile (
  level  smallint not null,
  index  bigint   not null,
  hashes bytea    not null,
  primary key (level, index),
  check (octet_length(hashes) % 32 = 0 and octet_length(hashes) between 32 and 8192)
);

create table proof_log (                     -- the log's name in everything that is signed; one row
  single boolean primary key default true check (single),
  origin text    not null
);

create table proof_key (                     -- public halves; the private ones lie wrapped in vault.secret
  key_number   int         primary key check (key_number > 0),
  public_key   bytea       not null check (octet_length(public_key) = 32),
  introduction text        check ((introduction is null) = (key_number = 1)),  -- signed by the key before and by itself
  created_at   timestamptz not null default clock_timestamp()
);

create table proof_checkpoint (
  checkpoint_number bigint      generated always as identity primary key,
  size              bigint      not null,
  root              bytea       not null,
  signed_at         timestamptz not null,
  note              text        not null
);

create function proof_forbid() returns trigger language plpgsql as $$
begin
  raise exception 'the tree and its checkpoints only grow';
end $$;

create function proof_only_longer() returns trigger language plpgsql as $$
begin
  if (new.level, new.index) <> (old.level, old.index)
     or substr(new.hashes, 1, octet_length(old.hashes)) <> old.hashes then
    raise exception 'the tree only grows';
  end if;
  return new;
end $$;

-- Against mistakes; whoever may drop a trigger is found out by the checkpoints that others keep.
create trigger proof_tile_grows before update on proof_tile for each row execute function proof_only_longer();
create trigger proof_tile_stays before delete on proof_tile for each row execute function proof_forbid();
create trigger proof_key_stays before update or delete on proof_key for each row execute function proof_forbid();
create trigger proof_checkpoint_stays before update or delete on proof_checkpoint for each row execute function proof_forbid();
revoke all on proof_tile, proof_log, proof_key, proof_checkpoint from public;
