//! Résumés: a file becomes text, and text becomes facts.

mod dates;
mod docx;
pub mod facts;
mod pdf;
mod sections;
mod skills;
pub mod text;
