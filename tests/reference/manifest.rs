//! The manifest: cases as data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Result, Trouble};

/// One case: a small graph, what goes in, and what must come out.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub file: String,
    pub kind: Kind,
    pub level: String,
    pub dtypes: Vec<Dtype>,
    pub inputs: Vec<Input>,
    pub nodes: Vec<Node>,
    pub outputs: Vec<String>,
    #[serde(default)]
    pub expect: BTreeMap<String, Expected>,
    /// Gradients that are zero; their values are not stored.
    #[serde(default)]
    pub zero: Vec<String>,
    /// Whether second-order gradients are asked for.
    #[serde(default)]
    pub second: bool,
    pub derivs: Option<Derivatives>,
    /// The input whose gradient is penalised.
    pub penalty: Option<String>,
    // Of networks only.
    #[serde(default)]
    pub params: Vec<String>,
    #[serde(default)]
    pub hvp: bool,
    #[serde(default)]
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Values and gradients.
    Vjp,
    /// A whole network with its training.
    Net,
    /// A misuse that must be refused.
    Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    F64,
    F32,
}

#[derive(Debug, Deserialize)]
pub struct Input {
    pub name: String,
    /// Whether its gradient is asked for.
    #[serde(default)]
    pub diff: bool,
}

#[derive(Debug, Deserialize)]
pub struct Node {
    pub op: String,
    #[serde(rename = "in")]
    pub operands: Vec<String>,
    pub out: Vec<String>,
    #[serde(default)]
    attrs: Value,
    /// How often it is applied, to its own result.
    #[serde(default = "once")]
    pub repeat: usize,
}

fn once() -> usize {
    1
}

/// D₁ = dL/dx, Dₖ = d/dx Σ Dₖ₋₁ · cₖ, up to an order.
#[derive(Debug, Deserialize)]
pub struct Derivatives {
    pub wrt: String,
    pub order: usize,
}

/// Training steps with one optimizer.
#[derive(Debug, Deserialize)]
pub struct Run {
    pub name: String,
    pub optimizer: String,
    pub variant: Option<String>,
    /// The steps after which parameters are compared.
    pub at: Vec<usize>,
    pub lr: f64,
    #[serde(default)]
    pub momentum: f64,
    #[serde(default)]
    pub beta1: f64,
    #[serde(default)]
    pub beta2: f64,
    #[serde(default)]
    pub eps: f64,
    #[serde(default)]
    pub weight_decay: f64,
}

/// How near a result must come.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Expected {
    /// The whole array is stored.
    Whole(Tolerance),
    /// Four sums and 64 elements of a large array are stored.
    Probe { shape: Vec<usize>, samples: Tolerance, head64: [f64; 4], head32: [f64; 4] },
}

/// `[tol64]`, or `[tol64, tol32, err32]` with the error that PyTorch's `f32` makes.
#[derive(Debug, Deserialize)]
pub struct Tolerance(Vec<f64>);

impl Tolerance {
    pub fn of(&self, dtype: Dtype) -> Result<f64> {
        let found = self.0.get(usize::from(dtype == Dtype::F32)).copied();
        found.ok_or_else(|| Trouble::File(format!("no tolerance in {dtype:?}")))
    }

    /// The error of PyTorch's `f32`.
    pub fn peer(&self) -> Option<f64> {
        self.0.get(2).copied()
    }
}

impl Node {
    /// The attributes, each of them known.
    pub fn attributes<A: DeserializeOwned>(&self) -> Result<A> {
        let given = if self.attrs.is_null() { Value::Object(Default::default()) } else { self.attrs.clone() };
        serde_json::from_value(given).map_err(|error| Trouble::Unknown(format!("{}: {error}", self.op)))
    }
}

/// The cases of a folder. One that cannot be understood comes as its name and the reason.
pub fn read(folder: &Path) -> Result<Vec<Result<Case, (String, Trouble)>>> {
    #[derive(Deserialize)]
    struct Manifest {
        cases: Vec<Value>,
    }
    let path = folder.join("manifest.json");
    let bad = |text: String| Trouble::File(format!("{}: {text}", path.display()));
    let text = std::fs::read(&path).map_err(|error| bad(error.to_string()))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let case = |(number, case): (usize, Value)| {
        let name = case["id"].as_str().map_or_else(|| format!("case {number}"), str::to_string);
        serde_json::from_value(case).map_err(|error| (name, Trouble::File(error.to_string())))
    };
    Ok(manifest.cases.into_iter().enumerate().map(case).collect())
}
