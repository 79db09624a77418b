//! The bus on a log in memory: what every command may count on.

mod bus;
mod world;
