//! What property tests draw: windows over pictures, shapes, graphs; and the definitions to which results are held.

pub mod equations;
pub mod graphs;
pub mod shapes;
pub mod windows;
