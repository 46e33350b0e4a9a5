//! The attributes of operations as the manifest writes them, and as the engine takes them.

use std::ops::Range;

use dagrad::{Conv2dOptions, CrossEntropy, Pool2dOptions, Reduction, Shape};
use serde::Deserialize;

use super::tensors::index;
use super::{Result, Trouble};

/// `[vertical, horizontal]`.
pub type Pair = [i64; 2];

/// An operation without attributes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convolution {
    #[serde(default = "ones")]
    pub stride: Pair,
    #[serde(default)]
    pub padding: Pair,
    #[serde(default = "ones")]
    pub dilation: Pair,
    #[serde(default = "one")]
    pub groups: i64,
    /// Of transposed convolutions only.
    #[serde(default)]
    pub output_padding: Pair,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooling {
    pub kernel: Pair,
    pub stride: Option<Pair>,
    #[serde(default)]
    pub padding: Pair,
    #[serde(default = "ones")]
    pub dilation: Pair,
    #[serde(default)]
    pub ceil_mode: bool,
    #[serde(default = "yes")]
    pub count_include_pad: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Along {
    pub axis: isize,
    #[serde(default)]
    pub keepdim: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// All axes if absent.
    pub axes: Option<Vec<isize>>,
    #[serde(default)]
    pub keepdim: bool,
    /// Of the variance only.
    #[serde(default = "one")]
    pub correction: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    #[serde(default = "mean")]
    pub reduction: String,
    pub ignore_index: Option<i64>,
    #[serde(default)]
    pub label_smoothing: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slices {
    pub axes: Vec<isize>,
    pub starts: Vec<isize>,
    pub ends: Vec<isize>,
    pub steps: Option<Vec<isize>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    pub pads: Vec<Pair>,
    #[serde(default)]
    pub value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub shape: Vec<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flattened {
    #[serde(default)]
    pub start_axis: isize,
    #[serde(default = "last")]
    pub end_axis: isize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub axes: Vec<isize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchNorm {
    pub training: bool,
    #[serde(default = "tenth")]
    pub momentum: f64,
    #[serde(default = "epsilon")]
    pub eps: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerNorm {
    #[serde(default = "one")]
    pub ndims: i64,
    #[serde(default = "epsilon")]
    pub eps: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupNorm {
    pub groups: i64,
    #[serde(default = "epsilon")]
    pub eps: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gelu {
    #[serde(default = "none")]
    pub approximate: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clamp {
    #[serde(default = "lowest")]
    pub min: f64,
    #[serde(default = "highest")]
    pub max: f64,
}

/// A number under whatever name the operation has for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    #[serde(alias = "slope", alias = "exponent", alias = "alpha", alias = "p")]
    pub value: f64,
}

fn one() -> i64 {
    1
}
fn ones() -> Pair {
    [1; 2]
}
fn last() -> isize {
    -1
}
fn yes() -> bool {
    true
}
fn mean() -> String {
    "mean".into()
}
fn none() -> String {
    "none".into()
}
fn tenth() -> f64 {
    0.1
}
fn epsilon() -> f64 {
    1e-5
}
fn lowest() -> f64 {
    f64::NEG_INFINITY
}
fn highest() -> f64 {
    f64::INFINITY
}

/// A size; the engine's are never negative.
pub fn size(what: &str, given: i64) -> Result<usize> {
    usize::try_from(given).map_err(|_| Trouble::Unsayable(format!("{what} {given}")))
}

pub fn sizes(what: &str, [vertical, horizontal]: Pair) -> Result<[usize; 2]> {
    Ok([size(what, vertical)?, size(what, horizontal)?])
}

impl Convolution {
    pub fn options(&self) -> Result<Conv2dOptions> {
        Ok(Conv2dOptions::new()
            .stride(sizes("a stride of", self.stride)?)
            .padding(sizes("a padding of", self.padding)?)
            .dilation(sizes("a dilation of", self.dilation)?)
            .groups(size("a number of groups of", self.groups)?))
    }
}

impl Pooling {
    pub fn options(&self) -> Result<Pool2dOptions> {
        let kernel = sizes("a window of", self.kernel)?;
        let options = Pool2dOptions::new(kernel)
            .stride(self.stride.map_or(Ok(kernel), |stride| sizes("a stride of", stride))?)
            .padding(sizes("a padding of", self.padding)?)
            .dilation(sizes("a dilation of", self.dilation)?)
            .count_include_pad(self.count_include_pad);
        Ok(if self.ceil_mode { options.ceil_mode() } else { options })
    }
}

impl Loss {
    /// Whether nothing is asked for but the mean.
    pub fn is_plain(&self) -> bool {
        self.reduction == "mean" && self.ignore_index.is_none() && self.label_smoothing == 0.0
    }

    pub fn options<'g>(&self) -> Result<CrossEntropy<'g>> {
        let options =
            CrossEntropy::new().label_smoothing(self.label_smoothing).reduction(reduction(&self.reduction)?);
        Ok(self.ignore_index.map_or(options, |label| options.ignore(index(label))))
    }
}

pub fn reduction(name: &str) -> Result<Reduction> {
    match name {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        other => Err(Trouble::Unknown(format!("no reduction is called {other}"))),
    }
}

impl Slices {
    /// The axes with their ranges and steps, as the engine counts a range that is gone through backwards: from its
    /// first to its last element.
    pub fn ranges(&self, shape: &[usize]) -> Result<Vec<(isize, Range<isize>, isize)>> {
        let (axes, starts, ends) = (&self.axes, &self.starts, &self.ends);
        let steps = self.steps.clone().unwrap_or_else(|| vec![1; axes.len()]);
        if [starts.len(), ends.len(), steps.len()] != [axes.len(); 3] {
            return Err(Trouble::File("a slice has another number of axes than of ranges".into()));
        }
        let range = |(number, &axis): (usize, &isize)| {
            let (start, end, step) = (starts[number], ends[number], steps[number]);
            if step >= 0 {
                return (axis, start..end, step);
            }
            let place = if axis < 0 { axis.saturating_add_unsigned(shape.len()) } else { axis };
            let size = shape.get(place as usize).map_or(0, |&size| size as isize);
            let from_start =
                |at: isize| if at < 0 { at.saturating_add(size).max(-1) } else { at.min(size - 1) };
            (axis, from_start(end) + 1..from_start(start) + 1, step)
        };
        Ok(axes.iter().enumerate().map(range).collect())
    }
}

impl Padding {
    pub fn sides(&self) -> Result<Vec<[usize; 2]>> {
        self.pads.iter().map(|&pair| sizes("a padding of", pair)).collect()
    }
}

impl Flattened {
    /// The shape in which some neighbouring axes are one.
    pub fn sizes(&self, shape: &Shape) -> Result<Vec<usize>> {
        let impossible =
            || Trouble::Unsayable(format!("axes {} to {} of {shape}", self.start_axis, self.end_axis));
        let place = |axis| shape.axes(&[axis]).map(|axes| axes[0]).map_err(|_| impossible());
        if shape.is_empty() {
            return Ok(vec![1]);
        }
        let (start, end) = (place(self.start_axis)?, place(self.end_axis)?);
        let inside = shape.get(start..=end).filter(|inside| !inside.is_empty()).ok_or_else(impossible)?;
        Ok([&shape[..start], &[inside.iter().product()], &shape[end + 1..]].concat())
    }
}

impl Target {
    /// The shape for so many elements, with the size in place of a single −1.
    pub fn sizes(&self, count: usize) -> Result<Vec<usize>> {
        let known = || self.shape.iter().filter(|&&size| size != -1);
        if known().count() + 1 < self.shape.len() {
            return Err(Trouble::Unsayable(format!("two open sizes in {:?}", self.shape)));
        }
        let known = known().map(|&given| size("a size of", given)).collect::<Result<Vec<_>>>()?;
        let product = known.iter().fold(1, |product: usize, size| product.saturating_mul(*size));
        let open = count.checked_div(product).unwrap_or(0);
        self.shape
            .iter()
            .map(|&given| if given == -1 { Ok(open) } else { size("a size of", given) })
            .collect()
    }
}
