//! Graphs for the eye: a typed listing, and Graphviz.

use std::fmt;
use std::sync::Arc;

use petgraph::dot::{Config, Dot};
use petgraph::graph::NodeIndex;

use super::attributes::Attribute;
use super::dag::{Dag, Kind, Node, NodeId};
use super::parameter::ParameterKind;
use super::recorder::Graph;

impl Node {
    /// What made the value: `input "image"`, `param "conv1.weight"`, `relu`.
    pub fn source(&self) -> String {
        let label = self.label.as_deref().unwrap_or_default();
        match &self.kind {
            Kind::Input => format!("input {label:?}"),
            Kind::Parameter { kind: ParameterKind::Learned, .. } => format!("param {label:?}"),
            Kind::Parameter { .. } => format!("state {label:?}"),
            Kind::Prepared(number) => format!("prepared {number}"),
            Kind::Op(op) => op.name().to_string(),
            Kind::Kernel(kernel) => kernel.name().to_string(),
            Kind::Output(number) => format!("output {number}"),
            Kind::Poison => "poisoned".to_string(),
        }
    }

    /// What made it, as the user called that; of a gradient, the operation.
    pub fn made_by(&self) -> String {
        match &self.kind {
            Kind::Op(op) if self.gradient_of.is_none() => self.method.unwrap_or(op.name()).to_string(),
            _ => self.source(),
        }
    }

    /// What is fed by mistake: a parameter, or the result of a method and where it was called.
    pub fn what(&self) -> String {
        match self.method() {
            Some(method) => format!("the result of {method} at {}", self.site),
            None => "a parameter".to_owned(),
        }
    }

    /// What its user knows it by: its name, or the method that made it and where.
    pub fn known_as(&self) -> String {
        let made = || format!("{} at {}", self.method().unwrap_or("a misuse"), self.site);
        self.label.as_ref().map_or_else(made, |label| label.to_string())
    }
}

/// Attributes as listings show them.
pub(crate) fn in_brackets(attributes: &str) -> String {
    if attributes.is_empty() { String::new() } else { format!(" ({attributes})") }
}

impl Dag {
    /// One node as a line of the listing: `%7 = relu %6 : [100, 30, 24, 24]  # net.rs:12`. Where a composed operation
    /// begins, its name and attributes follow.
    pub fn line(&self, id: NodeId) -> String {
        let node = self.node(id);
        let mut text = format!("%{} = {}", id.index(), node.source());
        match &node.kind {
            Kind::Parameter { init, .. } => text += &format!(" from {init}"),
            Kind::Op(op) => text += &self.call(id, &op.attributes().to_string()),
            Kind::Kernel(kernel) => text += &self.call(id, &kernel.attributes()),
            Kind::Output(_) => text += &self.call(id, ""),
            Kind::Prepared(_) => text += &self.call(id, ""),
            Kind::Input | Kind::Poison => {}
        }
        let gradient = node.gradient_of.map_or(String::new(), |of| format!(", gradient of %{}", of.index()));
        format!("{text} : {}  # {}{gradient}{}", node.ty, node.site, self.composite(id))
    }

    /// The composed operation that begins with a node, if one does.
    fn composite(&self, id: NodeId) -> String {
        let composite = self.node(id).composite.as_ref();
        let before = id.index().checked_sub(1).map(NodeId::new);
        let before = before.and_then(|before| self.node(before).composite.as_ref());
        match composite.filter(|own| !before.is_some_and(|before| Arc::ptr_eq(own, before))) {
            Some(new) => format!(", in {}{}", new.name, in_brackets(&new.attributes.to_string())),
            None => String::new(),
        }
    }

    /// The operands of a node that is computed, its attributes and its label.
    fn call(&self, id: NodeId, attributes: &str) -> String {
        let mut text: String =
            self.operands(id).iter().map(|operand| format!(" %{}", operand.index())).collect();
        text += &in_brackets(attributes);
        if let Some(label) = &self.node(id).label {
            text += &format!(" as {label:?}");
        }
        text
    }
}

impl fmt::Display for Dag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ids().try_for_each(|id| writeln!(f, "{}", self.line(id)))
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dag())?;
        for update in self.updates() {
            let name = self.var(update.parameter).name();
            writeln!(f, "{name} <- %{}", update.value.index())?;
        }
        self.check().or_else(|error| writeln!(f, "! {error}"))
    }
}

impl Graph {
    /// Writes what is computed, without the lines of the user's code: the same for two graphs that compute the same.
    pub(crate) fn define(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let dag = self.dag();
        for id in dag.ids() {
            let node = dag.node(id);
            write!(out, "{} {} {:?}", node.source(), node.ty, dag.operands(id))?;
            let Kind::Op(op) = &node.kind else { continue };
            for (name, attribute) in op.attributes().iter() {
                match attribute {
                    Attribute::Reals(values) => {
                        values.iter().try_for_each(|value| write!(out, " {value}"))?
                    }
                    Attribute::Indices(values) => {
                        values.iter().try_for_each(|value| write!(out, " {value}"))?
                    }
                    other => write!(out, " {name} {other}")?,
                }
            }
        }
        let updates = self.updates();
        updates.iter().try_for_each(|update| write!(out, " {:?} {:?}", update.parameter, update.value))
    }

    /// The graph in Graphviz's language: `dot -Tsvg` draws it.
    pub fn to_dot(&self) -> String {
        let dag = self.dag();
        let colour = |node: &Node| match (&node.kind, node.gradient_of) {
            (Kind::Input, _) => "lightblue",
            (Kind::Parameter { .. }, _) => "khaki",
            (Kind::Poison, _) => "red",
            (_, Some(_)) => "mistyrose",
            (_, None) => "white",
        };
        let node_attributes = |_: &_, (id, node): (NodeIndex<u32>, &Node)| {
            let named = match (&node.kind, &node.label) {
                (Kind::Op(_), Some(label)) => format!(" as {label:?}"),
                _ => String::new(),
            };
            let text = format!("%{} {}{named}\n{}", id.index(), node.source(), node.ty);
            format!("label = {text:?} style = filled shape = box fillcolor = {}", colour(node))
        };
        let config = [Config::NodeNoLabel];
        format!(
            "{:?}",
            Dot::with_attr_getters(dag.petgraph(), &config, &|_, _| String::new(), &node_attributes)
        )
    }
}
