//! Where the time of a training step goes.

use std::time::Duration;

use maud::{Markup, html};

use super::part;
use crate::compile::{Place, Plan, Step};
use crate::error::Result;
use crate::run::{Feed, Store, Workspace};

/// How many runs are timed; the median of each step counts.
const RUNS: usize = 7;
/// How many steps of the plan are listed.
const LISTED: usize = 12;

/// A family of operations: its name, and microseconds forward, backward and in the update.
struct Family {
    name: &'static str,
    times: [f64; 3],
}

/// Times a plan over parameters of its own, and shows the families of operations and the longest steps.
pub fn time_part(
    plan: &Plan<f32>,
    seed: u64,
    workspace: &mut Workspace,
    feeds: &[Feed<'_>],
    batch: usize,
) -> Result<Markup> {
    let mut store = Store::new(seed);
    plan.run(&mut store, workspace, feeds)?; // makes memory and draws the weights
    let runs =
        (0..RUNS).map(|_| plan.time_steps(&mut store, workspace, feeds)).collect::<Result<Vec<_>>>()?;
    let times: Vec<f64> = (0..plan.steps().len()).map(|step| median(&runs, step)).collect();
    let whole: f64 = times.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| times[b].total_cmp(&times[a]));
    order.truncate(LISTED);
    let about = format!(
        "A training step on {batch} images took {whole:.0} µs with {} threads (each step the median of {RUNS} runs).",
        workspace.threads()
    );
    Ok(part(
        "Time",
        &about,
        html! {
            div.wide {
                table {
                    thead { tr { th { "operation" } th { "forward, µs" } th { "backward, µs" } th { "update, µs" } th { "share" } th {} } }
                    tbody {
                        @for Family { name, times } in families(plan, &times) {
                        tr {
                            td { (name) }
                            @for time in times { td { (format!("{time:.1}")) } }
                            (share(times.iter().sum::<f64>() / whole))
                        }
                    }
                }
            }
        }
        h4 { "The longest steps" }
            div.wide {
                table {
                    thead { tr { th { "step" } th { "µs" } th { "GFLOP/s" } th { "share" } th {} } }
                    tbody {
                        @for &step in &order {
                            tr {
                                td { (plan.steps()[step].to_string()) " " (plan.steps()[step].output().meta.to_string()) }
                                td { (format!("{:.1}", times[step])) }
                                td { (rate(plan.steps()[step].macs(), times[step])) }
                                (share(times[step] / whole))
                            }
                        }
                    }
                }
            }
        },
    ))
}

fn share(share: f64) -> Markup {
    html! {
        td { (format!("{:.1} %", 100.0 * share)) }
        td { span.bar style=(format!("width: {:.1}rem", 12.0 * share)) {} }
    }
}

/// Operations with more than a multiplication for each number: how many billions of them and of additions a second.
fn rate(macs: usize, microseconds: f64) -> String {
    if macs == 0 || microseconds <= 0.0 {
        return String::new();
    }
    format!("{:.0}", 2e-3 * macs as f64 / microseconds)
}

/// All families, the longest first.
fn families(plan: &Plan<f32>, times: &[f64]) -> Vec<Family> {
    let mut found: Vec<Family> = Vec::new();
    for (step, time) in plan.steps().iter().zip(times) {
        let name = step.op.name();
        let position = found.iter().position(|family| family.name == name).unwrap_or_else(|| {
            found.push(Family { name, times: [0.0; 3] });
            found.len() - 1
        });
        found[position].times[phase(step)] += time;
    }
    found.sort_by(|a, b| b.times.iter().sum::<f64>().total_cmp(&a.times.iter().sum()));
    found
}

/// 0: forward, 1: backward, 2: the update, which writes to parameters.
fn phase(step: &Step) -> usize {
    if step.made().any(|made| matches!(made.source.place, Place::Parameter(_))) {
        2
    } else {
        usize::from(step.is_gradient)
    }
}

/// The median of a step's times, in microseconds.
fn median(runs: &[Vec<Duration>], step: usize) -> f64 {
    let mut times: Vec<Duration> = runs.iter().map(|run| run[step]).collect();
    times.sort_unstable();
    1e6 * times[times.len() / 2].as_secs_f64()
}
