//! Composition of the product: what the binary `colloquy` is put together from.

pub mod ai;
pub mod bootstrap;
pub mod config;
mod consumers;
pub mod contracts;
pub mod demo;
pub mod doctor;
pub mod edge;
pub mod embedded;
pub mod events_export;
pub mod faults;
mod listen;
pub mod logins;
pub mod mail;
pub mod operate;
pub mod parts;
mod projectors;
pub mod proof;
pub mod published;
mod rates;
pub mod roles;
pub mod secrets_file;
pub mod store;
pub mod telemetry;
pub mod vectors;
pub mod web;
