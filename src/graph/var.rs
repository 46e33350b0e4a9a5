//! The handle of a value in a graph.

use std::sync::Arc;

use super::attributes::Attributes;
use super::dag::{Kind, NodeId};
use super::op::{AnyOp, TensorType};
use super::recorder::{Graph, LIKELY_SIZE, Update, usable};
use super::scope::Composite;
use crate::error::Problem;
use crate::shape::Shape;

/// A value in a [`Graph`]: a small `Copy` handle whose methods are the operations.
///
/// `a + b` needs no `&` and no `clone`. The handle borrows the graph, so it cannot outlive it.
#[derive(Clone, Copy)]
pub struct Var<'g> {
    graph: &'g Graph,
    id: NodeId,
}

impl<'g> Var<'g> {
    pub(crate) fn new(graph: &'g Graph, id: NodeId) -> Self {
        Self { graph, id }
    }

    /// The graph that the value is recorded on.
    pub fn graph(self) -> &'g Graph {
        self.graph
    }

    /// The value's node.
    pub fn id(self) -> NodeId {
        self.id
    }

    /// The sizes of the value's axes. A misused operation's result has as many axes as it should have, so far as that is known,
    /// and sizes that are guesses, none of them 0: code that reads them comes to where the misuse is returned.
    pub fn shape(self) -> Shape {
        self.graph.dag().node(self.id).ty.shape.clone()
    }

    /// Shape and type.
    pub fn ty(self) -> TensorType {
        self.graph.dag().node(self.id).ty.clone()
    }

    /// Gives the value a name that listings and errors show, and returns it.
    pub fn named(self, name: &str) -> Self {
        if !matches!(self.graph.dag().node(self.id).kind, Kind::Input | Kind::Parameter { .. }) {
            self.graph.dag.borrow_mut().set_label(self.id, name.into());
        }
        self
    }

    /// The value's name, or what made it.
    pub fn name(self) -> String {
        let dag = self.graph.dag();
        let node = dag.node(self.id);
        node.label.as_ref().map_or_else(|| node.source(), |label| label.to_string())
    }

    /// What its user knows it by, in errors.
    pub(crate) fn known_as(self) -> String {
        self.graph.dag().node(self.id).known_as()
    }

    /// The sizes of the axes of an array that should have `N` of them. If it has not, that is kept as a misuse of the user's
    /// line, and sizes that it lacks are guesses.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let images = graph.input("images", [8, 3, 28, 28]);
    /// let [_, channels, ..] = images.sizes::<4>();
    /// assert_eq!(channels, 3);
    /// let [batch, features] = images.sizes();
    /// assert_eq!([batch, features], [8, 3]);
    /// assert!(graph.check().unwrap_err().to_string().contains("4 axes"));
    /// ```
    #[track_caller]
    pub fn sizes<const N: usize>(self) -> [usize; N] {
        let mut shape = self.shape();
        if shape.len() != N {
            let problem = Problem::new(format!("the array has {} axes, not {N}", shape.len()));
            shape = self.graph.refuse("sizes", &["array"], &[self], problem).or_rank(N).shape();
        }
        std::array::from_fn(|axis| shape[axis])
    }

    /// This, or if it stands for a misuse, the same with the shape that the result would have had.
    pub(crate) fn or_shape(self, shape: &Shape) -> Self {
        if self.is_poisoned() {
            self.graph.dag.borrow_mut().set_shape(self.id, usable(shape));
        }
        self
    }

    /// This, or if it stands for a misuse, the same with as many axes as the result would have had.
    pub(crate) fn or_rank(self, rank: usize) -> Self {
        let shape = self.shape();
        let sizes = shape.iter().copied().chain(std::iter::repeat(LIKELY_SIZE));
        self.or_shape(&sizes.take(rank).collect())
    }

    /// The number of its axes.
    pub(crate) fn rank(self) -> usize {
        self.graph.dag().node(self.id).ty.shape.len()
    }

    /// The name of the layer that recorded the value, if one did; see [`Graph::layer`].
    pub fn layer(self) -> Option<Arc<str>> {
        self.graph.dag().node(self.id).layer.clone()
    }

    /// The operation that makes the value, unless it is given at each run or lives in the store.
    pub fn op(self) -> Option<Arc<dyn AnyOp>> {
        if let Kind::Op(op) = &self.graph.dag().node(self.id).kind { Some(op.clone()) } else { None }
    }

    /// The parameters of that operation, by name; of a leaf there are none.
    pub fn attributes(self) -> Attributes {
        self.op().map_or_else(Attributes::new, |op| op.attributes())
    }

    /// The values that it reads, in order.
    pub fn operands(self) -> Vec<Var<'g>> {
        self.graph.dag().operands(self.id).into_iter().map(|id| self.graph.var(id)).collect()
    }

    /// The composed operation that the value is a part of, if any; see [`Graph::composite`].
    pub fn composite(self) -> Option<Arc<Composite>> {
        self.graph.dag().node(self.id).composite.clone()
    }

    /// Lets this parameter take `value` at the end of each run. Until then every reader sees the old value.
    ///
    /// Assigning to anything but a parameter or state, a value of another shape, or twice is an error. What builds on an
    /// earlier assignment is an [`update`](Self::update).
    #[track_caller]
    pub fn assign(self, value: Var<'g>) {
        if let Some(earlier) = self.next_update().filter(|_| !value.is_poisoned()) {
            let text =
                format!("the parameter is assigned to twice, before by `{}` at {}", earlier.by, earlier.site);
            let problem = Problem::new(text).hint(
                "a run changes a parameter once, at its end; `update` builds on what was assigned before",
            );
            let roles = ["parameter", "value", "earlier value"];
            let operands = [self, value, self.graph.var(earlier.value)];
            self.graph.refuse("assign", &roles, &operands, problem);
        } else {
            self.take(value, "assign");
        }
    }

    /// Lets this parameter take `next(p)` at the end of each run, where p is what it would take by now: its own value, or
    /// what was assigned before. Returns that next value. So state moves as often as it is used in a step, in the order of
    /// recording, and a parameter can be bounded after an optimizer has moved it:
    ///
    /// ```
    /// use dagrad::optim::{Sgd, minimize};
    /// use dagrad::{Graph, Init, Plan, Store, Workspace};
    ///
    /// let graph = Graph::new();
    /// let w = graph.param("w", [2], Init::ZEROS);
    /// let loss = w.sum_all();
    /// minimize(loss, &Sgd::new(0.1))?;
    /// w.update(|w| w.clamp(-0.01, 0.01)); // as in a Wasserstein GAN (Arjovsky et al. 2017)
    ///
    /// let (mut store, mut workspace) = (Store::<f64>::new(0), Workspace::new(1)?);
    /// Plan::compile(&graph, &[loss])?.run(&mut store, &mut workspace, &[])?;
    /// assert_eq!(store.get("w").unwrap()[[1]], -0.01);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// The whole of such a step: two optimizers on one graph, of which a `Trainer` records the second.
    ///
    /// ```
    /// use dagrad::optim::{Groups, RmsProp, minimize};
    /// use dagrad::{Graph, Trainer, nn};
    /// use ndarray::Array2;
    ///
    /// let graph = Graph::new();
    /// let (noise, real) = (graph.input("noise", [6, 2]), graph.input("real", [6, 3]));
    /// let made = nn::linear(noise, "generator", 3);
    /// let critic = |x| nn::linear(nn::linear(x, "critic.1", 4).relu(), "critic.2", 1).mean_all();
    /// let (on_real, on_made) = (critic(real), critic(made));
    ///
    /// minimize(on_made - on_real, &Groups::new(RmsProp::new(5e-5)).frozen("generator.*"))?;
    /// for weight in graph.parameters().into_iter().filter(|weight| weight.name().starts_with("critic.")) {
    ///     weight.update(|w| w.clamp(-0.01, 0.01));
    /// }
    /// let mut trainer = Trainer::new(-on_made, &Groups::new(RmsProp::new(5e-5)).frozen("critic.*"))?;
    /// let (noises, reals) = (Array2::<f32>::ones((6, 2)), Array2::<f32>::ones((6, 3)));
    /// trainer.step(&[noise.feed(&noises), real.feed(&reals)])?;
    /// assert!(trainer.store().get("critic.1.weight").unwrap().iter().all(|w| w.abs() <= 0.01));
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// Recorded on the graph: as for [`assign`](Self::assign), but for the second time.
    #[track_caller]
    pub fn update(self, next: impl FnOnce(Var<'g>) -> Var<'g>) -> Var<'g> {
        let value = next(self.next_update().map_or(self, |update| self.graph.var(update.value)));
        self.take(value, "update");
        value
    }

    /// What it takes at the end of a run, if anything has been assigned to it.
    pub(crate) fn next_update(self) -> Option<Update> {
        self.graph.updates.borrow().iter().find(|known| known.parameter == self.id).copied()
    }

    /// Keeps `value` as the next one, instead of an earlier one.
    #[track_caller]
    fn take(self, value: Var<'g>, method: &'static str) {
        let graph = self.graph;
        let is_parameter = matches!(graph.dag().node(self.id).kind, Kind::Parameter { .. });
        let problem = if !value.belongs_to(graph) {
            Problem::new("the value belongs to another graph")
        } else if self.is_poisoned() || value.is_poisoned() {
            return;
        } else if !is_parameter {
            Problem::new("only parameters and state can be assigned to")
        } else if self.ty() != value.ty() {
            Problem::new(format!("a value {} does not fit a parameter {}", value.ty(), self.ty()))
        } else {
            let update = Update { parameter: self.id, value: value.id, by: method, site: graph.site() };
            let mut updates = graph.updates.borrow_mut();
            match updates.iter_mut().find(|known| known.parameter == self.id) {
                Some(known) => *known = update,
                None => updates.push(update),
            }
            return;
        };
        graph.refuse(method, &["parameter", "value"], &[self, value], problem);
    }

    pub(crate) fn belongs_to(self, graph: &Graph) -> bool {
        std::ptr::eq(self.graph, graph)
    }

    pub(crate) fn is_poisoned(self) -> bool {
        matches!(self.graph.dag().node(self.id).kind, Kind::Poison)
    }
}

impl std::fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "%{} {} {}", self.id.index(), self.name(), self.shape())
    }
}
