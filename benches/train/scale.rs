//! How time grows: with the batch, the image and the depth of a network, and when compiling, with the graph.

use std::time::{Duration, Instant};

use dagrad::nn::{Network, SimpleConvNet};
use dagrad::optim::{Adam, minimize};
use dagrad::{Graph, Options, Plan, Result, Var, gradients};

use crate::measure::{Effort, Mode, Runner};
use crate::report::{Report, Row};
use crate::workloads::{Net, any_size, column, residual};

/// Prints all tables, those of training steps for each number of threads. Compiling takes one thread.
pub fn measure(threads: &[usize], report: &mut Report) -> Result<()> {
    report.title("A training step of SimpleConvNet against the batch");
    for batch in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024] {
        train("batch", batch, &Net::of(batch, [1, 28, 28], SimpleConvNet::default()), threads, report)?;
    }
    report.title("Three convolutions of 16 channels, batch 8, against the size of the image");
    for size in [28, 56, 112, 224] {
        train("image", size, &Net::of(8, [3, size, size], any_size), threads, report)?;
    }
    report.title("Convolutions of 16 channels, batch 16, images of 14×14, against their number");
    for depth in [1, 2, 5, 10, 20, 50, 100] {
        train("depth", depth, &Net::of(16, [16, 14, 14], column(depth, 16)), threads, report)?;
    }
    report.title("Compiling: chains of tanh with their gradient");
    for length in [20, 200, 2_000, 20_000] {
        compile("chain", report, |graph| {
            let x = graph.input("x", [16]);
            let y = (0..length).fold(x, |y, _| y.tanh()).sum_all();
            Ok([vec![y], gradients(y, &[x])?].concat())
        })?;
    }
    report.title("Compiling: training steps of stacked convolutions");
    for depth in [1, 16, 160, 1_600] {
        compile("stack", report, |graph| training(graph, &column(depth, 4), [1, 4, 4, 4]))?;
    }
    report.title("Compiling: training steps of networks, batch 64");
    compile("SimpleConvNet", report, |graph| training(graph, &SimpleConvNet::default(), [64, 1, 28, 28]))?;
    compile("residual", report, |graph| training(graph, &residual, [64, 3, 32, 32]))
}

/// Measures a training step.
fn train(axis: &'static str, value: usize, net: &Net, threads: &[usize], report: &mut Report) -> Result<()> {
    let (warm_up, block) = (Duration::from_millis(200), Duration::from_millis(100));
    for &threads in threads {
        let mut runner = Runner::of_network(net, net.batch, Mode::Train, threads, &Options::new())?;
        let seconds = runner.time(Effort { warm_up, blocks: 5, block })?.median();
        let row = Row::default()
            .count(axis, value)
            .count("threads", threads)
            .number("images_per_s", net.batch as f64 / seconds, 1)
            .number("ms_per_step", seconds * 1e3, 3)
            .number("ms_per_image", seconds * 1e3 / net.batch as f64, 4)
            .number("arena_mib", runner.plan().arena_bytes() as f64 / (1u64 << 20) as f64, 2);
        report.row(&row);
    }
    Ok(())
}

/// Records a training step and returns its loss.
fn training<'g>(graph: &'g Graph, network: &dyn Network, images: [usize; 4]) -> Result<Vec<Var<'g>>> {
    let logits = network.logits(graph.input("images", images));
    let loss = logits.softmax_cross_entropy(graph.labels("labels", [images[0]]));
    minimize(loss, &Adam::new(1e-3))?;
    Ok(vec![loss])
}

/// Measures how long a graph takes to record and to compile.
fn compile<R>(name: &str, report: &mut Report, record: R) -> Result<()>
where
    R: for<'g> Fn(&'g Graph) -> Result<Vec<Var<'g>>>,
{
    let millis = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let (mut records, mut compiles, mut sizes) = (Vec::new(), Vec::new(), (0, 0));
    // Small graphs are compiled in microseconds: so several times, but nobody waits for large ones twice.
    let begin = Instant::now();
    while compiles.is_empty() || (compiles.len() < 7 && begin.elapsed() < Duration::from_millis(500)) {
        let (graph, start) = (Graph::new(), Instant::now());
        let outputs = record(&graph)?;
        records.push(millis(start));
        let start = Instant::now();
        let plan = Plan::<f32>::compile(&graph, &outputs)?;
        compiles.push(millis(start));
        sizes = (graph.len(), plan.steps().len());
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let compile = median(&mut compiles);
    let row = Row::default()
        .text("graph", name, 13)
        .count("nodes", sizes.0)
        .count("steps", sizes.1)
        .number("record_ms", median(&mut records), 3)
        .number("compile_ms", compile, 3)
        .number("compile_us_per_node", compile * 1e3 / sizes.0 as f64, 3);
    report.row(&row);
    Ok(())
}
