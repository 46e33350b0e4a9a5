//! How much memory is asked for: after the first step a training step touches the heap no more, on any thread; and a
//! file takes what it holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

use crate::common::network::{batch, network};
use crate::common::run_alone;
use dagrad::data::mnist_5k;
use dagrad::nn::{Network, SimpleConvNet};
use dagrad::optim::{Adam, Groups, LearningRate, Momentum, Optimizer};
use dagrad::{Graph, Init, Plan, Store, Trainer, Workspace};

/// The system's allocator, and what any thread did with it but the one that waits for the tests: that one asks for a
/// little at moments of its own.
struct Counting;

/// How often it was asked for memory.
static REQUESTS: AtomicUsize = AtomicUsize::new(0);
/// The bytes that were asked for and not yet given back.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most of these since [`peak_of`] began.
static PEAK: AtomicIsize = AtomicIsize::new(0);
/// The most bytes that were asked for at once.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Whether any thread asked.
static STARTED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread waits for the tests. It is the first that asks for memory.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

fn taken(bytes: usize) {
    if !STARTED.swap(true, Ordering::SeqCst) {
        WAITS.set(true);
    }
    if !WAITS.get() {
        REQUESTS.fetch_add(1, Ordering::SeqCst);
        // Below 0 where a thread gives back what the waiting one took.
        let live = LIVE.fetch_add(bytes, Ordering::SeqCst).wrapping_add(bytes);
        PEAK.fetch_max(live as isize, Ordering::SeqCst);
        LARGEST.fetch_max(bytes, Ordering::SeqCst);
    }
}

fn returned(bytes: usize) {
    if !WAITS.get() {
        LIVE.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// The bytes of the heap that this process holds.
pub fn live() -> usize {
    LIVE.load(Ordering::SeqCst)
}

/// What a function returns, and the most bytes that this process held beside those that it held before.
pub fn peak_of<R>(function: impl FnOnce() -> R) -> (R, usize) {
    let before = live() as isize;
    PEAK.store(before, Ordering::SeqCst);
    let result = function();
    (result, (PEAK.load(Ordering::SeqCst) - before) as usize)
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        returned(layout.size());
        taken(size);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(start, layout, size) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        returned(layout.size());
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `steps` training steps after the first ask for memory.
fn requests<T: dagrad::Precision>(threads: usize, steps: usize) -> usize {
    let graph = Graph::new();
    let net = network(&graph, 50);
    let plan = Plan::<T>::compile(&graph, &[net.loss]).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(threads).unwrap());
    let (images, labels) = batch(50);
    let images = images.mapv(|value| value as f32);
    let feeds = [net.image.feed(&images), net.classes.feed(&labels)];
    let mut loss = plan.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap();
    let before = REQUESTS.load(Ordering::SeqCst);
    for _ in 0..steps {
        loss = plan.run(&mut store, &mut workspace, &feeds).unwrap().scalar(0).unwrap();
    }
    let requests = REQUESTS.load(Ordering::SeqCst) - before;
    assert!(loss.is_finite());
    requests
}

/// The same for the book's network, moved by two groups with schedules.
fn requests_of_a_trainer(threads: usize, steps: usize) -> usize {
    let graph = Graph::new();
    let (images, labels) = (graph.input("images", [10, 1, 28, 28]), graph.labels("labels", [10]));
    let loss = SimpleConvNet::default().logits(images).softmax_cross_entropy(labels);
    let workspace = Workspace::new(threads).unwrap();
    let rate = LearningRate::cosine(1e-3, 1000).adjustable();
    let rule = Groups::new(Adam::new(rate)).group("b*", Momentum::new(rate)).frozen("W1").clip_norm(10.0);
    let mut trainer = Trainer::<f32>::with(loss, &rule, Store::new(0), workspace).unwrap();
    let (values, digits) = mnist_5k().unwrap().train.batch(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
    let feeds = [images.feed(&values), labels.feed(&digits)];
    let first = trainer.step(&feeds).unwrap();
    let before = REQUESTS.load(Ordering::SeqCst);
    let last = (0..steps).map(|_| trainer.step(&feeds).unwrap()).last();
    let requests = REQUESTS.load(Ordering::SeqCst) - before;
    assert!(last.is_some_and(|last| last < first));
    requests
}

/// The same for elementwise steps with as many operands and results as they can have.
fn requests_of_crowded_steps(threads: usize, steps: usize) -> usize {
    let graph = Graph::new();
    let x = graph.input("x", [40, 3]);
    let params: Vec<_> =
        (0..12).map(|i| graph.param(&format!("p{i}"), [40, 3], Init::Constant(1.0))).collect();
    let sum = params.iter().fold(x, |sum, &p| sum + p) / x;
    let wanted: Vec<_> = (0..20)
        .scan(sum, |y, _| {
            *y = y.tanh();
            Some(*y)
        })
        .collect();
    let plan = Plan::<f32>::compile(&graph, &wanted).unwrap();
    assert!(plan.steps().iter().any(|step| step.operands().len() == 8), "{plan}");
    assert!(plan.steps().iter().any(|step| step.outputs().count() == 4), "{plan}");
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(threads).unwrap());
    let value = ndarray::Array2::<f32>::ones((40, 3));
    let feeds = [x.feed(&value)];
    plan.run(&mut store, &mut workspace, &feeds).unwrap();
    let before = REQUESTS.load(Ordering::SeqCst);
    for _ in 0..steps {
        plan.run(&mut store, &mut workspace, &feeds).unwrap();
    }
    REQUESTS.load(Ordering::SeqCst) - before
}

#[test]
fn memory_for_a_file_follows_what_arrives_not_what_its_header_claims() {
    run_alone("allocation::a_file_that_claims_a_gigabyte_takes_little");
}

#[test]
#[ignore = "the count is of the whole process: the test above runs it in one of its own"]
fn a_file_that_claims_a_gigabyte_takes_little() {
    let path = std::env::temp_dir().join(format!("dagrad-claim-{}", std::process::id()));
    // A million images of 1024 pixels, of which seven bytes follow.
    let header = [0x0803_u32, 1 << 20, 1 << 10, 1].map(u32::to_be_bytes).concat();
    std::fs::write(&path, [&header[..], &[1; 7]].concat()).unwrap();
    let outcome = dagrad::data::idx::read_images(&path);
    std::fs::remove_file(&path).unwrap();
    assert!(outcome.unwrap_err().to_string().contains("ends at byte 23"));
    let largest = LARGEST.load(Ordering::SeqCst);
    assert!((1..1 << 16).contains(&largest), "{largest} bytes were asked for at once");
}

#[test]
fn a_training_step_after_the_first_asks_for_no_memory() {
    run_alone("allocation::the_whole_process_asks_for_no_memory");
}

#[test]
#[ignore = "the count is of the whole process: the test above runs it in one of its own"]
fn the_whole_process_asks_for_no_memory() {
    for threads in [1, 2] {
        assert_eq!(requests::<f32>(threads, 20), 0, "f32, {threads} threads");
        assert_eq!(requests::<f64>(threads, 20), 0, "f64, {threads} threads");
        assert_eq!(requests_of_a_trainer(threads, 20), 0, "Adam, {threads} threads");
        assert_eq!(requests_of_crowded_steps(threads, 20), 0, "crowded steps, {threads} threads");
    }
    let before = REQUESTS.load(Ordering::SeqCst);
    drop(vec![0u8; 100]);
    assert_eq!(REQUESTS.load(Ordering::SeqCst), before + 1, "the counter counts");
}
