//! The rules of every aggregate as given, when, then.

mod access;
mod account;
mod ai_call;
mod application;
mod candidate;
mod claims;
mod codes;
mod company;
mod company_request;
mod custom_role;
mod interview;
mod interview_conversation;
mod interview_random;
mod job;
mod member;
mod observation;
mod permission;
mod resume;
mod verdict;
mod world;
