//! The time of a training step.

use maud::{Markup, html};

use super::{NAME, part, table};
use crate::inspect::{Phase, Profile, shortened};

/// How many steps of the plan are listed.
const LISTED: usize = 12;

/// Shows the families of operations and the longest steps of a training step on so many samples.
pub fn time_part(profile: &Profile, batch: usize) -> Markup {
    let whole = profile.total().max(f64::MIN_POSITIVE);
    let phase = |phase| 100.0 * profile.phase(phase) / whole;
    let about = format!(
        "A training step on {batch} samples took {whole:.0} µs with {} threads (each step the median of {} runs): {:.0} % \
         forward, {:.0} % backward, {:.0} % in the update. The peak of these threads is {:.0} GFLOP/s. \
         Multiplications are counted by definition: a convolution that makes do with fewer (Winograd's) may come above that.",
        profile.threads,
        profile.runs,
        phase(Phase::Forward),
        phase(Phase::Backward),
        phase(Phase::Update),
        profile.peak_gflops,
    );
    let rates = |gflops: Option<f64>, gigabytes: Option<f64>| {
        html! {
            td { (number(gflops)) }
            td { (number(gflops.map(|rate| 100.0 * rate / profile.peak_gflops))) }
            td { (number(gigabytes)) }
        }
    };
    let families = html! {
        @for family in profile.families() {
            tr {
                td { (family.name) }
                @for time in family.microseconds { td { (if time > 0.0 { format!("{time:.1}") } else { String::new() }) } }
                (rates(family.gflops(), family.gigabytes_per_second()))
                (share(family.total() / whole))
            }
        }
    };
    let steps = html! {
        @for step in profile.longest(LISTED) {
            tr {
                td { (shortened(&step.title, NAME)) " " (step.output) }
                td { (shortened(step.layer.as_deref().unwrap_or_default(), NAME)) }
                td { (format!("{:.1}", step.microseconds)) }
                (rates(step.gflops(), step.gigabytes_per_second()))
                (share(step.microseconds / whole))
            }
        }
    };
    let content = html! {
        (table("", &["operation", "forward, µs", "backward, µs", "update, µs", "GFLOP/s", "% of peak", "GB/s", "share", ""], &families))
        h4 { "The longest steps" }
        (table("two-words", &["step", "layer", "µs", "GFLOP/s", "% of peak", "GB/s", "share", ""], &steps))
    };
    part("Time", &about, content)
}

fn number(value: Option<f64>) -> String {
    value.map_or(String::new(), |value| format!("{value:.0}"))
}

fn share(share: f64) -> Markup {
    html! {
        td { (format!("{:.1} %", 100.0 * share)) }
        td { span.bar style=(format!("width: {:.1}rem", 12.0 * share)) {} }
    }
}
