//! Batch tiling: a few samples go through several kernels while they are in the cache, then the next few.
//!
//! Kernels that treat every sample of a batch on its own are gathered into groups and moved together. In a
//! group each task takes some samples, its tile, through all kernels; values that nobody outside reads exist only for
//! the samples at hand, in the thread's own memory. Sums over samples (gradients of weights) write one row per
//! task, and what adds the rows comes after the group.

use std::collections::VecDeque;

use super::program::Program;
use crate::graph::dag::{Dag, NodeId};
use crate::graph::kernel::BatchSplit;

/// Kernels that share their tiles of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// The first of its nodes, and the first one after.
    pub nodes: std::ops::Range<usize>,
    /// How many samples there are.
    pub samples: usize,
    /// How many of them a task takes.
    pub chunk: usize,
}

/// Fewer samples than this are better shared out inside each operation.
const FEWEST_SAMPLES: usize = 8;
/// A task's samples should take about so many bytes in each operation, to stay in the second-level cache.
const CHUNK_BYTES: usize = 1 << 19;
/// There should be at least so many tasks,
const TASKS: usize = 8;
/// or at least so many where each of them reads a lot that samples share.
const FEWEST_TASKS: usize = 4;
/// A task reads and writes at least so many bytes.
const TASK_BYTES: usize = 1 << 16;
/// By how much samples may overflow the cache where that spares reading what they share.
const OVERFLOW: usize = 8;
/// How many operations may be waiting while a group is gathered. It bounds the work of gathering.
const MOST_WAITING: usize = 256;
/// How many values a group makes at most, about. It bounds the proof, which compares each with each.
const MOST_VALUES: usize = 256;

/// Puts kernels that can share tiles of the batch next to each other.
pub fn tile_batch(program: &Program) -> Program {
    let mut groups = Vec::new();
    let dag = &program.dag;
    let is_leaf = |id: &NodeId| !dag.is_computed(*id);
    let mut order: Vec<NodeId> = dag.ids().filter(is_leaf).collect();
    // Further outputs go with the kernel that makes them.
    let is_step = |id: &NodeId| !is_leaf(id) && dag.output_number(*id).is_none();
    let with_outputs = |id: NodeId| dag.outputs(id).into_iter().map(|(id, _)| id);
    let mut waiting: VecDeque<NodeId> = dag.ids().filter(is_step).collect();
    // Only operations with enough samples, and enough rows, are gathered.
    let is_enough =
        |s: &BatchSplit| s.samples >= FEWEST_SAMPLES && s.samples.div_ceil(s.samples_per_row) >= FEWEST_TASKS;
    let samples = dag.ids().map(|id| dag.batch_split(id).filter(is_enough)).collect();
    let mut gatherer = Gatherer { dag, state: vec![State::Free; dag.len()], samples };
    while let Some(id) = waiting.pop_front() {
        let Some(samples) = gatherer.samples[id.index()].clone() else {
            order.extend(with_outputs(id));
            continue;
        };
        waiting.push_front(id);
        let gathered = gatherer.gather(&mut waiting, samples);
        order.extend(gathered.before.iter().copied().flat_map(with_outputs));
        let first = order.len();
        order.extend(gathered.members.iter().copied().flat_map(with_outputs));
        let does_something = |id: &&NodeId| !dag.is_alias(**id);
        if gathered.members.iter().filter(does_something).count() > 1 {
            let nodes = first..order.len();
            groups.push(NodeGroup { nodes, samples: gathered.samples, chunk: gathered.chunk() });
        }
    }
    let mut program = program.rebuild(order, |new, id| Some(new.copy(id)));
    program.groups = groups;
    program
}

/// Where a node stands while a group is gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is computed before the group, or was not looked at yet.
    Free,
    /// It is in the group.
    Member,
    /// It waits until after the group, but could come before.
    Waiting,
    /// It needs the group's results.
    After,
}

struct Gatherer<'a> {
    dag: &'a Dag,
    state: Vec<State>,
    samples: Vec<Option<BatchSplit>>,
}

struct GatheredGroup {
    before: Vec<NodeId>,
    members: Vec<NodeId>,
    /// How many values the members make.
    values: usize,
    samples: usize,
    tile: TileBounds,
}

/// What bounds the number of samples that a task takes.
#[derive(Debug, Clone, Copy)]
struct TileBounds {
    /// How many samples make a row of a sum, where there are sums.
    samples_per_row: usize,
    /// How many samples the cache holds.
    at_most: usize,
    /// For how many samples it pays to read what they share.
    at_least: usize,
    /// What all members read and write sample by sample.
    bytes: usize,
}

impl Gatherer<'_> {
    /// Takes from the queue what can join a group of such samples, and what its members need before.
    fn gather(&mut self, queue: &mut VecDeque<NodeId>, like: BatchSplit) -> GatheredGroup {
        let (before, members) = (Vec::new(), Vec::new());
        let tile = TileBounds { samples_per_row: 1, at_most: usize::MAX, at_least: 1, bytes: 0 };
        let mut found = GatheredGroup { before, members, values: 0, samples: like.samples, tile };
        let mut looked_at = 0;
        let mut waiting = Vec::new();
        while looked_at < queue.len() && waiting.len() < MOST_WAITING && found.values < MOST_VALUES {
            let id = queue[looked_at];
            looked_at += 1;
            if let Some(tile) = self.tile_with(id, &found) {
                found.tile = tile;
                self.hoist(id, &mut found.before);
                self.state[id.index()] = State::Member;
                found.members.push(id);
                found.values += self.dag.outputs(id).len();
            } else {
                let needs =
                    |operand: NodeId| matches!(self.state[operand.index()], State::Member | State::After);
                let is_after = self.needed(id).any(needs);
                self.state[id.index()] = if is_after { State::After } else { State::Waiting };
                waiting.push(id);
            }
        }
        queue.drain(..looked_at);
        waiting.retain(|id| self.state[id.index()] != State::Free); // hoisted
        for &id in waiting.iter().rev() {
            queue.push_front(id);
        }
        waiting.iter().chain(&found.members).for_each(|id| self.state[id.index()] = State::Free);
        found
    }

    /// For each operand of a node the one that makes it.
    fn needed(&self, id: NodeId) -> impl Iterator<Item = NodeId> + use<> {
        let mut operands = self.dag.operands(id);
        operands.iter_mut().for_each(|operand| *operand = self.dag.maker(*operand));
        operands.into_iter()
    }

    /// The group's bounds with one more node, if the node can be in it: it has the same samples, what it reads of the
    /// group it reads sample by sample, and its tiles are about as large.
    fn tile_with(&self, id: NodeId, group: &GatheredGroup) -> Option<TileBounds> {
        let split = self.samples[id.index()].as_ref()?;
        let (own, others) = (self.tile_of(id, split), &group.tile);
        let few = own.samples_per_row.min(others.samples_per_row);
        let tile = TileBounds {
            samples_per_row: own.samples_per_row.max(others.samples_per_row),
            at_most: own.at_most.min(others.at_most),
            at_least: own.at_least.max(others.at_least),
            bytes: own.bytes + others.bytes,
        };
        let is_fixed = tile.samples_per_row > 1;
        let is_same_size = split.samples == group.samples && tile.samples_per_row.is_multiple_of(few);
        let is_tile = is_same_size && (is_fixed || tile.at_least <= OVERFLOW * tile.at_most);
        let is_by_row =
            |id: NodeId| self.samples[id.index()].as_ref().is_some_and(|s| s.samples_per_row == 1);
        let can_read = |(operand, is_split): (NodeId, &bool)| match self.state[operand.index()] {
            State::Free | State::Waiting => true,
            State::Member => *is_split && is_by_row(operand),
            State::After => false,
        };
        (is_tile && self.needed(id).zip(&split.operands).all(can_read)).then_some(tile)
    }

    /// Moves what a new member needs, and could come before the group, there.
    fn hoist(&mut self, id: NodeId, before: &mut Vec<NodeId>) {
        let start = before.len();
        let mut needed: Vec<NodeId> = vec![id];
        while let Some(id) = needed.pop() {
            for operand in self.needed(id) {
                if self.state[operand.index()] == State::Waiting {
                    self.state[operand.index()] = State::Free;
                    before.push(operand);
                    needed.push(operand);
                }
            }
        }
        before[start..].sort_unstable();
    }

    /// The bounds of a group of a single node.
    fn tile_of(&self, id: NodeId, split: &BatchSplit) -> TileBounds {
        let bytes = |id: NodeId| self.dag.node(id).ty.bytes::<f32>();
        let mut by_sample: usize = self.dag.outputs(id).iter().map(|&(id, _)| bytes(id)).sum();
        let mut shared = 0;
        for (operand, is_split) in self.dag.operands(id).into_iter().zip(&split.operands) {
            *(if *is_split { &mut by_sample } else { &mut shared }) += bytes(operand);
        }
        let sample = (by_sample / split.samples).max(1);
        TileBounds {
            samples_per_row: split.samples_per_row,
            at_most: (CHUNK_BYTES / sample).max(1),
            at_least: (shared / sample).clamp(1, split.samples.div_ceil(FEWEST_TASKS)),
            bytes: by_sample,
        }
    }
}

impl GatheredGroup {
    /// How many samples a task takes: as many as the cache holds, unless sums over samples fix their number. Tasks
    /// are neither few nor small, and of an even number.
    fn chunk(&self) -> usize {
        let TileBounds { samples_per_row, at_most, at_least, bytes } = self.tile;
        if samples_per_row > 1 {
            return samples_per_row;
        }
        let small = (TASK_BYTES / (bytes / self.samples).max(1)).max(1);
        let chunk = at_most.min(self.samples.div_ceil(TASKS)).max(at_least).max(small).min(self.samples);
        let tasks = self.samples.div_ceil(chunk);
        self.samples.div_ceil(if tasks > 1 { tasks.next_multiple_of(2) } else { 1 })
    }
}
