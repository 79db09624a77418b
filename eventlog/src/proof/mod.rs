//! Tamper evidence: a Merkle tree over the whole log, signed checkpoints, exports that prove themselves.
//!
//! The tree grows beside the appends ([`builder`]), so it costs them nothing. What is signed is in
//! [`statement`], what an auditor gets in [`export`], how they check it in [`verify`]; neither of the
//! last two needs a database.

pub mod builder;
pub mod collect;
pub mod export;
pub mod keys;
pub mod merkle;
pub mod note;
pub mod shelf;
pub mod statement;
pub mod tiles;
pub mod verify;
