//! Whether indices are in range, so far as a recording can tell.

use super::dag::{Dag, Kind, NodeId};
use super::op::{AnyOp, Dtype, TensorType};
use crate::error::Problem;

/// Refuses indices that may lie beyond what `op` takes. Those of an input are checked when they are given; all
/// others must be known to lie below the limit, so that a kernel never meets one that does not.
pub(super) fn check(
    dag: &Dag,
    op: &dyn AnyOp,
    operands: &[NodeId],
    types: &[&TensorType],
) -> Result<(), Problem> {
    let Some(limit) = op.index_limit(types) else { return Ok(()) };
    let sources = operands.iter().map(|&operand| dag.origin(operand));
    let mut computed =
        sources.filter(|&source| dag.node(source).ty.dtype == Dtype::Index).filter_map(|source| {
            let Kind::Op(maker) = &dag.node(source).kind else { return None };
            Some((maker, maker.index_bound(&dag.operand_types(source), op.exempt_index())))
        });
    computed.try_for_each(|(maker, bound)| match bound {
        Some(bound) if bound <= limit => Ok(()),
        Some(bound) => Err(Problem::new(format!(
            "the indices of {} may reach {}, but there are {limit} elements",
            maker.name(),
            bound - 1
        ))
        .hint("indices count from 0 and lie below the size of the axis")),
        None => {
            Err(Problem::new(format!("nothing is known of how large the indices of {} are", maker.name()))
                .hint("an operation that yields indices gives an upper bound by `index_bound`"))
        }
    })
}
