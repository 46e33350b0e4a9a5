//! What the documents say of the code, and what the code promises of itself: layers, machine code, commands.

mod codegen;
mod commands;
mod floors;
mod listings;
mod table;
