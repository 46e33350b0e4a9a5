//! wip
/// wip
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("wip")]
pub struct Mismatch;
