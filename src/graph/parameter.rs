//! What outlives a run: parameters, state, and what belongs to an optimizer.

use super::dag::{Kind, NodeId};
use super::recorder::Graph;
use super::var::Var;
use crate::error::Problem;

/// What a named value that outlives a run is for. Files of weights hold the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// It is learned: optimizers move it along its gradient.
    Learned,
    /// It belongs to the network and is not learned, such as running statistics (PyTorch's buffers).
    State,
    /// It belongs to a training: moments, counts of steps, factors of learning rates.
    Optimizer,
}

impl Graph {
    /// Says that state recorded from now on is an optimizer's, until the returned guard is dropped.
    pub(crate) fn optimizing(&self) -> Optimizing<'_> {
        Optimizing { graph: self, outer: self.optimizes.replace(true) }
    }

    /// The kind of state that is recorded now.
    pub(super) fn state_kind(&self) -> ParameterKind {
        if self.optimizes.get() { ParameterKind::Optimizer } else { ParameterKind::State }
    }

    /// All that outlives a run, learned or not, in the order of recording.
    pub(crate) fn lasting(&self) -> Vec<Var<'_>> {
        self.parameters_where(|_| true)
    }

    /// The state that is kept between runs and not learned.
    pub(crate) fn states(&self) -> Vec<Var<'_>> {
        self.parameters_where(|kind| kind != ParameterKind::Learned)
    }

    /// The parameters and state of some kinds, in the order of recording.
    pub(super) fn parameters_where(&self, is_meant: impl Fn(ParameterKind) -> bool) -> Vec<Var<'_>> {
        let dag = self.dag();
        let is_meant =
            |id: &NodeId| matches!(dag.node(*id).kind, Kind::Parameter { kind, .. } if is_meant(kind));
        dag.ids().filter(is_meant).map(|id| self.var(id)).collect()
    }
}

/// While it lives, state is an optimizer's; see [`Graph::optimizing`].
#[must_use = "the optimizer's step ends when this is dropped"]
pub(crate) struct Optimizing<'g> {
    graph: &'g Graph,
    outer: bool,
}

impl Drop for Optimizing<'_> {
    fn drop(&mut self) {
        self.graph.optimizes.set(self.outer);
    }
}

impl<'g> Var<'g> {
    /// Says that files of weights hold this parameter, a matrix, transposed, and returns it. PyTorch's linear layers keep
    /// their weights as `[outputs, inputs]`; [`nn::linear`](crate::nn::linear) marks its own. It is a layer of your own,
    /// which multiplies rows by a `[inputs, outputs]` parameter, that says so:
    ///
    /// ```
    /// use dagrad::weights::Weights;
    /// use dagrad::{Graph, Init, Plan, Store};
    ///
    /// let graph = Graph::new();
    /// let weight = graph.param("fc.weight", [7, 5], Init::he(7)).transposed_in_files();
    /// let plan = Plan::<f32>::compile(&graph, &[graph.input("rows", [1, 7]).matmul(weight)])?;
    /// let mut store = Store::new(0);
    /// store.prepare(&plan)?;
    /// assert_eq!(Weights::of(&store)?.shape("fc.weight"), Some(&[5, 7][..]));
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: anything but a parameter or state with two axes.
    #[track_caller]
    pub fn transposed_in_files(self) -> Self {
        let graph = self.graph();
        if self.is_poisoned() {
            return self;
        }
        if self.shape().len() == 2 && graph.dag.borrow_mut().set_transposed(self.id()) {
            return self;
        }
        let problem = Problem::new("only a matrix that is a parameter or state can be transposed in files");
        graph.refuse("transposed_in_files", &["parameter"], &[self], problem)
    }
}
