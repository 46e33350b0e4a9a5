//! What passes work on: a graph, and which of its values matter.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::batch_tiling::NodeGroup;
use super::lower::CopyOut;
use crate::error::{Problem, Result, SourceLine};
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use crate::graph::lowering::Target;
use crate::graph::{Dtype, Graph, Mode, TensorType, Update, Var};

/// A graph with its results: outputs, and values that parameters take at the end.
#[derive(Debug, Clone)]
pub struct Program {
    /// The nodes.
    pub(crate) dag: Dag,
    /// The values that a run hands out.
    pub(crate) outputs: Vec<NodeId>,
    /// Parameters and their next values.
    pub(crate) updates: Vec<(NodeId, NodeId)>,
    /// What is known of the recorded graph.
    pub(crate) recorded: Arc<Recorded>,
    /// What computes the values of its [`Kind::Prepared`] leaves, in their order, if there are any.
    pub(crate) preparation: Option<Arc<Program>>,
    /// Nodes that share their tiles of the batch.
    pub(crate) groups: Vec<NodeGroup>,
    /// What is known of the indices that inputs may hold, by the inputs' names.
    pub(crate) limits: HashMap<Arc<str>, IndexLimit>,
    /// What it is lowered for; nothing in particular if every operation is done by its definition.
    pub(crate) target: Option<Target>,
}

/// What a run needs to know of the recorded graph.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its identity.
    pub graph: u64,
    /// What it is recorded for.
    pub mode: Mode,
    /// The outputs as the user knows them: their nodes and names.
    pub outputs: Vec<(NodeId, String)>,
    /// All inputs, also those that no output needs.
    pub inputs: Vec<(Arc<str>, TensorType)>,
    /// The names of all other values that have one, and what they are.
    pub others: Vec<(Arc<str>, String)>,
}

/// Which indices an input may hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndexLimit {
    /// The first index that is out of range, for which method, and where that was called.
    pub limit: Option<(usize, &'static str, SourceLine)>,
    /// The index for which that does not hold, if all who read it agree.
    pub exempt: Option<u32>,
}

impl Program {
    /// The recorded graph as a program.
    ///
    /// # Errors
    /// The first misuse recorded, or an output of another graph.
    #[track_caller]
    pub(crate) fn from_graph(graph: &Graph, outputs: &[Var<'_>], updates: &[Update]) -> Result<Self> {
        graph.check()?;
        if let Some(stranger) = outputs.iter().find(|output| !output.belongs_to(graph)) {
            let problem = Problem::new(format!("output {} belongs to another graph", stranger.known_as()));
            return Err(graph.op_error("compile", &[], &[], problem));
        }
        let dag = graph.dag().clone();
        let named = dag.ids().map(|id| dag.node(id)).filter_map(|node| Some((node, node.label.clone()?)));
        let (inputs, others): (Vec<_>, Vec<_>) =
            named.partition(|(node, _)| matches!(node.kind, Kind::Input));
        let recorded = Arc::new(Recorded {
            graph: graph.identity(),
            mode: graph.whole_mode(),
            outputs: outputs.iter().map(|output| (output.id(), output.name())).collect(),
            inputs: inputs.into_iter().map(|(node, name)| (name, node.ty.clone())).collect(),
            others: others.into_iter().map(|(node, name)| (name, node.what())).collect(),
        });
        let outputs = outputs.iter().map(|output| output.id()).collect();
        let updates = updates.iter().map(|update| (update.parameter, update.value)).collect();
        let (groups, limits) = (Vec::new(), HashMap::new());
        Ok(Self { dag, outputs, updates, recorded, preparation: None, groups, limits, target: None })
    }

    /// An output or a next value that is a parameter as it stands is copied, so that updates in place cannot
    /// change it under its reader. Passes come before: they may find that x · 1 is such a value.
    pub(super) fn detach_parameters(&mut self) {
        let values = self.updates.iter_mut().map(|(_, value)| value);
        for value in self.outputs.iter_mut().chain(values) {
            let origin = &self.dag.node(self.dag.origin(*value)).kind;
            if matches!(origin, Kind::Parameter { .. } | Kind::Prepared(_)) {
                let node = self.dag.node(*value).clone();
                let copy = Node { kind: Kind::Kernel(Arc::new(CopyOut)), ..node };
                *value = self.dag.push(copy, &[*value]);
            }
        }
    }

    /// For each input of indices, by its name, what its readers ask of it.
    pub(super) fn index_limits(&self) -> HashMap<Arc<str>, IndexLimit> {
        let inputs = self.dag.ids().map(|id| (id, self.dag.node(id)));
        inputs
            .filter(|(_, node)| matches!(node.kind, Kind::Input) && node.ty.dtype == Dtype::Index)
            .map(|(id, node)| (node.label.clone().unwrap_or_default(), self.index_limit(id)))
            .collect()
    }

    /// What the readers of an input of indices, under whatever shape, ask of it.
    fn index_limit(&self, input: NodeId) -> IndexLimit {
        let dag = &self.dag;
        let mut aliases = vec![input];
        let mut limits = Vec::new();
        while let Some(alias) = aliases.pop() {
            for reader in dag.consumers(alias) {
                let Some(op) = dag.op(reader) else { continue };
                if op.is_alias() {
                    aliases.push(reader);
                }
                if let Some(limit) = op.index_limit(&dag.operand_types(reader)) {
                    let node = dag.node(reader);
                    let (method, order) = (node.method().unwrap_or(op.name()), (node.gradient_of, reader));
                    limits.push((limit, order, method, node.site, op.exempt_index()));
                }
            }
        }
        // Of several that take as many, the first that the user called.
        let least = limits.iter().min_by_key(|(limit, order, ..)| (*limit, *order));
        let limit = least.map(|&(limit, _, method, site, _)| (limit, method, site));
        let exempt = limits.first().and_then(|first| first.4);
        IndexLimit { limit, exempt: exempt.filter(|_| limits.iter().all(|other| other.4 == exempt)) }
    }

    /// The group that a node is in.
    pub(super) fn group(&self, node: usize) -> Option<&NodeGroup> {
        let next = self.groups.partition_point(|group| group.nodes.end <= node);
        self.groups.get(next).filter(|group| group.nodes.contains(&node))
    }

    /// All values that a run must compute.
    pub(crate) fn roots(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.outputs.iter().copied().chain(self.updates.iter().map(|&(_, value)| value))
    }

    /// How many readers each node has, results counted.
    pub(crate) fn use_counts(&self) -> Vec<usize> {
        let mut uses: Vec<usize> = self.dag.ids().map(|id| self.dag.consumers(id).count()).collect();
        self.roots().for_each(|root| uses[root.index()] += 1);
        uses
    }

    /// Rebuilds the program node by node, in an order in which operands come before their readers. `make` is given the
    /// new graph and the old node, and says which new node replaces it (`None`: nobody asks for it).
    pub(super) fn rebuild(
        &self,
        order: impl IntoIterator<Item = NodeId>,
        mut make: impl FnMut(&mut Rebuilt<'_>, NodeId) -> Option<NodeId>,
    ) -> Program {
        let new_id = vec![None; self.dag.len()];
        let mut new = Rebuilt { old: &self.dag, dag: Dag::default(), new_id };
        for id in order {
            new.new_id[id.index()] = make(&mut new, id);
        }
        let Rebuilt { dag, new_id, .. } = new;
        self.moved(dag, |id| replacement(&new_id, id))
    }

    /// The program on other nodes; `find` knows which of them replaces an old one.
    pub(super) fn moved(&self, dag: Dag, find: impl Fn(NodeId) -> NodeId) -> Program {
        Program {
            dag,
            outputs: self.outputs.iter().map(|&id| find(id)).collect(),
            updates: self.updates.iter().map(|&(parameter, value)| (find(parameter), find(value))).collect(),
            recorded: self.recorded.clone(),
            preparation: self.preparation.clone(),
            groups: Vec::new(),
            limits: self.limits.clone(),
            ..*self
        }
    }
}

/// A new graph that is made of the nodes of an old one.
pub(super) struct Rebuilt<'a> {
    old: &'a Dag,
    pub dag: Dag,
    /// What replaces each old node.
    pub new_id: Vec<Option<NodeId>>,
}

impl Rebuilt<'_> {
    /// What replaces the operands of an old node.
    pub fn operands(&self, old: NodeId) -> Operands {
        self.replacements(self.old.operands(old))
    }

    /// What replaces old nodes.
    pub fn replacements(&self, old: impl IntoIterator<Item = NodeId>) -> Operands {
        old.into_iter().map(|id| replacement(&self.new_id, id)).collect()
    }

    /// Appends an old node as it is.
    pub fn copy(&mut self, old: NodeId) -> NodeId {
        let operands = self.operands(old);
        self.dag.push(self.old.node(old).clone(), &operands)
    }
}

fn replacement(new_id: &[Option<NodeId>], old: NodeId) -> NodeId {
    new_id[old.index()].unwrap_or_else(|| unreachable!("what somebody reads is never dropped"))
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(preparation) = &self.preparation {
            writeln!(f, "once, until a parameter changes:")?;
            preparation.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        write!(f, "{}", self.dag)?;
        self.outputs.iter().try_for_each(|output| writeln!(f, "output %{}", output.index()))?;
        let mut updates = self.updates.iter();
        updates.try_for_each(|(to, from)| writeln!(f, "update %{} <- %{}", to.index(), from.index()))
    }
}
