//! Multi-output fusion: elementwise steps that read each other's results become one step with several outputs.
//!
//! A value that nobody else reads is never written. An optimizer's averages and its parameter are such steps.

use std::sync::Arc;

use smallvec::SmallVec;

use super::chain::Chain;
use super::fuse::Fused;
use super::program::Program;
use crate::graph::dag::{Dag, Kind, Node, NodeId, Operands};
use dagrad_kernels::elementwise::MAX_RESULTS;
use dagrad_kernels::walk::Walk;

/// Joins each elementwise step with those whose results it reads, unless another step needs these results before.
pub fn join(program: &Program) -> Program {
    let clusters = Clusters::find(program);
    let mut dag = Dag::default();
    let mut new_id: Vec<Option<NodeId>> = vec![None; program.dag.len()];
    let mut is_result = vec![false; program.dag.len()];
    program.roots().for_each(|root| is_result[root.index()] = true);
    for id in program.dag.ids() {
        match clusters.of[id.index()].map(|number| &clusters.all[number]) {
            Some(cluster) if cluster.members.len() > 1 => {
                if cluster.members.last() == Some(&id) {
                    let is_read = |&member: &NodeId| {
                        let mut readers = program.dag.consumers(member);
                        is_result[member.index()] || readers.any(|reader| !cluster.members.contains(&reader))
                    };
                    cluster.append(program, &mut dag, &mut new_id, is_read);
                }
            }
            _ => {
                let operands: Option<Operands> =
                    program.dag.operands(id).iter().map(|operand| new_id[operand.index()]).collect();
                new_id[id.index()] =
                    operands.map(|operands| dag.push(program.dag.node(id).clone(), &operands));
            }
        }
    }
    program.moved(dag, |id| new_id[id.index()].unwrap_or_else(|| unreachable!("every result is somebody's")))
}

/// Which steps go together.
struct Clusters {
    all: Vec<Cluster>,
    of: Vec<Option<usize>>,
}

#[derive(Default)]
struct Cluster {
    members: Vec<NodeId>,
    /// The functions of all members.
    chain: Chain,
    /// For each member, the number of the function that computes it.
    last: Vec<usize>,
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
        let read = chain.operands.iter().filter_map(|(operand, _)| self.of[operand.index()]);
        let mut read: SmallVec<[usize; 4]> = read.collect();
        read.sort_unstable();
        read.dedup();
        read.retain(|&mut number| {
            let cluster = &self.all[number];
            let is_along = |(operand, walk): &(NodeId, Option<Walk>)| {
                self.of[operand.index()] != Some(number) || walk.is_none()
            };
            let is_alike = cluster.members.iter().all(|&member| dag.node(member).ty == dag.node(id).ty);
            !cluster.is_closed && is_alike && chain.operands.iter().all(is_along)
        });
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
        let others: Operands = others.filter(|operand| !joined.members.contains(operand)).collect();
        self.close(others);
        joined.members.iter().for_each(|member| self.of[member.index()] = Some(number));
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
        self.members.extend(&other.members);
        self.last.extend(other.last.iter().map(|function| function + before));
    }

    fn add(&mut self, id: NodeId, chain: &Chain) {
        let made: Vec<(NodeId, usize)> =
            self.members.iter().copied().zip(self.last.iter().copied()).collect();
        self.chain
            .append(chain, |node| made.iter().find(|(member, _)| *member == node).map(|&(_, last)| last));
        self.members.push(id);
        self.last.push(self.chain.code.len() - 1);
    }

    /// Puts the cluster into a new graph: the last member is the output, the others that are read elsewhere are further
    /// outputs.
    fn append(
        &self,
        program: &Program,
        dag: &mut Dag,
        new_id: &mut [Option<NodeId>],
        is_read: impl Fn(&NodeId) -> bool,
    ) {
        let [inner @ .., main] = &self.members[..] else { unreachable!("a cluster has a member") };
        let further: SmallVec<[(NodeId, usize); 4]> = (inner.iter().copied().zip(self.last.iter().copied()))
            .filter(|(member, _)| is_read(member))
            .collect();
        let results: SmallVec<[usize; 4]> =
            self.last.last().copied().into_iter().chain(further.iter().map(|&(_, last)| last)).collect();
        let operands: Option<Operands> =
            self.chain.operands.iter().map(|(operand, _)| new_id[operand.index()]).collect();
        let Some(operands) = operands else { unreachable!("operands come before their readers") };
        let like = program.dag.node(*main);
        let kernel = Fused::new(&self.chain, &results, program, &like.ty);
        let made = dag.push(Node { kind: Kind::Kernel(Arc::new(kernel)), ..like.clone() }, &operands);
        new_id[main.index()] = Some(made);
        for (index, (member, _)) in further.into_iter().enumerate() {
            let node = program.dag.node(member).clone();
            new_id[member.index()] = Some(dag.push(Node { kind: Kind::Output(1 + index), ..node }, &[made]));
        }
    }
}
