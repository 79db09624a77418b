-- Who may enter: state that can be deleted at once, not history.

create schema identity;

create table identity.account (
  account_id    uuid        not null primary key,
  email         text        not null unique,      -- lower case
  password_hash text        not null,             -- Argon2id, PHC string
  created_at    timestamptz not null default now()
);

create table identity.operator (                  -- who runs the platform
  account_id uuid not null primary key references identity.account on delete cascade
);

create table identity.membership (
  account_id uuid not null references identity.account on delete cascade,
  company_id uuid not null,
  member_id  uuid not null,
  primary key (account_id, company_id),
  unique (company_id, member_id)
);

create table identity.invitation (
  token_hash bytea       not null primary key,    -- SHA-256; the token itself is nowhere
  company_id uuid        not null,
  member_id  uuid        not null,
  email      text        not null,
  expires_at timestamptz not null,
  used_by    uuid
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
