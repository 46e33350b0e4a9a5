//! The chart of a plan's memory: which values live where, and for how long.

use dagrad::nn::{Filters, conv2d};
use dagrad::viz::draw_memory;
use dagrad::{Graph, Plan};

/// A value in the chart, as its note describes it.
#[derive(Debug)]
struct Buffer {
    label: String,
    start: usize,
    bytes: usize,
    first: usize,
    last: usize,
    /// Whether it lies in the memory that each thread has for itself.
    is_own: bool,
}

/// The values of a plan's chart: `label: 96 bytes from byte 0 on, steps 1 to 3`.
fn buffers(plan: &Plan<f32>) -> Vec<Buffer> {
    let page = draw_memory(plan);
    let notes = page.split("class=\"buffer\"").skip(1).map(|rect| {
        let note = rect.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0;
        note.replace('\u{202f}', "")
    });
    let read = |note: String| {
        let (label, rest) = note.rsplit_once(": ").unwrap();
        let (range, steps) = rest.split_once(", steps ").unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| panic!("{text:?} in {note}"));
        let (bytes, range) = range.split_once(" bytes from byte ").unwrap();
        let (start, rest) = range.split_once(" on").unwrap();
        let (first, last) = steps.split_once(" to ").unwrap();
        let (start, bytes) = (number(start), number(bytes));
        let (first, last, is_own) = (number(first), number(last), !rest.is_empty());
        Buffer { label: label.to_string(), start, bytes, first, last, is_own }
    };
    notes.map(read).collect()
}

#[test]
fn a_value_lives_from_the_step_that_makes_it_to_the_last_that_reads_it() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 6]);
    let sums = x.sum(&[1]);
    let products = x.matmul(x.permute(&[1, 0]));
    let plan = Plan::<f32>::compile(&graph, &[sums.softmax(0), products]).unwrap();
    let found = buffers(&plan);
    let input = &found[0];
    let last_reader =
        plan.steps().iter().rposition(|step| step.operands().iter().any(|o| o.ty.shape == [4, 6].into()));
    assert_eq!(
        (input.label.as_str(), input.bytes, input.first, Some(input.last)),
        ("input x", 96, 0, last_reader)
    );
    let product = found.iter().find(|buffer| buffer.label.starts_with("matmul")).unwrap();
    assert_eq!((product.bytes, product.last), (64, plan.steps().len() - 1), "results are kept to the end");
    let ends = found.iter().map(|buffer| buffer.start + buffer.bytes);
    assert!(ends.max() <= Some(plan.scratch_offset()) && found.iter().all(|buffer| !buffer.is_own));
}

#[test]
fn what_a_thread_keeps_for_itself_stays_in_its_group() {
    let graph = Graph::new();
    let images = graph.input("images", [100, 1, 28, 28]);
    let h = conv2d(images, "conv1", Filters::new(16, 3)).relu();
    let h = conv2d(h, "conv2", Filters::new(16, 3)).relu().max_pool2d(2);
    let plan = Plan::<f32>::compile(&graph, &[h]).unwrap();
    let found = buffers(&plan);
    let own: Vec<&Buffer> = found.iter().filter(|buffer| buffer.is_own).collect();
    assert!(!own.is_empty(), "{plan}");
    for buffer in own {
        let group = plan.groups().iter().find(|group| group.steps.contains(&buffer.first)).unwrap();
        assert!(buffer.last < group.steps.end, "{buffer:?} outlives its group");
        assert!(buffer.start + buffer.bytes <= group.scratch, "{buffer:?} reaches into scratch memory");
    }
}
