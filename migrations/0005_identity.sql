-- Who may enter: state that can be deleted at once, not history.

create schema identity;

create table identity.account (
  account_id    uuid        not null primary key,
  email         text        not null unique,      -- lower case
  password_hash text        not null,             -- Argon2id, PHC string; bcrypt after an import, until the next sign-in
  password_no   int         not null default 1,   -- counts the passwords: what was proved by another one is worth nothing
  created_at    timestamptz not null default now(),
  verified_at   timestamptz                       -- when its holder showed that the address is theirs
);

create index on identity.account (account_id) where password_hash like '$2%'; -- by bcrypt

create table identity.operator (                  -- who runs the platform
  account_id uuid not null primary key references identity.account on delete cascade
);

create table identity.membership (
  account_id uuid not null references identity.account on delete cascade,
  company_id uuid not null,
  member_id  uuid not null,
  by_provider bool not null default false,        -- the company's provider named the account, not its holder the company
  last_signed_in_at timestamptz,
  primary key (account_id, company_id),
  unique (company_id, member_id)
);

create table identity.candidacy (                 -- the login of a candidate's record, which the record itself judges
  account_id   uuid        not null references identity.account on delete cascade,
  company_id   uuid        not null,
  candidate_id uuid        not null,
  linked_at    timestamptz not null,
  primary key (account_id, company_id, candidate_id)
);

create table identity.candidate_registration (    -- not confirmed yet
  registration_id uuid        not null primary key, -- what its token derives from
  token_hash      bytea       not null unique,    -- SHA-256; the token itself is nowhere
  company_id      uuid        not null,
  email           text        not null,
  full_name       text        not null,
  password_hash   text        not null,           -- Argon2id, PHC string
  expires_at      timestamptz not null
);
create index on identity.candidate_registration (expires_at);

create table identity.session (
  session_id   uuid        not null primary key,
  account_id   uuid        not null references identity.account on delete cascade,
  company_id   uuid,                              -- null: the platform
  device       text,                              -- what the client called itself
  created_at   timestamptz not null,
  last_used_at timestamptz not null,
  expires_at   timestamptz not null,              -- of the newest refresh token
  is_bound     bool        not null,              -- a company's provider vouches for the holder, in that company only
  is_by_two_proofs bool not null,                 -- the holder came in by two proofs, which no later enrolment makes up for
  ended_at     timestamptz,
  unique (account_id, session_id)
);

create table identity.refresh_token (             -- all of a session's, so that one that comes again is known
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere
  account_id uuid        not null,
  session_id uuid        not null,
  expires_at timestamptz not null,
  used_at    timestamptz,
  foreign key (account_id, session_id) references identity.session (account_id, session_id) on delete cascade
);
create index on identity.refresh_token (session_id);

create table identity.login_attempt (             -- of addresses with and without an account alike
  email_key      bytea       not null primary key, -- HMAC of the address
  account_id     uuid        references identity.account on delete cascade,
  n_failed       int         not null default 0,
  last_failed_at timestamptz not null,
  locked_until   timestamptz,
  n_untold       int         not null default 0,  -- failures that no event tells of yet
  told_at        timestamptz
);
create index on identity.login_attempt (told_at) where n_untold > 0;
create index on identity.login_attempt (last_failed_at) where n_untold = 0;

create table identity.outbox (                    -- what happened to accounts, on its way into the log
  outbox_no  bigint      not null generated always as identity primary key,
  command_id uuid        not null unique,
  account_id uuid        not null,
  event      jsonb,                               -- nothing personal; null: the login was made, whose address its row has
  refused    text                                 -- why the log will never take it
);

create table identity.letter_token (              -- of letters to accounts, gone with its use
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere
  letter     text        not null,
  account_id uuid        not null references identity.account on delete cascade,
  expires_at timestamptz not null
);

create table identity.letter_pause (              -- of addresses with and without an account alike
  email_key bytea       not null primary key,     -- HMAC of the address
  until     timestamptz not null
);

create table identity.second_factor (
  account_id   uuid        not null primary key references identity.account on delete cascade,
  factor_id    uuid        not null,              -- what its secret derives from
  confirmed_at timestamptz,                       -- null: begun, and not asked for yet
  last_step    bigint      not null default 0     -- of the last code that was taken
);

create table identity.recovery_code (             -- not used yet
  account_id uuid  not null references identity.account on delete cascade,
  code_hash  bytea not null,                      -- SHA-256
  primary key (account_id, code_hash)
);

create table identity.second_step (               -- password given, code awaited
  token_hash  bytea       not null primary key,   -- SHA-256; the token itself is nowhere
  account_id  uuid        not null references identity.account on delete cascade,
  company_id  uuid,                               -- the place that was asked for, if any
  is_platform bool        not null,
  expires_at  timestamptz not null
);

create table identity.company_request (           -- not decided yet
  request_id    uuid        not null primary key,
  company_name  text        not null,
  domain        text,
  contact_name  text        not null,
  contact_email text        not null,
  requested_at  timestamptz not null
);

create table identity.api_key (                   -- how programs of a company come in
  key_id       uuid        not null primary key,
  key_hash     bytea       not null unique,       -- SHA-256; the key itself is nowhere
  company_id   uuid        not null,
  name         text        not null,
  rights       jsonb       not null,
  created_at   timestamptz not null,
  expires_at   timestamptz not null,
  last_used_at timestamptz,
  revoked_at   timestamptz
);
create index on identity.api_key (company_id, created_at);

create table identity.sign_on (                   -- a company's provider of OpenID Connect
  company_id    uuid  not null primary key,
  issuer        text  not null,
  client_id     text  not null,
  redirect_uri  text  not null,
  sealed_secret bytea not null                    -- AES-256-GCM, under a key that derives from the installation's secret
);

create table identity.sign_on_attempt (
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere
  attempt_id uuid        not null,                -- what state, nonce and verifier derive from
  company_id uuid        not null,
  expires_at timestamptz not null
);

create table identity.sign_on_link (              -- whom a provider names
  company_id uuid not null,
  issuer     text not null,
  subject    text not null,
  account_id uuid not null references identity.account on delete cascade,
  primary key (company_id, issuer, subject)
);

create table identity.mail (                      -- letters that are not sent yet
  mail_id uuid        not null primary key,       -- what their tokens derive from
  letter  text        not null,
  email   text        not null,
  due_at  timestamptz not null,
  n_tries int         not null default 0,
  note    text                                    -- what this one says besides, such as why not
);
create index on identity.mail (due_at);

create table identity.invitation (
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere. Shown to who invites
  mailed_hash bytea      not null unique,         -- of the token that is sent to the address itself
  company_id uuid        not null,
  member_id  uuid        not null,
  email      text        not null,
  expires_at timestamptz not null,
  version    bigint      not null,                -- of the member's stream, when these tokens were made
  used_by    uuid,
  unique (company_id, member_id)
);

create table identity.interview_access (          -- only says where a token belongs; the interview judges it
  token_hash   bytea not null primary key,
  company_id   uuid  not null,
  interview_id uuid  not null
);

create table identity.signing_key (               -- keys are derived from the installation's secret by this number
  key_number int         not null primary key,
  created_at timestamptz not null default now(),
  retired_at timestamptz
);
insert into identity.signing_key (key_number) values (1);

-- How much was asked of late, of all processes together. Unlogged: what a crash forgets are full buckets.
create unlogged table identity.rate_bucket (
  bucket_key bytea       not null primary key,    -- HMAC of class and subject: no address, no person
  full_at    timestamptz not null,                -- when it is full again, if nobody takes more
  n_granted  bigint      not null                 -- to who asked last
);
create index on identity.rate_bucket (full_at);

-- The second wall. A role that owns nothing is all that these tables are used by, and it is shown and may
-- change the rows that its connection is about, by what that names: a company, an account, a key that was
-- presented (the hash of a token, the HMAC of an address), an address, or the platform, as which it carries
-- the outbox, sends letters, lets companies in and purges what is over. Nothing named is nothing shown.
-- A new table needs a policy here and its line in identity.let_in.

create function identity.about_company() returns uuid language sql stable as $$
  select nullif(current_setting('colloquy.company_id', true), '')::uuid
$$;

create function identity.about_account() returns uuid language sql stable as $$
  select nullif(current_setting('colloquy.account_id', true), '')::uuid
$$;

create function identity.about_key() returns bytea language sql stable as $$
  select decode(nullif(current_setting('colloquy.key', true), ''), 'hex')
$$;

create function identity.about_email() returns text language sql stable as $$
  select nullif(current_setting('colloquy.email', true), '')
$$;

create function identity.about_platform() returns boolean language sql stable as $$
  select coalesce(current_setting('colloquy.platform', true), '') = 'true'
$$;

-- Of all tables but two: signing_key and rate_bucket have nothing of a company or a person.
do $$
declare
  part text;
begin
  foreach part in array array[
    'account', 'operator', 'membership', 'candidacy', 'candidate_registration', 'session', 'refresh_token',
    'login_attempt', 'outbox', 'letter_token',
    'letter_pause', 'second_factor', 'recovery_code', 'second_step', 'company_request', 'api_key', 'sign_on',
    'sign_on_attempt', 'sign_on_link', 'mail', 'invitation', 'interview_access'] loop
    execute format('alter table identity.%I enable row level security', part);
  end loop;
end $$;

create policy seen on identity.account for select
  using (account_id = identity.about_account() or email = identity.about_email());
create policy made on identity.account for insert with check (email = identity.about_email());
create policy changed on identity.account for update using (account_id = identity.about_account());

create policy seen on identity.operator for select using (account_id = identity.about_account());
create policy made on identity.operator for insert
  with check (account_id = identity.about_account() and identity.about_platform());

create policy seen on identity.membership for select
  using (account_id = identity.about_account() or company_id = identity.about_company());
create policy changed on identity.membership for update using (account_id = identity.about_account());
create policy made on identity.membership for insert
  with check (account_id = identity.about_account() and company_id = identity.about_company());

create policy seen on identity.candidacy for select using (account_id = identity.about_account());
create policy made on identity.candidacy for insert
  with check (account_id = identity.about_account() and company_id = identity.about_company());

create policy used on identity.candidate_registration
  using (token_hash = identity.about_key() or identity.about_platform())
  with check (company_id = identity.about_company());

create policy own on identity.session using (account_id = identity.about_account());

create policy seen on identity.refresh_token for select
  using (account_id = identity.about_account() or token_hash = identity.about_key());
create policy made on identity.refresh_token for insert with check (account_id = identity.about_account());
create policy changed on identity.refresh_token for update using (account_id = identity.about_account());

create policy counted on identity.login_attempt
  using (email_key = identity.about_key() or identity.about_platform());

-- Asked once, for all rows that are waiting: so an index still finds the oldest.
create policy told on identity.outbox for insert with check (account_id = identity.about_account());
create policy carried on identity.outbox using ((select identity.about_platform()));

create policy used on identity.letter_token
  using (token_hash = identity.about_key() or account_id = identity.about_account() or identity.about_platform())
  with check (account_id = identity.about_account());

create policy counted on identity.letter_pause
  using (email_key = identity.about_key() or identity.about_platform());

create policy own on identity.second_factor using (account_id = identity.about_account());

create policy own on identity.recovery_code using (account_id = identity.about_account());

create policy used on identity.second_step
  using (token_hash = identity.about_key() or account_id = identity.about_account() or identity.about_platform())
  with check (account_id = identity.about_account());

create policy decided on identity.company_request using ((select identity.about_platform()));

create policy seen on identity.api_key for select
  using (company_id = identity.about_company() or key_hash = identity.about_key());
create policy made on identity.api_key for insert with check (company_id = identity.about_company());
create policy changed on identity.api_key for update
  using (company_id = identity.about_company() or key_hash = identity.about_key());

create policy own on identity.sign_on using (company_id = identity.about_company());

create policy used on identity.sign_on_attempt
  using (token_hash = identity.about_key() or identity.about_platform())
  with check (company_id = identity.about_company());

create policy own on identity.sign_on_link using (company_id = identity.about_company())
  with check (company_id = identity.about_company() and account_id = identity.about_account());

create policy ordered on identity.mail for insert with check (true);
create policy sent on identity.mail using ((select identity.about_platform()));

create policy seen on identity.invitation for select
  using (company_id = identity.about_company() or identity.about_key() in (token_hash, mailed_hash));
create policy made on identity.invitation for insert with check (company_id = identity.about_company());
create policy changed on identity.invitation for update using (company_id = identity.about_company());

create policy seen on identity.interview_access for select using (token_hash = identity.about_key());
create policy made on identity.interview_access for insert with check (company_id = identity.about_company());

-- All that anybody is told of accounts at large: whether some came with a hash of bcrypt and have not signed
-- in since. With its owner's rights, who sees them all.
create function identity.has_imported_hashes() returns boolean language sql stable security definer
set search_path = pg_catalog, pg_temp as $$
  select exists (select from identity.account where password_hash like '$2%')
$$;
revoke execute on function identity.has_imported_hashes() from public;

-- Lets a role use these tables, each as far as the product needs it.
create function identity.let_in(who text) returns void language plpgsql as $$
declare
  wanted record;
begin
  perform pg_advisory_xact_lock(7305808870195457909);
  if not has_schema_privilege(who, 'identity', 'usage') then
    execute format('grant usage on schema identity to %I', who);
  end if;
  if not has_function_privilege(who, 'identity.has_imported_hashes()', 'execute') then
    execute format('grant execute on function identity.has_imported_hashes() to %I', who);
  end if;
  for wanted in
    select 'identity.' || part as part, privilege
      from (values
        ('account',          'select, insert, update'),
        ('operator',         'select, insert'),
        ('membership',       'select, insert'),
        ('candidacy',        'select, insert'),
        ('candidate_registration', 'select, insert, delete'),
        ('session',          'select, insert, update, delete'),
        ('refresh_token',    'select, insert, update'),
        ('login_attempt',    'select, insert, update, delete'),
        ('outbox',           'select, insert, update, delete'),
        ('letter_token',     'select, insert, delete'),
        ('letter_pause',     'select, insert, update, delete'),
        ('second_factor',    'select, insert, update, delete'),
        ('recovery_code',    'select, insert, delete'),
        ('second_step',      'select, insert, update, delete'),
        ('company_request',  'select, insert, delete'),
        ('api_key',          'select, insert, update'),
        ('sign_on',          'select, insert, update'),
        ('sign_on_attempt',  'select, insert, delete'),
        ('sign_on_link',     'select, insert'),
        ('mail',             'select, insert, update, delete'),
        ('invitation',       'select, insert, update'),
        ('interview_access', 'select, insert'),
        ('signing_key',      'select, insert, update'),
        ('rate_bucket',      'select, insert, update, delete')
      ) as known (part, privileges), string_to_table(privileges, ', ') as privilege
  loop
    if not has_table_privilege(who, wanted.part, wanted.privilege) then
      execute format('grant %s on %s to %I', wanted.privilege, wanted.part, who);
    end if;
  end loop;
  -- Of a membership nothing changes but when its holder came last: not whose it is, nor where.
  if not has_column_privilege(who, 'identity.membership', 'last_signed_in_at', 'update') then
    execute format('grant update (last_signed_in_at) on identity.membership to %I', who);
  end if;
end $$;

-- Roles that use this database where none is given, by what they are for. Roles are of a whole server, which
-- may have more databases of the product.
create function product_role(purpose text) returns text language sql stable as $$
  select 'colloquy_' || purpose || '_' || oid from pg_database where datname = current_database()
$$;

-- Makes such a role if there is none, with the verifier of its password, RFC 5803; `anew` gives it to one
-- that is there. Whoever calls this must be allowed to make roles.
create function make_product_role(purpose text, verifier text, anew boolean) returns void language plpgsql as $$
declare
  named constant text := product_role(purpose);
  known boolean;
begin
  perform pg_advisory_xact_lock(7305808870195457909);
  select exists (select from pg_roles where rolname = named) into known;
  if not known then
    execute format('create role %I', named);
  end if;
  if anew or not known then
    execute format('alter role %I login password %L', named, verifier);
  end if;
end $$;
