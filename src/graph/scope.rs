//! Scopes of a recording: layers, modes, and operations that are composed of others.

use std::collections::BTreeSet;
use std::iter::successors;
use std::sync::Arc;

use super::attributes::Attributes;
use super::dag::NodeId;
use super::recorder::{Graph, Mode};
use super::var::Var;
use crate::error::SourceLine;

/// An operation that is composed of others, such as `batch_norm`.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// Its name.
    pub name: &'static str,
    /// Its attributes.
    pub attributes: Attributes,
    /// The layer that recorded it.
    pub layer: Option<Arc<str>>,
    /// The one that it is itself a part of.
    pub outer: Option<Arc<Composite>>,
}

impl Graph {
    /// Begins a layer of this name, which ends when the returned guard is dropped. What is recorded in between belongs to it.
    /// Summaries, profiles and errors speak of layers. A layer inside another one is called `outer/inner`.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [2, 3]);
    /// let y = {
    ///     let _layer = graph.layer("square");
    ///     x * x
    /// };
    /// assert_eq!(y.layer().as_deref(), Some("square"));
    /// ```
    pub fn layer(&self, name: &str) -> Scope<'_> {
        let scope = self.scope();
        let name = scope.layer.as_ref().map_or_else(|| name.into(), |outer| format!("{outer}/{name}").into());
        self.layer.replace(Some(name));
        scope
    }

    /// Begins a part of the network that is recorded for another mode. It ends when the returned guard is dropped. So batch
    /// normalisation can be frozen in a network that trains, and dropout stay on in one that predicts.
    ///
    /// ```
    /// use dagrad::nn::{self, BatchNorm};
    /// use dagrad::{Graph, Mode};
    ///
    /// let graph = Graph::new(); // for training
    /// let image = graph.input("image", [8, 3, 5, 5]);
    /// let h = {
    ///     let _frozen = graph.in_mode(Mode::Evaluate);
    ///     nn::batch_norm(image, "bn1", BatchNorm::default()) // by the running statistics, which stay as they are
    /// };
    /// let y = nn::batch_norm(h, "bn2", BatchNorm::default());
    /// assert_eq!(graph.updates().len(), 2); // of bn2
    /// # let _ = y;
    /// ```
    ///
    /// Dropout draws its masks from the store's seed and count of steps. So predictions with other masks are those at other
    /// counts; see [`Store::set_step`](crate::Store::set_step).
    pub fn in_mode(&self, mode: Mode) -> Scope<'_> {
        let mut scope = self.scope();
        scope.mode = Some(self.mode_here.replace(mode));
        scope
    }

    /// What is to be restored when a scope ends.
    fn scope(&self) -> Scope<'_> {
        Scope {
            graph: self,
            layer: self.layer.borrow().clone(),
            composite: self.composite.borrow().clone(),
            mode: None,
            _called: None,
        }
    }

    /// Begins an operation that is composed of others. It ends when the returned guard is dropped. Each of its values knows it;
    /// see [`composites`](Self::composites). Outside of any layer it is a layer, too: its name has a number from the second of
    /// a name on.
    pub fn composite(&self, name: &'static str, attributes: Attributes) -> Scope<'_> {
        let scope = self.scope();
        let (layer, outer) = (scope.layer.clone(), scope.composite.clone());
        let composite = Composite { name, attributes, layer: layer.clone(), outer };
        self.composite.replace(Some(Arc::new(composite)));
        let name = layer.unwrap_or_else(|| {
            let mut composites = self.composites.borrow_mut();
            let number = composites.entry(name).or_insert(0);
            *number += 1;
            if *number == 1 { name.into() } else { format!("{name} {number}").into() }
        });
        self.layer.replace(Some(name));
        scope
    }

    /// The same for a method of the crate's own: what is refused in it is refused under its name.
    pub(crate) fn composed(&self, name: &'static str, attributes: Attributes) -> Scope<'_> {
        let mut scope = self.composite(name, attributes);
        scope._called = Some(self.called(name));
        scope
    }

    /// Says that what is refused from now on was asked for by a method of this name, until the returned guard is dropped. Of
    /// methods that call each other the outermost counts: it is the one that the user called.
    pub(crate) fn called(&self, method: &'static str) -> Called<'_> {
        let is_outermost = self.method.get().is_none();
        if is_outermost {
            self.method.set(Some((method, self.dag().len())));
        }
        Called { graph: self, is_outermost }
    }

    /// What the user gave for an operand: of what the method that is recording now has made, the value that it is made from, if
    /// that is one; nothing for what is made from nothing.
    pub(super) fn given(&self, operand: Var<'_>) -> Option<NodeId> {
        let (_, before) = self.method.get().filter(|_| operand.belongs_to(self)).unwrap_or(("", usize::MAX));
        let (dag, mut seen, mut open) = (operand.graph().dag(), BTreeSet::new(), vec![operand.id()]);
        let is_made = |id: &NodeId| id.index() >= before && dag.op(*id).is_some();
        while let Some(id) = open.pop() {
            if seen.insert(id) && is_made(&id) {
                open.extend(dag.operands(id));
            }
        }
        seen.retain(|id| !is_made(id));
        if seen.len() > 1 { Some(operand.id()) } else { seen.pop_first() }
    }

    /// Says that the caller of the function from which this is called is behind what the crate's own lines record, until the
    /// returned guard is dropped: a call through a trait or a closure loses it. Lines of the user's own are kept.
    #[track_caller]
    pub(crate) fn at_caller(&self) -> AtCaller<'_> {
        let here = SourceLine::caller();
        let outer = self.caller.get();
        self.caller.set(outer.filter(|_| here.is_of_crate()).or(Some(here)));
        AtCaller { graph: self, outer }
    }

    /// The operations that are composed of others, each with its values, in the order in which they begin. The values of one
    /// inside another belong to both.
    pub fn composites(&self) -> Vec<(Arc<Composite>, Vec<Var<'_>>)> {
        let (dag, mut found) = (self.dag.borrow(), Vec::<(Arc<Composite>, Vec<Var<'_>>)>::new());
        for id in dag.ids() {
            let around: Vec<_> =
                successors(dag.node(id).composite.as_ref(), |inner| inner.outer.as_ref()).collect();
            for composite in around.into_iter().rev() {
                match found.iter_mut().rev().find(|(known, _)| Arc::ptr_eq(known, composite)) {
                    Some((_, values)) => values.push(self.var(id)),
                    None => found.push((composite.clone(), vec![self.var(id)])),
                }
            }
        }
        found
    }
}

/// While it lives, what is recorded belongs to a layer, to a composite or to a mode; see [`Graph::layer`],
/// [`Graph::composite`], [`Graph::in_mode`]. It holds what was around it.
#[must_use = "the scope ends when this is dropped"]
pub struct Scope<'g> {
    graph: &'g Graph,
    layer: Option<Arc<str>>,
    composite: Option<Arc<Composite>>,
    /// Of a mode's scope, what was before; that one leaves layers alone, so that scopes may end in any order.
    mode: Option<Mode>,
    _called: Option<Called<'g>>,
}

/// While it lives, refusals speak of a method; see [`Graph::called`].
#[must_use = "the method ends when this is dropped"]
pub(crate) struct Called<'g> {
    graph: &'g Graph,
    is_outermost: bool,
}

/// While it lives, what the crate's own lines record is at a line of the user's; see [`Graph::at_caller`].
#[must_use = "the line holds until this is dropped"]
pub(crate) struct AtCaller<'g> {
    graph: &'g Graph,
    outer: Option<SourceLine>,
}

impl Drop for AtCaller<'_> {
    fn drop(&mut self) {
        self.graph.caller.set(self.outer);
    }
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        if self.is_outermost {
            self.graph.method.set(None);
        }
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.mode {
            self.graph.mode_here.set(mode);
            return;
        }
        *self.graph.layer.borrow_mut() = self.layer.take();
        *self.graph.composite.borrow_mut() = self.composite.take();
    }
}
