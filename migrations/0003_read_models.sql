-- The read models: derived from the log and rebuilt from it at any time. Columns are the fields of
-- the row's type; rows are owned by one stream each. No key crosses tables: each model keeps its own
-- pace. Names of enums are the public spellings.

create table rm_company (
  company_id uuid        not null primary key,
  name       text        not null,
  domain     text,
  roles      jsonb       not null default '[]',   -- the roles that it made itself
  version    bigint      not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create table rm_member (
  company_id uuid        not null,
  member_id  uuid        not null,
  full_name  text,                         -- null once the person was erased, as every personal text here
  email      text,
  role       text        not null,
  custom_role_id uuid,                     -- one of the company's own, which may have been removed since
  department text,
  manager_id uuid,
  account_id uuid,
  status     text        not null,
  version    bigint      not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (company_id, member_id)
);
create index on rm_member (company_id, created_at, member_id);

create table rm_job (
  company_id     uuid        not null,
  job_id         uuid        not null,
  title          text        not null,
  department     text,
  location       text,
  language       text        not null,
  description    text        not null,
  hiring_manager uuid        not null,
  status         text        not null,
  questions      jsonb       not null,
  rubric_version bigint,
  rubrics        jsonb       not null,
  conversation   jsonb       not null,
  published_at   timestamptz,
  closed_at      timestamptz,
  version        bigint      not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  primary key (company_id, job_id)
);
create index on rm_job (company_id, created_at, job_id);
create index on rm_job (company_id, hiring_manager, created_at, job_id);

create table rm_candidate (
  company_id   uuid        not null,
  candidate_id uuid        not null,
  full_name    text,
  email        text,
  phone        text,
  source       text,
  erased       boolean     not null,
  assigned_to  uuid,
  has_login    boolean     not null,
  status       text        not null,
  notes        jsonb       not null,
  version      bigint      not null,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  primary key (company_id, candidate_id)
);
create index on rm_candidate (company_id, created_at, candidate_id);
create index on rm_candidate (company_id, assigned_to, created_at, candidate_id);

create table rm_application (
  company_id     uuid        not null,
  application_id uuid        not null,
  candidate_id   uuid        not null,
  job_id         uuid        not null,
  status         text        not null,
  steps          jsonb       not null,
  version        bigint      not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  primary key (company_id, application_id)
);
create index on rm_application (company_id, created_at, application_id);
create index on rm_application (company_id, job_id, created_at, application_id);
create index on rm_application (company_id, candidate_id, created_at, application_id);

create table rm_resume (
  company_id   uuid        not null,
  resume_id    uuid        not null,
  candidate_id uuid        not null,
  file_hash    text        not null,
  file_name    text,
  size_bytes   bigint      not null,
  media_type   text        not null,
  status       text        not null,
  failure_code text,
  text         text,
  n_chars      bigint,
  truncated    boolean     not null,
  facts        jsonb,
  provenance   jsonb,
  version      bigint      not null,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  primary key (company_id, resume_id)
);
create index on rm_resume (company_id, created_at, resume_id);
create index on rm_resume (company_id, candidate_id, created_at, resume_id);

create table rm_interview (
  company_id           uuid        not null,
  interview_id         uuid        not null,
  candidate_id         uuid        not null,
  job_id               uuid        not null,
  application_id       uuid        not null,
  round_number         int         not null,
  round_type           text        not null,
  mode                 text        not null,
  interviewer_id       uuid,
  hiring_manager       uuid        not null,
  resume_id            uuid,
  rubric_version       bigint      not null,
  conversation         jsonb       not null,
  restart_of           uuid,
  status               text        not null,
  scheduled_at         timestamptz,
  duration_minutes     int,
  started_at           timestamptz,
  ended_at             timestamptz,
  last_activity        timestamptz,
  consent              jsonb       not null,
  consent_given_at     timestamptz,
  consent_withdrawn_at timestamptz,
  candidate_present    boolean     not null,
  interviewer_present  boolean     not null,
  difficulty           text,
  current_question     jsonb,
  n_questions          bigint      not null,
  n_follow_ups         bigint      not null,
  n_answers            bigint      not null,
  n_timed_out          bigint      not null,
  accesses             jsonb       not null,
  notes                jsonb       not null,
  completion_reason    text,
  cancel_reason        text,
  version              bigint      not null,
  created_at           timestamptz not null,
  updated_at           timestamptz not null,
  primary key (company_id, interview_id)
) with (fillfactor = 80);
-- Not coalesce: behind row-level security an index finds places by what PostgreSQL knows to leak nothing.
create index on rm_interview (company_id, (case when scheduled_at is null then created_at else scheduled_at end), interview_id);
create index on rm_interview (company_id, status, (case when scheduled_at is null then created_at else scheduled_at end), interview_id);
create index on rm_interview (company_id, interviewer_id, (case when scheduled_at is null then created_at else scheduled_at end), interview_id);
create index on rm_interview (company_id, hiring_manager, (case when scheduled_at is null then created_at else scheduled_at end), interview_id);
create index on rm_interview (company_id, candidate_id);
create index on rm_interview (company_id, job_id);
create index on rm_interview (company_id, application_id);

create table rm_transcript_turn (
  company_id       uuid        not null,
  interview_id     uuid        not null,
  speaker          text        not null,
  turn_id          uuid        not null,
  sequence         bigint      not null,
  kind             text        not null,
  question_id      uuid        not null,
  follow_up_of     uuid,
  job_question_id  uuid,
  text             text,
  question_type    text,
  difficulty       text,
  dimensions       jsonb       not null,
  asked_by         jsonb,
  outcome          text,
  response_time_ms bigint,
  judgement        jsonb,
  at               timestamptz not null,
  version          bigint      not null,
  primary key (company_id, interview_id, speaker, turn_id)
);
create index on rm_transcript_turn (company_id, interview_id, sequence, turn_id);
create index on rm_transcript_turn (company_id, turn_id);

create table rm_observation (
  company_id     uuid             not null,
  interview_id   uuid             not null,
  observation_id uuid             not null,
  kind           text             not null,
  insight_type   text             not null,
  severity       text             not null,
  ms_from_start  bigint           not null,
  value          double precision,
  explanation    text,
  actor          text             not null,
  at             timestamptz      not null,
  version        bigint           not null,
  primary key (company_id, interview_id, observation_id)
);
create index on rm_observation (company_id, at, observation_id);

create table rm_verdict (
  company_id     uuid        not null,
  verdict_id     uuid        not null,
  interview_id   uuid        not null,
  candidate_id   uuid        not null,
  job_id         uuid        not null,
  application_id uuid        not null,
  interview_end  text        not null,
  mode           text        not null,
  interviewer_id uuid,
  hiring_manager uuid        not null,
  rubric_version bigint      not null,
  dimensions     jsonb       not null,
  answers        jsonb       not null,
  ai_may_propose boolean     not null,
  status         text        not null,
  attempt        int         not null,
  failure_code   text,
  proposal       jsonb,
  signature      jsonb,
  private_notes  jsonb       not null,
  version        bigint      not null,
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  primary key (company_id, verdict_id)
);
create index on rm_verdict (company_id, created_at, verdict_id);
create index on rm_verdict (company_id, status, created_at, verdict_id);
create index on rm_verdict (company_id, interviewer_id, created_at, verdict_id);
create index on rm_verdict (company_id, hiring_manager, created_at, verdict_id);
create index on rm_verdict (company_id, interview_id);
create index on rm_verdict (company_id, candidate_id);

-- What was shown to whom, without a word of it.
create table rm_access (
  company_id   uuid        not null,
  log_id       uuid        not null,             -- the stream: of one process and day
  view_id      uuid        not null,
  viewer       text        not null,             -- kind:id
  what         text        not null,
  subject_id   uuid        not null,
  candidate_id uuid        not null,
  fields       jsonb       not null,             -- classes of fields
  purpose      text        not null,
  at           timestamptz not null,
  version      bigint      not null,
  primary key (company_id, log_id, view_id)
);
create index on rm_access (company_id, at, view_id);
create index on rm_access (company_id, candidate_id, at);
create index on rm_access (company_id, viewer, at);
create index on rm_access (company_id, subject_id, at);

create table rm_ai_call (
  company_id     uuid        not null,
  about_id       uuid        not null,
  call_id        uuid        not null,
  purpose        text        not null,
  status         text        not null,
  provider       text,
  model          text,
  prompt_version text,
  fallback       boolean     not null,
  request_hash   text,
  tokens_in      bigint      not null,
  tokens_out     bigint      not null,
  cost_micro_usd bigint      not null,
  latency_ms     bigint,
  n_attempts     int         not null,
  failure_code   text,
  at             timestamptz not null,
  version        bigint      not null,
  primary key (company_id, about_id, call_id)
);
create index on rm_ai_call (company_id, at, call_id);
create index on rm_ai_call (company_id, call_id);
