//! A compiled computation that is run again and again, and what is measured of it: time, memory, and how often
//! it asks for memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dagrad::inspect::Profile;
use dagrad::optim::{Adam, minimize};
use dagrad::{CrossEntropy, Feed, Graph, Options, Plan, Reduction, Result, Store, Var, Workspace};
use ndarray::{Array4, ArrayD};

use crate::workloads::{Learns, Net};

/// What is done with a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A training step: forward, backward, and Adam's update.
    Train,
    /// Logits alone, in evaluation mode.
    Infer,
}

impl Mode {
    /// Both, by their names on the command line.
    pub const ALL: [(&str, Self); 2] = [("train", Self::Train), ("infer", Self::Infer)];

    /// The name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Infer => "infer",
        }
    }
}

/// How long is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How long it runs before it counts.
    pub warm_up: Duration,
    /// How many blocks are timed.
    pub blocks: usize,
    /// How long a block is at least; it ends with a whole step.
    pub block: Duration,
}

/// A plan with all that its runs need.
///
/// It does by hand what a `Trainer` does, because there compiling and starting parameters cannot be timed
/// apart, nor passes left out.
pub struct Runner {
    plan: Plan<f32>,
    store: Store<f32>,
    workspace: Workspace,
    images: Array4<f32>,
    labels: ArrayD<u32>,
    /// Which of both the plan asks for.
    given: Range<usize>,
    /// How long compiling took.
    pub compile: Duration,
}

/// What was measured.
pub struct Timing {
    /// The first run, which makes memory and starts parameters.
    pub first: Duration,
    /// Seconds of a step, one number for each block, least first.
    pub seconds: Vec<f64>,
    /// How often a step asks for memory.
    pub allocations: f64,
}

impl Timing {
    /// Seconds of a step in the middle block.
    pub fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }

    /// The least and the most seconds of a step.
    pub fn range(&self) -> [f64; 2] {
        [self.seconds[0], self.seconds[self.seconds.len() - 1]]
    }
}

impl Runner {
    /// A network on a batch of so many images.
    pub fn of_network(
        net: &Net,
        batch: usize,
        mode: Mode,
        threads: usize,
        options: &Options,
    ) -> Result<Self> {
        let graph = Graph::with_mode(match mode {
            Mode::Train => dagrad::Mode::Train,
            Mode::Infer => dagrad::Mode::Evaluate,
        });
        let [channels, height, width] = net.image;
        let images = [batch, channels, height, width];
        let input = graph.input("images", images);
        let output = net.network.logits(input);
        let loss = || match net.learns {
            Learns::Classes => output.softmax_cross_entropy(graph.labels("labels", [images[0]])),
            Learns::ClassesOfPixels => {
                let labels = graph.labels("labels", [images[0], images[2], images[3]]);
                output.cross_entropy(labels, CrossEntropy::new())
            }
            Learns::Images => output.mse_loss(input, Reduction::Mean),
        };
        let output = match mode {
            Mode::Infer => output,
            Mode::Train => {
                let loss = loss();
                minimize(loss, &Adam::new(1e-3))?;
                loss
            }
        };
        Self::new(&graph, &[output], images, threads, options)
    }

    /// What a graph computes of its parameters alone.
    pub fn of_parameters(graph: &Graph, outputs: &[Var<'_>], threads: usize) -> Result<Self> {
        Self::new(graph, outputs, [0; 4], threads, &Options::new())
    }

    fn new(
        graph: &Graph,
        outputs: &[Var<'_>],
        images: [usize; 4],
        threads: usize,
        options: &Options,
    ) -> Result<Self> {
        let start = Instant::now();
        let plan = options.compile(graph, outputs)?;
        let compile = start.elapsed();
        let mut numbers = numbers();
        // Evenly spread numbers of mean 0 and variance 1.
        let pixels = Array4::from_shape_simple_fn(images, || (numbers() - 0.5) * 12f32.sqrt());
        let input = |name: &str| plan.inputs().iter().find(|input| *input.name == *name);
        let labels = input("labels").map_or((Vec::new(), 0), |input| {
            (input.source.ty.shape.to_vec(), input.limit.map_or(0, |limit| limit.0))
        });
        let given = usize::from(input("images").is_none())..1 + usize::from(input("labels").is_some());
        let labels = ArrayD::from_shape_simple_fn(labels.0, || (numbers() * labels.1 as f32) as u32);
        let workspace = Workspace::new(threads)?;
        let mut store = Store::new(0);
        store.prepare(&plan)?;
        Ok(Self { plan, store, workspace, images: pixels, labels, given, compile })
    }

    /// The compiled computation.
    pub fn plan(&self) -> &Plan<f32> {
        &self.plan
    }

    /// Runs the plan once.
    pub fn step(&mut self) -> Result<()> {
        let feeds = [Feed::new("images", &self.images), Feed::new("labels", &self.labels)];
        self.plan.run(&mut self.store, &mut self.workspace, &feeds[self.given.clone()]).map(drop)
    }

    /// Where the time of a run goes.
    pub fn profile(&mut self) -> Result<Profile> {
        let feeds = [Feed::new("images", &self.images), Feed::new("labels", &self.labels)];
        self.plan.profile(&self.store, &mut self.workspace, &feeds[self.given.clone()])
    }

    /// Runs the plan for a while and measures it.
    pub fn time(&mut self, effort: Effort) -> Result<Timing> {
        let first = Instant::now();
        self.step()?;
        let first = first.elapsed();
        self.run_for(effort.warm_up)?;
        let mut seconds = Vec::with_capacity(effort.blocks);
        let (mut steps, requests) = (0, REQUESTS.load(Ordering::Relaxed));
        for _ in 0..effort.blocks {
            let start = Instant::now();
            let done = self.run_for(effort.block)?;
            seconds.push(start.elapsed().as_secs_f64() / done as f64);
            steps += done;
        }
        let allocations = (REQUESTS.load(Ordering::Relaxed) - requests) as f64 / steps as f64;
        seconds.sort_by(f64::total_cmp);
        Ok(Timing { first, seconds, allocations })
    }

    /// Runs the plan at least once, until the time is over, and returns how often.
    fn run_for(&mut self, time: Duration) -> Result<usize> {
        let (start, mut steps) = (Instant::now(), 0);
        while steps == 0 || start.elapsed() < time {
            self.step()?;
            steps += 1;
        }
        Ok(steps)
    }
}

/// Numbers between 0 and 1, the same at each start, without a pattern that a kernel could profit from
/// (SplitMix64: Steele, Lea and Flood 2014).
fn numbers() -> impl FnMut() -> f32 {
    let mut state = 0u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// The most memory that this process has held so far, in MiB, where the system tells.
pub fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// The system's allocator, and how often it was asked for memory by any thread.
struct Counting;

static REQUESTS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(start, layout) }
    }
}
