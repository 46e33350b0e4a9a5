//! Multi-output fusion: elementwise steps that read each other's results become one step with several outputs.
//!
//! A value that nobody else reads is never written. An optimizer's averages and its parameter are such steps.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::chain::Chain;
use super::fuse::Fused;
use super::program::{Program, Rebuilt};
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use dagrad_kernels::elementwise::MAX_RESULTS;
use dagrad_kernels::walk::Walk;

/// Joins each elementwise step with those whose results it reads, unless another step needs these results before.
pub fn join(program: &Program) -> Program {
    let clusters = Clusters::find(program);
    let mut is_result = vec![false; program.dag.len()];
    program.roots().for_each(|root| is_result[root.index()] = true);
    program.rebuild(program.dag.ids(), |new, id| {
        let cluster = clusters.of[id.index()].map(|number| &clusters.all[number]);
        let Some(cluster) = cluster.filter(|cluster| cluster.members.len() > 1) else {
            return Some(new.copy(id));
        };
        let is_read = |member: NodeId| {
            let mut readers = program.dag.consumers(member);
            is_result[member.index()] || readers.any(|reader| !cluster.contains(reader))
        };
        let is_last = cluster.members.last().is_some_and(|&(last, _)| last == id);
        is_last.then(|| cluster.append(program, new, is_read))
    })
}

/// Which steps go together.
struct Clusters {
    all: Vec<Cluster>,
    of: Vec<Option<usize>>,
}

#[derive(Default)]
struct Cluster {
    /// Each with the number of the function that computes it.
    members: Vec<(NodeId, usize)>,
    /// The functions of all members.
    chain: Chain,
    /// Whether a step outside reads a member. A later step may need that one's result, so it cannot join any more.
    is_closed: bool,
}

impl Clusters {
    fn find(program: &Program) -> Self {
        let mut clusters = Self { all: Vec::new(), of: vec![None; program.dag.len()] };
        for id in program.dag.ids() {
            match Fused::chain(&program.dag, id) {
                Some(chain) => clusters.add(&program.dag, id, &chain),
                None => clusters.close(program.dag.operands(id)),
            }
        }
        clusters
    }

    /// Puts a step into the clusters that it reads, or else into one of its own.
    fn add(&mut self, dag: &Dag, id: NodeId, chain: &Chain) {
        let can_join = |&number: &usize| {
            let cluster = &self.all[number];
            let is_along = |(operand, walk): &(NodeId, Option<Walk>)| {
                self.of[operand.index()] != Some(number) || walk.is_none()
            };
            let is_alike = cluster.members.iter().all(|&(member, _)| dag.node(member).ty == dag.node(id).ty);
            !cluster.is_closed && is_alike && chain.operands.iter().all(is_along)
        };
        let read = chain.operands.iter().filter_map(|(operand, _)| self.of[operand.index()]);
        let mut read: BTreeSet<usize> = read.filter(can_join).collect();
        let mut joined = Cluster::default();
        read.iter().for_each(|&number| joined.merge(&self.all[number]));
        joined.add(id, chain);
        if !joined.chain.fits() || joined.members.len() > MAX_RESULTS {
            read.clear();
            joined = Cluster::default();
            joined.add(id, chain);
        }
        let number = read.first().copied().unwrap_or(self.all.len());
        // The step reads these from outside of their clusters.
        let others = chain.operands.iter().map(|(operand, _)| *operand);
        let others: Operands = others.filter(|&operand| !joined.contains(operand)).collect();
        self.close(others);
        joined.members.iter().for_each(|(member, _)| self.of[member.index()] = Some(number));
        if number == self.all.len() { self.all.push(joined) } else { self.all[number] = joined }
    }

    fn close(&mut self, read: Operands) {
        for operand in read {
            if let Some(number) = self.of[operand.index()] {
                self.all[number].is_closed = true;
            }
        }
    }
}

impl Cluster {
    fn merge(&mut self, other: &Cluster) {
        let before = self.chain.code.len();
        self.chain.append(&other.chain, |_| None);
        self.members.extend(other.members.iter().map(|&(member, last)| (member, last + before)));
    }

    fn add(&mut self, id: NodeId, chain: &Chain) {
        let made = |node| self.members.iter().find(|(member, _)| *member == node).map(|&(_, last)| last);
        self.chain.append(chain, made);
        self.members.push((id, self.chain.code.len() - 1));
    }

    fn contains(&self, id: NodeId) -> bool {
        self.members.iter().any(|&(member, _)| member == id)
    }

    /// Puts the cluster into a new graph. The last member is the output; others that are read outside are further ones.
    fn append(&self, program: &Program, new: &mut Rebuilt<'_>, is_read: impl Fn(NodeId) -> bool) -> NodeId {
        let Some((&(main, last), inner)) = self.members.split_last() else {
            unreachable!("a cluster has a member")
        };
        let further = inner.iter().filter(|(member, _)| is_read(*member));
        let results: SmallVec<[usize; 4]> =
            [last].into_iter().chain(further.clone().map(|&(_, last)| last)).collect();
        let made = Fused::append(&self.chain, &results, program, main, new);
        for (index, &(member, _)) in further.enumerate() {
            let node = Node { kind: Kind::Output(1 + index), ..program.dag.node(member).clone() };
            new.new_id[member.index()] = Some(new.dag.push(node, &[made]));
        }
        made
    }
}
