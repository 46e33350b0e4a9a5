//! The time of each step of a plan.

use std::fmt;
use std::time::{Duration, Instant};

use super::json;
use super::table::{Table, count, shortened};
use crate::compile::{Location, Plan, PlanStep};
use crate::error::Result;
use crate::graph::Precision;
use crate::run::{Feed, KernelCall, Store, Workspace};
use dagrad_kernels::limits;

/// How many runs are timed; the median of each step counts.
const RUNS: usize = 9;
/// No further run is timed after this time.
const LONGEST: Duration = Duration::from_secs(5);
/// How many steps are printed,
const PRINTED: usize = 12;
/// and as many letters of their titles.
const ROOM: usize = 56;

/// The time of each step of a plan. It prints as tables.
///
/// ```
/// use dagrad::nn::{self, Filters};
/// use dagrad::{Graph, Plan, Store, Workspace};
/// use ndarray::Array4;
///
/// let graph = Graph::new();
/// let image = graph.input("image", [8, 1, 28, 28]);
/// let h = nn::conv2d(image, "conv", Filters::new(16, 3)).relu().sum_all();
/// let plan = Plan::<f32>::compile(&graph, &[h])?;
/// let (store, mut workspace) = (Store::new(0), Workspace::new(1)?);
/// let images = Array4::<f32>::zeros((8, 1, 28, 28));
///
/// let profile = plan.profile(&store, &mut workspace, &[image.feed(&images)])?;
/// println!("{profile}");
/// assert_eq!(profile.steps.len(), plan.steps().len());
/// assert!(profile.families().iter().any(|family| family.name == "conv2d"));
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Profile {
    /// The steps, in the order in which they run.
    pub steps: Vec<StepProfile>,
    /// How many threads there were.
    pub threads: usize,
    /// How many runs were timed.
    pub runs: usize,
    /// The peak of these threads, measured beside the runs: billions of floating-point operations (a
    /// multiplication and an addition are two) per second, in the precision `f32`. Steps are counted by their definition, so
    /// that a convolution by Winograd's algorithm, which multiplies less, may come above the peak.
    pub peak_gflops: f64,
    /// The calls of kernels in the last run.
    pub calls: Vec<KernelCall>,
}

/// One step of a [`Profile`].
#[derive(Debug, Clone, PartialEq)]
pub struct StepProfile {
    /// The operation.
    pub operation: &'static str,
    /// The operation with its attributes; of a chain in one step, its functions.
    pub title: String,
    /// Shape and type of what it makes.
    pub output: String,
    /// The layer that it belongs to.
    pub layer: Option<String>,
    /// The user's line behind it.
    pub line: String,
    /// Which part of a training step it belongs to.
    pub phase: Phase,
    /// Median time, in microseconds.
    pub microseconds: f64,
    /// Multiplications, each with its addition, by the operation's definition (0: it is no product).
    pub macs: usize,
    /// Bytes that it reads and writes, each operand and result once.
    pub bytes: usize,
}

/// The parts of a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Computing the results.
    Forward,
    /// Computing gradients.
    Backward,
    /// Computing what parameters become.
    Update,
}

impl Phase {
    /// Its name in files.
    fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Update => "update",
        }
    }

    /// An update writes to a parameter, or serves one that does.
    fn of(step: &PlanStep) -> Self {
        let writes = step.outputs().any(|made| matches!(made.source.location, Location::Parameter(_)));
        match step.layer.as_deref() {
            _ if writes => Self::Update,
            _ if step.is_gradient => Self::Backward,
            Some("update") => Self::Update,
            _ => Self::Forward,
        }
    }
}

/// All steps of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// The operation.
    pub name: &'static str,
    /// How many steps there are.
    pub steps: usize,
    /// Microseconds forward, backward and in the update.
    pub microseconds: [f64; 3],
    /// Multiplications, each with its addition.
    pub macs: usize,
    /// Bytes read and written.
    pub bytes: usize,
}

impl<T: Precision> Plan<T> {
    /// Times each step of the plan, the median of nine runs, on a copy of the store: nothing changes. Of a plan that runs for
    /// long there are fewer runs: none begins after five seconds.
    ///
    /// Nothing else should run on the machine meanwhile.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn profile(
        &self,
        store: &Store<T>,
        workspace: &mut Workspace,
        feeds: &[Feed<'_>],
    ) -> Result<Profile> {
        let mut store = store.copy()?;
        store.prepare(self)?;
        self.run(&mut store, workspace, feeds)?; // makes memory
        let mut times = vec![Vec::with_capacity(RUNS); self.steps().len()];
        let start = Instant::now();
        let (mut runs, mut calls) = (0, Vec::new());
        while runs < RUNS && (runs == 0 || start.elapsed() < LONGEST) {
            runs += 1;
            calls = self.trace(&mut store, workspace, feeds)?;
            let run = self.step_times(&calls, workspace.threads());
            times.iter_mut().zip(run).for_each(|(times, time)| times.push(time));
        }
        let steps = self.steps().iter().zip(times).map(|(step, times)| StepProfile::of::<T>(step, times));
        Ok(Profile {
            steps: steps.collect(),
            threads: workspace.threads(),
            runs,
            peak_gflops: 2e-9 * limits::products(workspace.workers()),
            calls,
        })
    }
}

impl StepProfile {
    fn of<T: Precision>(step: &PlanStep, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let made = step.outputs().map(|made| &made.source);
        Self {
            operation: step.kernel.name(),
            title: step.to_string(),
            output: step.output().ty.to_string(),
            layer: step.layer.as_ref().map(|layer| layer.to_string()),
            line: step.site.to_string(),
            phase: Phase::of(step),
            microseconds: 1e6 * times[times.len() / 2].as_secs_f64(),
            macs: step.macs(),
            bytes: step.operands.iter().chain(made).map(|source| source.bytes::<T>()).sum(),
        }
    }

    /// Billions of floating-point operations per second, for products.
    pub fn gflops(&self) -> Option<f64> {
        rate(2 * self.macs, self.microseconds)
    }

    /// Billions of bytes per second.
    pub fn gigabytes_per_second(&self) -> Option<f64> {
        rate(self.bytes, self.microseconds)
    }

    fn layer_as_json(&self) -> String {
        self.layer.as_deref().map_or("null".to_string(), json::text)
    }
}

impl Family {
    /// Microseconds of all parts together.
    pub fn total(&self) -> f64 {
        self.microseconds.iter().sum()
    }

    /// Billions of floating-point operations per second, for products.
    pub fn gflops(&self) -> Option<f64> {
        rate(2 * self.macs, self.total())
    }

    /// Billions of bytes per second.
    pub fn gigabytes_per_second(&self) -> Option<f64> {
        rate(self.bytes, self.total())
    }
}

/// Billions per second.
fn rate(count: usize, microseconds: f64) -> Option<f64> {
    (count > 0 && microseconds > 0.0).then(|| 1e-3 * count as f64 / microseconds)
}

impl Profile {
    /// Microseconds of all steps together.
    pub fn total(&self) -> f64 {
        self.steps.iter().map(|step| step.microseconds).sum()
    }

    /// Microseconds of a part of the training step.
    pub fn phase(&self, phase: Phase) -> f64 {
        let steps = self.steps.iter().filter(|step| step.phase == phase);
        steps.fold(0.0, |sum, step| sum + step.microseconds) // the sum of nothing is 0, and not −0
    }

    /// All operations, the one that takes longest first.
    pub fn families(&self) -> Vec<Family> {
        let mut found: Vec<Family> = Vec::new();
        for step in &self.steps {
            let name = step.operation;
            let row = found.iter().position(|family| family.name == name).unwrap_or(found.len());
            if row == found.len() {
                found.push(Family { name, steps: 0, microseconds: [0.0; 3], macs: 0, bytes: 0 });
            }
            let family = &mut found[row];
            family.steps += 1;
            family.microseconds[step.phase as usize] += step.microseconds;
            family.macs += step.macs;
            family.bytes += step.bytes;
        }
        found.sort_by(|a, b| b.total().total_cmp(&a.total()));
        found
    }

    /// The steps that take longest, at most so many, the longest first.
    pub fn longest(&self, most: usize) -> Vec<&StepProfile> {
        let mut steps: Vec<&StepProfile> = self.steps.iter().collect();
        steps.sort_by(|a, b| b.microseconds.total_cmp(&a.microseconds));
        steps.truncate(most);
        steps
    }

    /// The profile as JSON: an object of `threads`, `runs`, `peak_gflops`, `families` and `steps`. The last two have the
    /// fields of [`Family`] and [`StepProfile`], and `gflops`, `share_of_peak` and `gigabytes_per_second`, null where there
    /// is none.
    pub fn to_json(&self) -> String {
        let rates = |gflops: Option<f64>, gigabytes: Option<f64>| {
            [gflops, gflops.map(|gflops| gflops / self.peak_gflops), gigabytes].map(json::number)
        };
        let family = |family: Family| {
            let [gflops, share_of_peak, gigabytes] = rates(family.gflops(), family.gigabytes_per_second());
            json::object([
                ("name", json::text(family.name)),
                ("steps", family.steps.to_string()),
                ("microseconds", format!("[{}]", family.microseconds.map(json::number).join(","))),
                ("macs", family.macs.to_string()),
                ("bytes", family.bytes.to_string()),
                ("gflops", gflops),
                ("share_of_peak", share_of_peak),
                ("gigabytes_per_second", gigabytes),
            ])
        };
        let step = |step: &StepProfile| {
            let [gflops, share_of_peak, gigabytes] = rates(step.gflops(), step.gigabytes_per_second());
            json::object([
                ("operation", json::text(step.operation)),
                ("title", json::text(&step.title)),
                ("output", json::text(&step.output)),
                ("layer", step.layer_as_json()),
                ("line", json::text(&step.line)),
                ("phase", json::text(step.phase.name())),
                ("microseconds", json::number(step.microseconds)),
                ("macs", step.macs.to_string()),
                ("bytes", step.bytes.to_string()),
                ("gflops", gflops),
                ("share_of_peak", share_of_peak),
                ("gigabytes_per_second", gigabytes),
            ])
        };
        json::object([
            ("threads", self.threads.to_string()),
            ("runs", self.runs.to_string()),
            ("peak_gflops", json::number(self.peak_gflops)),
            ("families", json::array(self.families().into_iter().map(family))),
            ("steps", json::array(self.steps.iter().map(step))),
        ])
    }

    /// The last run's calls of kernels in the format of Chrome's tracing, for `chrome://tracing` and
    /// <https://ui.perfetto.dev>: a row for each thread.
    pub fn to_chrome_trace(&self) -> String {
        let micros = |time: Duration| json::number(1e6 * time.as_secs_f64());
        let event = |call: &KernelCall| {
            let step = &self.steps[call.step];
            let about = json::object([
                ("step", call.step.to_string()),
                ("output", json::text(&step.output)),
                ("layer", step.layer_as_json()),
                ("line", json::text(&step.line)),
            ]);
            json::object([
                ("name", json::text(&step.title)),
                ("cat", json::text(step.phase.name())),
                ("ph", json::text("X")),
                ("ts", micros(call.start)),
                ("dur", micros(call.time)),
                ("pid", "0".to_string()),
                ("tid", call.thread.to_string()),
                ("args", about),
            ])
        };
        json::object([
            ("traceEvents", json::array(self.calls.iter().map(event))),
            ("displayTimeUnit", json::text("ms")),
        ])
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.total().max(f64::MIN_POSITIVE);
        let percent = |part: f64| format!("{:.1}", 100.0 * part);
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
        let of_peak = |value: Option<f64>| number(value.map(|value| 100.0 * (value / self.peak_gflops)));
        writeln!(
            f,
            "{whole:.0} µs: forward {} %, backward {} %, update {} %; median of {} runs, {} threads, peak {:.0} GFLOP/s\n",
            percent(self.phase(Phase::Forward) / whole),
            percent(self.phase(Phase::Backward) / whole),
            percent(self.phase(Phase::Update) / whole),
            self.runs,
            self.threads,
            self.peak_gflops
        )?;
        let heading = [
            "operation",
            "steps",
            "forward, µs",
            "backward, µs",
            "update, µs",
            "%",
            "GFLOP/s",
            "% of peak",
            "MB",
            "GB/s",
        ];
        let mut table = Table::new(1, heading);
        let megabytes = |bytes: usize| format!("{:.2}", 1e-6 * bytes as f64);
        for family in self.families() {
            let [forward, backward, update] =
                family.microseconds.map(|time| number(Some(time).filter(|&time| time > 0.0)));
            table.row([
                family.name.to_string(),
                count(family.steps),
                forward,
                backward,
                update,
                percent(family.total() / whole),
                number(family.gflops()),
                of_peak(family.gflops()),
                megabytes(family.bytes),
                number(family.gigabytes_per_second()),
            ]);
        }
        writeln!(f, "{table}")?;
        let heading = ["longest steps", "output", "layer", "µs", "%", "GFLOP/s", "% of peak", "MB", "GB/s"];
        let mut table = Table::new(3, heading);
        for step in self.longest(PRINTED) {
            table.row([
                shortened(&step.title, ROOM),
                step.output.clone(),
                step.layer.clone().unwrap_or_default(),
                format!("{:.1}", step.microseconds),
                percent(step.microseconds / whole),
                number(step.gflops()),
                of_peak(step.gflops()),
                megabytes(step.bytes),
                number(step.gigabytes_per_second()),
            ]);
        }
        write!(f, "{table}")
    }
}
