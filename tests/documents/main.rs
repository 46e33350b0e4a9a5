//! What the documents say of the code, and what the code promises of itself: layers, machine code, commands.

mod build;
mod codegen;
mod commands;
#[path = "../common/mod.rs"]
mod common;
mod floors;
mod listings;
mod public;
mod table;
