//! How fast a step could be at best on this machine, and what share of that is reached.
//!
//! The limit is a lower bound of time: all else, such as activations, pools and handing out work, counts as nothing.
//!
//! - All multiplications of convolutions and matrix products, forward and backward, at the rate of registers that
//!   neither read nor write; or, if that takes longer, reading all weights once in each direction. An algorithm that
//!   multiplies less, such as Winograd's, can be faster than that.
//! - After that the update: a division by a root for each trained number, or, if that takes longer, reading and
//!   writing all numbers that outlast the step, which are the weights and Adam's averages.

use dagrad::graph::ParameterKind;
use dagrad_kernels::limits;
use dagrad_kernels::workers::Workers;

use crate::Result;
use crate::measure::{Mode, Runner};
use crate::report::Row;

/// What a step has to do at least.
struct Work {
    products: f64,
    trained: usize,
    lasting: usize,
}

impl Work {
    fn of(runner: &Runner) -> Self {
        let count = |trained: bool| {
            let parameters = runner.plan().parameters().iter();
            parameters
                .filter(|p| p.kind == ParameterKind::Learned || !trained)
                .map(|p| p.ty.shape.count())
                .sum()
        };
        let products = runner.plan().steps().iter().map(|step| step.macs() as f64).sum();
        Self { products, trained: count(true), lasting: count(false) }
    }
}

/// The columns that say how far a step of `seconds` is from its limit.
pub fn columns(row: Row, runner: &Runner, mode: Mode, threads: usize, seconds: f64) -> Result<Row> {
    let workers = Workers::new(threads)?;
    let work = Work::of(runner);
    let rate = limits::products(&workers);
    let reads = work.trained as f64 / limits::reading(&workers, work.trained);
    let (update, directions) = match mode {
        Mode::Infer => (0.0, 1.0),
        Mode::Train => {
            let roots = work.trained as f64 / limits::roots(&workers);
            (roots.max(work.lasting as f64 / limits::rewriting(&workers, work.lasting)), 2.0)
        }
    };
    let products = (work.products / rate).max(directions * reads);
    let limit = products + update;
    Ok(row
        .number("peak_gflops", 2e-9 * rate, 0)
        .number("gflop", 2e-9 * work.products, 4)
        .number("products_ms", 1e3 * products, 3)
        .number("update_ms", 1e3 * update, 3)
        .number("limit_ms", 1e3 * limit, 3)
        .number("step_ms", 1e3 * seconds, 3)
        .number("reached", limit / seconds, 2))
}
