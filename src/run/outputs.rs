//! The results of a run.

use ndarray::{ArrayViewD, IxDyn};

use super::workspace::Workspace;
use crate::compile::{Plan, PlanResult};
use crate::graph::{Dtype, Var};
use dagrad_kernels::real::Real;

/// The results of a run, read where they lie in the workspace.
#[derive(Debug)]
pub struct Outputs<'w, T> {
    plan: &'w Plan<T>,
    workspace: &'w Workspace,
}

impl<'w, T: Real> Outputs<'w, T> {
    pub(super) fn new(plan: &'w Plan<T>, workspace: &'w Workspace) -> Self {
        Self { plan, workspace }
    }

    /// How many results there are.
    pub fn len(&self) -> usize {
        self.plan.results().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.plan.results().is_empty()
    }

    /// The result for a value of the graph that the plan was compiled from, if it was asked for.
    pub fn get(&self, var: Var<'_>) -> Option<ArrayViewD<'w, T>> {
        let is_same = |result: &&PlanResult| result.node == var.id();
        let found = self.plan.results().iter().find(is_same)?;
        (self.plan.recorded.graph == var.graph().identity()).then(|| self.view(found, Dtype::Real))?
    }

    /// The result at a position in the order in which they were asked for.
    pub fn at(&self, position: usize) -> Option<ArrayViewD<'w, T>> {
        self.view(self.plan.results().get(position)?, Dtype::Real)
    }

    /// The first element of the result at a position: a loss, for example.
    pub fn scalar(&self, position: usize) -> Option<T> {
        self.at(position)?.first().copied()
    }

    /// The indices at a position, for results of [`Dtype::Index`].
    pub fn indices(&self, position: usize) -> Option<ArrayViewD<'w, u32>> {
        self.view(self.plan.results().get(position)?, Dtype::Index)
    }

    /// The elements of a result, if it holds such.
    fn view<E>(&self, PlanResult { source, .. }: &PlanResult, dtype: Dtype) -> Option<ArrayViewD<'w, E>> {
        let values = (source.ty.dtype == dtype).then(|| self.workspace.value(source))?;
        ArrayViewD::from_shape(IxDyn(&source.ty.shape), values).ok()
    }
}
