//! From a graph to a plan: a list of small passes, each a program in and a program out.
//!
//! 1. `prune` forgets what no result needs (dead-code elimination),
//! 2. `dedup` merges equal nodes (common-subexpression elimination),
//! 3. `simplify` applies the operations' own rules, such as x · 1 = x (algebraic simplification),
//! 4. `fold` scales weights instead of images, as batch normalisations in evaluation do (constant folding),
//! 5. `lower` chooses kernels for operations, and the layout of images (lowering, layout assignment),
//! 6. `absorb` lets a kernel do the bias, relu or pool that follows it (epilogue fusion),
//! 7. `hoist` computes what depends on parameters alone once (loop-invariant code motion),
//! 8. `fuse` makes one step of a chain of elementwise functions (elementwise fusion),
//! 9. `join` merges elementwise steps that read each other's results (multi-output fusion),
//! 10. `depth_first` takes a few samples through several steps before the next few (batch tiling),
//! 11. `memory` gives every value memory in one arena (liveness analysis, free list) and yields the [`Plan`].

mod arena;
mod batch_tiling;
mod chain;
mod fold;
mod fuse;
mod hoist;
mod join;
mod liveness;
mod lower;
mod memory;
mod passes;
mod plan;
mod program;
mod steps;
mod verify;

pub use plan::{Input, Location, Parameter, Plan, PlanResult, PlanStep, Source, StepGroup, StepOutput};
pub use program::Program;

use crate::error::{Error, Result, SourceLine};
use crate::graph::lowering::{Algorithm, Target};
use crate::graph::{Graph, Precision, Var};

/// A pass: its name, and what it does.
type Pass = (&'static str, fn(&Program) -> Program);

/// Which passes run, and how memory is laid out. Every choice gives the same results up to rounding; each
/// can be switched off to see what it brings.
#[derive(Debug, Clone)]
pub struct Options {
    passes: Vec<Pass>,
    lowers: bool,
    reuse_memory: bool,
    assign: bool,
    convolution: Algorithm,
    /// A name given to [`without`](Self::without) that no pass has.
    unknown: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            passes: vec![
                ("prune", passes::prune),
                ("dedup", passes::dedup),
                ("simplify", passes::simplify),
                ("dedup", passes::dedup),
                ("fold", fold::fold),
                ("lower", lower::lower),
                ("absorb", passes::absorb),
                ("hoist", hoist::hoist),
                ("fuse", fuse::fuse),
                ("join", join::join),
                ("depth_first", batch_tiling::tile_batch),
            ],
            lowers: true,
            reuse_memory: true,
            assign: true,
            convolution: Algorithm::Auto,
            unknown: None,
        }
    }
}

impl Options {
    /// All passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// No pass at all, and a buffer of its own for every value: the graph as it was written down.
    pub fn plain() -> Self {
        Self { passes: vec![("lower", lower::lower)], lowers: false, reuse_memory: false, ..Self::default() }
    }

    /// Without the pass of this name (`memory`: every value keeps a buffer of its own; `lower`: every operation is done by
    /// its definition). A name that no pass has is an error when compiling.
    pub fn without(mut self, name: &str) -> Self {
        if !Self::default().names().contains(&name) {
            self.unknown = Some(name.to_string());
        }
        self.passes.retain(|(pass, _)| *pass != name || *pass == "lower");
        self.lowers &= name != "lower";
        self.reuse_memory &= name != "memory";
        self
    }

    /// Leaves out the graph's assignments: a run computes its results and changes nothing. Over an empty store it is an error,
    /// for there is nothing to compute them from; [`Store::prepare`](crate::Store::prepare) starts parameters.
    pub fn without_assignments(self) -> Self {
        Self { assign: false, ..self }
    }

    /// Chooses how convolutions are computed on images in NHWC.
    pub fn convolution(self, algorithm: Algorithm) -> Self {
        Self { convolution: algorithm, ..self }
    }

    /// The names of the passes that run, in order.
    pub fn names(&self) -> Vec<&'static str> {
        let memory = self.reuse_memory.then_some("memory");
        let passes = self.passes.iter().map(|(name, _)| *name).filter(|name| self.lowers || *name != "lower");
        passes.chain(memory).collect()
    }

    /// Compiles `outputs` and the graph's assignments.
    ///
    /// # Errors
    /// The first misuse recorded on the graph, an output of another graph, or more memory than can be
    /// addressed.
    #[track_caller]
    pub fn compile<T: Precision>(&self, graph: &Graph, outputs: &[Var<'_>]) -> Result<Plan<T>> {
        let here = SourceLine::caller();
        steps::lay_out(&self.passed::<T>(graph, outputs)?, self).map_err(|error| error.at(here))
    }

    /// The program that the passes make in single precision, for those who want to see it: it prints as a listing.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    #[track_caller]
    pub fn program(&self, graph: &Graph, outputs: &[Var<'_>]) -> Result<Program> {
        self.passed::<f32>(graph, outputs)
    }

    #[track_caller]
    fn passed<T: Precision>(&self, graph: &Graph, outputs: &[Var<'_>]) -> Result<Program> {
        if let Some(name) = &self.unknown {
            let message = format!("there is no pass {name:?}, only {}", Self::default().names().join(", "));
            return Err(Error::setting("without", message));
        }
        let updates = if self.assign { graph.updates() } else { Vec::new() };
        let mut recorded = Program::from_graph(graph, outputs, &updates)?;
        let is_single = size_of::<T>() == size_of::<f32>();
        let algorithm = if is_single { self.convolution } else { Algorithm::Direct };
        recorded.target = self.lowers.then_some(Target { algorithm });
        let mut program =
            self.passes.iter().fold(recorded, |program, (_, pass)| pass(&passes::pruned(&program)));
        program.detach_parameters();
        Ok(program)
    }
}

impl<T: Precision> Plan<T> {
    /// Compiles the graph with all passes: a run computes `outputs`, then carries out the assignments.
    ///
    /// # Errors
    /// As [`Options::compile`].
    #[track_caller]
    pub fn compile(graph: &Graph, outputs: &[Var<'_>]) -> Result<Self> {
        Options::default().compile(graph, outputs)
    }

    /// The same plan compiled anew, so that a run also hands out `var`, any value of the graph that it was compiled from:
    /// a feature map, a gradient. What was fused away is computed on its own again.
    ///
    /// ```
    /// use dagrad::{Graph, Plan, Store, Workspace};
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2]);
    /// let h = x * 3.0;
    /// let plan = Plan::<f32>::compile(&graph, &[h.exp().sum_all()])?;
    /// let watched = plan.watch(h)?;
    /// let (mut store, mut workspace) = (Store::new(0), Workspace::new(1)?);
    /// let outputs = watched.run(&mut store, &mut workspace, &[x.feed(&array![1.0, 2.0])])?;
    /// assert_eq!(outputs.get(h).unwrap(), array![3.0, 6.0].into_dyn());
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value of another graph; otherwise as [`compile`](Self::compile).
    #[track_caller]
    pub fn watch(&self, var: Var<'_>) -> Result<Self> {
        let graph = var.graph();
        if graph.identity() != self.recorded.graph {
            let message = format!("{} is not on the graph that the plan was compiled from", var.known_as());
            return Err(Error::setting("watch", message));
        }
        let mut outputs: Vec<Var<'_>> = self.results.iter().map(|result| graph.var(result.node)).collect();
        outputs.push(var);
        self.options.compile(graph, &outputs)
    }
}
