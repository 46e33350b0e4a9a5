//! What became of each case, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use super::Trouble;
use super::case::{self, Mode};
use super::compare::compare;
use super::manifest::{Case, Dtype, Kind};
use super::tensors::Tensors;

/// What became of a case.
pub enum Outcome {
    Passed,
    Failed(Vec<String>),
    /// The harness does not know something that the case needs.
    Skipped(String),
}

/// One case's line in the report.
pub struct Line {
    pub id: String,
    /// Kind and level.
    pub group: String,
    pub outcome: Outcome,
    pub keys: usize,
    /// Errors in single precision over PyTorch's.
    pub ratios: Vec<(f64, String)>,
}

/// Runs a case in each of its precisions and in each mode.
pub fn judge(case: &Case, tensors: &Tensors, modes: &[Mode]) -> Line {
    let group = format!("{:?} {}", case.kind, case.level).to_lowercase();
    let mut line = Line { id: case.id.clone(), group, outcome: Outcome::Passed, keys: 0, ratios: Vec::new() };
    let mut failures = Vec::new();
    for &dtype in &case.dtypes {
        for (number, mode) in modes.iter().enumerate() {
            let run = format!("{dtype:?}, {}", mode.name);
            match (case.kind, case::run(case, tensors, mode, dtype)) {
                (_, Err(Trouble::Unknown(reason))) => {
                    line.outcome = Outcome::Skipped(reason);
                    return line;
                }
                (Kind::Error, Err(Trouble::Refused(_) | Trouble::Unsayable(_))) => {}
                (Kind::Error, Ok(_)) => failures.push(format!("{run}: it was not refused")),
                (_, Err(trouble)) => failures.push(format!("{run}: {trouble}")),
                (_, Ok(values)) => match compare(case, tensors, &values, dtype) {
                    Err(trouble) => failures.push(format!("{run}: {trouble}")),
                    Ok(comparison) => {
                        line.keys += comparison.keys;
                        failures.extend(comparison.wrong.iter().map(|text| format!("{run}: {text}")));
                        if dtype == Dtype::F32 && number == 0 {
                            line.ratios = comparison.ratios;
                        }
                    }
                },
            }
        }
    }
    if failures.is_empty() && (case.dtypes.is_empty() || case.kind != Kind::Error && line.keys == 0) {
        failures.push("nothing was compared".into());
    }
    if !failures.is_empty() {
        line.outcome = Outcome::Failed(failures);
    }
    line
}

/// All lines together.
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// How many passed, failed and were skipped.
    pub fn counts(&self) -> [usize; 3] {
        count(&self.lines.iter().collect::<Vec<_>>())
    }

    /// The errors in single precision over PyTorch's, smallest first.
    pub fn ratios(&self) -> Vec<(f64, &str)> {
        let all = self.lines.iter().flat_map(|line| &line.ratios);
        let mut all: Vec<(f64, &str)> = all.map(|(ratio, key)| (*ratio, key.as_str())).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    }
}

fn count(lines: &[&Line]) -> [usize; 3] {
    let of = |is: fn(&Outcome) -> bool| lines.iter().filter(|line| is(&line.outcome)).count();
    [
        of(|outcome| matches!(outcome, Outcome::Passed)),
        of(|outcome| matches!(outcome, Outcome::Failed(_))),
        of(|outcome| matches!(outcome, Outcome::Skipped(_))),
    ]
}

/// The ratio below which this share of them lies.
pub fn quantile(sorted: &[(f64, &str)], share: f64) -> f64 {
    let position = sorted.len().saturating_sub(1) as f64 * share;
    sorted.get(position.round() as usize).map_or(f64::NAN, |ratio| ratio.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &self.lines {
            groups.entry(&line.group).or_default().push(line);
            match &line.outcome {
                Outcome::Passed => {}
                Outcome::Skipped(reason) => writeln!(f, "skipped {}: {reason}", line.id)?,
                Outcome::Failed(reasons) => {
                    writeln!(f, "failed {}:", line.id)?;
                    let first_lines = reasons.iter().filter_map(|reason| reason.lines().next());
                    first_lines.take(6).try_for_each(|line| writeln!(f, "    {line}"))?;
                }
            }
        }
        let [passed, failed, skipped] = self.counts();
        let keys: usize = self.lines.iter().map(|line| line.keys).sum();
        writeln!(f, "golden: {passed} passed, {failed} failed, {skipped} skipped ({keys} arrays compared)")?;
        for (group, lines) in groups {
            let [passed, failed, skipped] = count(&lines);
            writeln!(f, "    {group}: {passed} passed, {failed} failed, {skipped} skipped")?;
        }
        let ratios = self.ratios();
        let Some((worst, key)) = ratios.last() else { return Ok(()) };
        let (middle, most) = (quantile(&ratios, 0.5), quantile(&ratios, 0.99));
        write!(f, "f32 error over PyTorch's, {} arrays: ", ratios.len())?;
        write!(f, "median {middle:.2}, 99 % below {most:.2}, worst {worst:.1} ({key})")
    }
}
