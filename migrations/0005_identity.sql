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
  primary key (account_id, company_id),
  unique (company_id, member_id)
);

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
  ended_at     timestamptz
);
create index on identity.session (account_id);

create table identity.refresh_token (             -- all of a session's, so that one that comes again is known
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere
  session_id uuid        not null references identity.session on delete cascade,
  expires_at timestamptz not null,
  used_at    timestamptz
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
