//! The graph as its users see it: operations append themselves to it.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::axes;
use super::dag::{Dag, Kind, Node, NodeId};
use super::indices;
use super::init::Init;
use super::op::{AnyOp, Op, TensorType};
use super::parameter::ParameterKind;
use super::scope::Composite;
use super::setting::{FINITE, NOT_NAN};
use super::var::Var;
use crate::error::{Error, OpError, OperandNote, Problem, Result, SourceLine};
use crate::shape::Shape;

/// What a network is recorded for. Operations such as dropout differ between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Learning: dropout drops.
    Train,
    /// Using what was learned: dropout is the identity.
    Evaluate,
}

/// A recorded computation: an append-only DAG of values.
///
/// Operations are methods on [`Var`]; each appends a node and infers its shape. A misuse does not interrupt
/// the recording. It is kept, and the first one is returned, with the user's line, by everything that uses
/// the graph, and by [`check`](Self::check).
///
/// ```
/// use dagrad::Graph;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [2, 3]);
/// let y = (x * x).sum_all();
/// assert_eq!(y.shape().len(), 0);
/// println!("{graph}");
/// # graph.check()?;
/// # Ok::<(), dagrad::Error>(())
/// ```
pub struct Graph {
    pub(super) dag: RefCell<Dag>,
    names: RefCell<HashMap<Arc<str>, NodeId>>,
    pub(crate) updates: RefCell<Vec<Update>>,
    error: RefCell<Option<Error>>,
    /// Nodes that are computed again for gradients; see [`Var::recompute`].
    pub(super) blocks: RefCell<Vec<Range<usize>>>,
    /// The forward node whose gradient rule is being recorded now.
    differentiating: Cell<Option<NodeId>>,
    /// The layer that is being recorded now.
    pub(super) layer: RefCell<Option<Arc<str>>>,
    /// The composed operation that is being recorded now.
    pub(super) composite: RefCell<Option<Arc<Composite>>>,
    /// How many composed operations of each name there are.
    pub(super) composites: RefCell<HashMap<&'static str, usize>>,
    /// The method that is recording now, if it calls others, and how many nodes there were before it.
    pub(super) method: Cell<Option<(&'static str, usize)>>,
    /// The user's line behind what the crate's own lines record now.
    pub(super) caller: Cell<Option<SourceLine>>,
    /// Whether an optimizer's step is being recorded.
    pub(super) optimizes: Cell<bool>,
    mode: Mode,
    /// What is recorded now; see [`in_mode`](Self::in_mode).
    pub(super) mode_here: Cell<Mode>,
    /// Tells this graph from every other one.
    identity: u64,
}

/// A parameter and the value that it takes at the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The parameter's node.
    pub parameter: NodeId,
    /// The node of its next value.
    pub value: NodeId,
    /// What gave it that: `assign`, `update`, or an optimizer's `minimize`.
    pub by: &'static str,
    /// The line that called it.
    pub site: SourceLine,
}

/// The size of an axis of which a misuse leaves nothing known: halves, groups and neighbours of it are there.
pub(super) const LIKELY_SIZE: usize = 8;

/// A shape in whose sizes the user's own arithmetic goes on: no size is 0, and their product is a number.
pub(super) fn usable(shape: &Shape) -> Shape {
    let positive: Shape = shape.iter().map(|&size| size.max(1)).collect();
    let is_bounded = positive.checked_count().is_some();
    if is_bounded { positive } else { positive.iter().map(|_| 1).collect() }
}

impl Default for Graph {
    fn default() -> Self {
        Self::with_mode(Mode::Train)
    }
}

impl Graph {
    /// An empty graph for training.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty graph for a given mode.
    pub fn with_mode(mode: Mode) -> Self {
        static GRAPHS: AtomicU64 = AtomicU64::new(0);
        Self {
            dag: RefCell::default(),
            names: RefCell::default(),
            updates: RefCell::default(),
            error: RefCell::default(),
            blocks: RefCell::default(),
            differentiating: Cell::new(None),
            layer: RefCell::default(),
            composite: RefCell::default(),
            composites: RefCell::default(),
            method: Cell::new(None),
            caller: Cell::new(None),
            optimizes: Cell::new(false),
            mode,
            mode_here: Cell::new(mode),
            identity: GRAPHS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A number that no other graph of this process has.
    pub fn identity(&self) -> u64 {
        self.identity
    }

    /// What the graph is recorded for, or the part of it that is recorded now; see [`in_mode`](Self::in_mode).
    pub fn mode(&self) -> Mode {
        self.mode_here.get()
    }

    /// What the graph as a whole is recorded for.
    pub(crate) fn whole_mode(&self) -> Mode {
        self.mode
    }

    /// An array of real numbers that is given at each run, under a name of its own.
    #[track_caller]
    pub fn input(&self, name: &str, shape: impl Into<Shape>) -> Var<'_> {
        self.leaf("input", name, TensorType::real(shape), Kind::Input)
    }

    /// An array of whole numbers (classes) that is given at each run, under a name of its own.
    #[track_caller]
    pub fn labels(&self, name: &str, shape: impl Into<Shape>) -> Var<'_> {
        self.leaf("labels", name, TensorType::index(shape), Kind::Input)
    }

    /// The trainable parameter of this name: recorded at the first call, found again at the next ones.
    ///
    /// Asking again with another shape or another start is an error: two layers share a name by mistake.
    #[track_caller]
    pub fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Var<'_> {
        self.leaf(
            "param",
            name,
            TensorType::real(shape),
            Kind::Parameter { init, kind: ParameterKind::Learned, transposed: false },
        )
    }

    /// Like [`param`](Self::param), for values that are kept between runs but are not learned, such as running statistics.
    /// What an [`Optimizer`](crate::optim::Optimizer) records in its step, such as momentum, is known as the optimizer's, and
    /// is no part of the network's [weights](crate::weights).
    #[track_caller]
    pub fn state(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Var<'_> {
        let kind = Kind::Parameter { init, kind: self.state_kind(), transposed: false };
        self.leaf("state", name, TensorType::real(shape), kind)
    }

    /// All values, in the order in which they were recorded: operands come before what reads them.
    pub fn values(&self) -> Vec<Var<'_>> {
        self.dag.borrow().ids().map(|id| self.var(id)).collect()
    }

    /// The trainable parameters, in the order in which they were recorded.
    pub fn parameters(&self) -> Vec<Var<'_>> {
        self.parameters_where(|kind| kind == ParameterKind::Learned)
    }

    /// Appends an operation on `operands`. This is what every method on [`Var`] does, and the door for
    /// operations of your own.
    #[track_caller]
    pub fn record<'g>(&'g self, op: impl Op, operands: &[Var<'g>]) -> Var<'g> {
        self.record_any(Arc::new(op), operands)
    }

    #[track_caller]
    fn record_any<'g>(&'g self, op: Arc<dyn AnyOp>, operands: &[Var<'g>]) -> Var<'g> {
        let roles = op.roles();
        if !roles.is_empty() && roles.len() != operands.len() {
            let (takes, given) = (roles.join(", "), operands.len());
            let problem = Problem::new(format!("{given} operands are given, but it takes {takes}"));
            return self.refuse(op.name(), roles, operands, problem);
        }
        let types: SmallVec<[TensorType; 4]> = operands.iter().map(|operand| operand.ty()).collect();
        let types: SmallVec<[&TensorType; 4]> = types.iter().collect();
        let inferred = op.infer(&types);
        let likely = inferred.as_ref().ok().cloned();
        let ids: Vec<NodeId> = operands.iter().map(|operand| operand.id()).collect();
        let checked = match inferred {
            _ if operands.iter().any(|operand| !operand.belongs_to(self)) => {
                Err(Problem::new("the operands belong to different graphs")
                    .hint("record a computation on one graph; values pass between graphs through inputs"))
            }
            Ok(_) if self.holds_poison(operands) => return self.poison(likely, operands),
            Ok(ty) if ty.shape.checked_count().is_none() => {
                Err(Problem::new(format!("the result's shape {} is beyond any memory", ty.shape)))
            }
            Ok(ty) => axes::check(op.as_ref(), &types, &ty)
                .and_then(|()| indices::check(&self.dag(), op.as_ref(), &ids, &types))
                .map(|()| ty),
            Err(problem) => Err(problem),
        };
        match checked {
            Ok(ty) => self.push(Kind::Op(op), ty, None, &ids),
            Err(problem) => {
                self.keep(op.name(), roles, operands, problem);
                self.poison(likely, operands)
            }
        }
    }

    /// Whether an operand stands for an earlier misuse of this graph.
    fn holds_poison(&self, operands: &[Var<'_>]) -> bool {
        operands.iter().any(|operand| operand.belongs_to(self) && operand.is_poisoned())
    }

    /// Keeps an error about an operation and returns the poisoned value that stands for its result. Whoever goes on with it
    /// gets no further error. Its shape is that of the first operand of most axes, and of eight axes if there is no operand; no
    /// size is 0.
    #[track_caller]
    pub fn refuse<'g>(&'g self, op: &str, roles: &[&str], operands: &[Var<'g>], problem: Problem) -> Var<'g> {
        self.keep(op, roles, operands, problem);
        self.poison(None, operands)
    }

    /// Keeps an error about an operation, unless it follows from an earlier one.
    #[track_caller]
    fn keep(&self, op: &str, roles: &[&str], operands: &[Var<'_>], problem: Problem) {
        if !self.holds_poison(operands) {
            self.fail(self.op_error(op, roles, operands, problem));
        }
    }

    /// The first misuse recorded on this graph, if any.
    ///
    /// # Errors
    /// That misuse, with the operation, the operands and the user's line.
    pub fn check(&self) -> Result<()> {
        self.error.borrow().clone().map_or(Ok(()), Err)
    }

    /// A copy of the recording: what is added to the copy leaves this one as it is.
    pub(crate) fn copy(&self) -> Self {
        Self {
            dag: self.dag.clone(),
            names: self.names.clone(),
            error: self.error.clone(),
            blocks: self.blocks.clone(),
            composites: self.composites.clone(),
            ..Self::with_mode(self.mode)
        }
    }

    /// How many values are recorded.
    pub fn len(&self) -> usize {
        self.dag().len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The recorded nodes.
    pub(crate) fn dag(&self) -> Ref<'_, Dag> {
        self.dag.borrow()
    }

    /// The parameters that change at the end of a run; see [`Var::assign`].
    pub fn updates(&self) -> Vec<Update> {
        self.updates.borrow().clone()
    }

    /// The handle of a node.
    pub(crate) fn var(&self, id: NodeId) -> Var<'_> {
        Var::new(self, id)
    }

    /// Keeps `error` if it is the first.
    pub(crate) fn fail(&self, error: Error) {
        self.error.borrow_mut().get_or_insert(error);
    }

    /// Records what `rule` records as part of the gradient of `node`.
    pub(crate) fn differentiate<R>(&self, node: NodeId, rule: impl FnOnce() -> R) -> R {
        let outer = self.differentiating.replace(Some(node));
        let result = rule();
        self.differentiating.set(outer);
        result
    }

    /// What the method `method` records under a name.
    #[track_caller]
    fn leaf(&self, method: &str, name: &str, ty: TensorType, kind: Kind) -> Var<'_> {
        let found = self.names.borrow().get(name).map(|&id| self.var(id));
        if let Some(known) = found {
            let is_same = match (&self.dag().node(known.id()).kind, &kind) {
                // An optimizer that reads state of the network finds it.
                (Kind::Parameter { init: a, kind: s, .. }, Kind::Parameter { init: b, kind: t, .. }) => {
                    let is_learned = [s, t].map(|kind| *kind == ParameterKind::Learned);
                    a == b && is_learned[0] == is_learned[1] && known.ty() == ty
                }
                _ => false,
            };
            if is_same {
                return known;
            }
            let problem = Problem::new(format!("the name {name:?} is taken"))
                .hint("inputs are recorded once; a parameter is shared only with the same shape and start");
            self.keep(method, &["earlier"], &[known], problem);
            return self.poison(Some(ty), &[]);
        }
        if ty.shape.checked_count().is_none() {
            let problem = Problem::new(format!("the shape {} of {name:?} is beyond any memory", ty.shape));
            self.keep(method, &[], &[], problem);
            return self.poison(Some(ty), &[]);
        }
        if let Kind::Parameter { init, .. } = kind {
            let (setting, value, range) = match init {
                Init::Constant(value) => ("the start", value, NOT_NAN),
                Init::Normal { std } => ("std", std, FINITE),
                Init::Uniform { limit } => ("limit", limit, FINITE),
            };
            self.require(method, setting, value, range);
        }
        let label: Arc<str> = name.into();
        let var = self.push(kind, ty, Some(label.clone()), &[]);
        self.names.borrow_mut().insert(label, var.id());
        var
    }

    /// What stands for the result of a misuse. Its type is a guess, so that the user's code that looks at sizes comes to where
    /// the error is returned.
    #[track_caller]
    fn poison(&self, likely: Option<TensorType>, operands: &[Var<'_>]) -> Var<'_> {
        let shapes = operands.iter().map(|operand| operand.shape());
        let widest = shapes.reduce(|first, next| if next.len() > first.len() { next } else { first });
        let guess = || TensorType::real(widest.unwrap_or_else(|| [LIKELY_SIZE; 8].into()));
        let TensorType { shape, dtype } = likely.unwrap_or_else(guess);
        self.push(Kind::Poison, TensorType { shape: usable(&shape), dtype }, None, &[])
    }

    #[track_caller]
    pub(crate) fn push(
        &self,
        kind: Kind,
        ty: TensorType,
        label: Option<Arc<str>>,
        operands: &[NodeId],
    ) -> Var<'_> {
        let (site, gradient_of) = (self.site(), self.differentiating.get());
        let mut dag = self.dag.borrow_mut();
        let layer =
            gradient_of.map_or_else(|| self.layer.borrow().clone(), |node| dag.node(node).layer.clone());
        let is_part = gradient_of.is_none() && matches!(kind, Kind::Op(_));
        let called = self.method.get().filter(|_| is_part).map(|(method, _)| method);
        let method = gradient_of.map_or(called, |node| dag.node(node).method());
        let composite = self.composite.borrow().clone().filter(|_| is_part);
        let id = dag.push(Node { kind, ty, site, method, gradient_of, label, layer, composite }, operands);
        self.var(id)
    }

    #[track_caller]
    pub(crate) fn op_error(&self, op: &str, roles: &[&str], operands: &[Var<'_>], problem: Problem) -> Error {
        let note = |(position, operand): (usize, &Var<'_>)| {
            let role =
                roles.get(position).map_or_else(|| format!("operand {position}"), |role| role.to_string());
            let (dag, id) = (operand.graph().dag(), self.given(*operand)?);
            let node = dag.node(id);
            let is_inside = self.method.get().is_some_and(|(_, before)| id.index() >= before);
            let source = if is_inside { node.source() } else { node.made_by() };
            Some(OperandNote { role, shape: node.ty.shape.clone(), source, site: node.site })
        };
        let operands = operands.iter().enumerate().filter_map(note).collect();
        let op = self.method.get().map_or(op, |(method, _)| method);
        Box::new(OpError { op: op.to_string(), site: self.site(), problem, operands }).into()
    }

    /// The user's line behind what is recorded now.
    #[track_caller]
    pub(super) fn site(&self) -> SourceLine {
        let here = SourceLine::caller(); // not from a closure, which would not know the caller
        let given = || self.caller.get().filter(|_| here.is_of_crate()).unwrap_or(here);
        self.differentiating.get().map_or_else(given, |node| self.dag().node(node).site)
    }
}
