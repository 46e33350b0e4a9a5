//! What keeps a network from learning.

use std::fmt;

use ndarray::{ArrayViewD, Axis};

use super::table::Table;
use crate::autodiff::vjp;
use crate::compile::Options;
use crate::error::{Error, Result, SourceLine};
use crate::graph::dag::NodeId;
use crate::graph::{Dtype, Graph, Precision, Var};
use crate::run::{Feed, Outputs, Store, Workspace};
use crate::shape::Shape;
use dagrad_kernels::real::Real;

/// Above this a gradient's norm is said to explode: a step of the usual learning rates would throw the parameter far
/// beyond where it started.
const EXPLODING: f64 = 1e3;

/// How parameters and units of a network do on a batch. It prints as tables, what is wrong first.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// The loss.
    pub loss: f64,
    /// All trainable parameters.
    pub parameters: Vec<ParameterHealth>,
    /// All functions of a single argument, such as relu, whose results have channels or units (axis 1).
    pub units: Vec<UnitHealth>,
}

/// How a parameter does.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterHealth {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Its norm, √Σx².
    pub norm: f64,
    /// The norm of its gradient; `None`: no path leads from the loss to it.
    pub gradient: Option<f64>,
}

/// How the units of an activation do.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitHealth {
    /// The function.
    pub operation: &'static str,
    /// What made its argument: a layer, or an operation.
    pub after: String,
    /// The user's line.
    pub site: SourceLine,
    /// How many units have one output for all samples and positions, although their inputs differ. For relu that output
    /// is 0, and such a unit learns nothing any more.
    pub dead: usize,
    /// How many units there are.
    pub of: usize,
}

/// Looks at a loss on a batch: parameters that it does not depend on, gradients that are zero, explode or are no numbers,
/// and units that are dead. Nothing is changed.
///
/// ```
/// use dagrad::inspect::diagnose;
/// use dagrad::nn;
/// use dagrad::{Graph, Init, Store, Workspace};
/// use ndarray::Array2;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [4, 3]);
/// graph.param("forgotten", [5], Init::ONES);
/// let loss = (nn::linear(x, "fc", 2) - 1e6).relu().mean_all(); // never above 0
///
/// let (mut store, mut workspace) = (Store::<f32>::new(0), Workspace::new(1)?);
/// let xs = Array2::from_shape_fn((4, 3), |(i, j)| (i * j) as f32);
/// let diagnosis = diagnose(loss, &mut store, &mut workspace, &[x.feed(&xs)])?;
/// println!("{diagnosis}");
/// assert_eq!(diagnosis.units[0].dead, 2);
/// assert!(diagnosis.findings().iter().any(|finding| finding.contains("forgotten")));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// A loss that is not a single number; a misuse in the network; an input that does not fit.
#[track_caller]
pub fn diagnose<T: Precision>(
    loss: Var<'_>,
    store: &mut Store<T>,
    workspace: &mut Workspace,
    feeds: &[Feed<'_>],
) -> Result<Diagnosis> {
    loss.graph().check()?;
    if loss.shape().count() != 1 || loss.ty().dtype != Dtype::Real {
        return Err(Error::setting("loss", format!("{} is not a single real number", loss.ty())));
    }
    let graph = loss.graph().copy();
    let loss = graph.var(loss.id());
    let units = activations(&graph, loss);
    let parameters = graph.parameters();
    let gradients = vjp(&[(loss, graph.fill(loss.shape(), 1.0))], &parameters)?;
    let reached = gradients.iter().flatten().copied();
    let watched = units.iter().flatten().copied();
    // The parameters too, so that those without a path are in the store.
    let all = parameters.iter().copied();
    let outputs: Vec<Var<'_>> = [loss].into_iter().chain(reached).chain(watched).chain(all).collect();
    let plan = Options::new().without_assignments().compile::<T>(&graph, &outputs)?;
    let mut store = store.copy()?; // looking starts nothing either
    store.prepare(&plan)?;
    let found = plan.run(&mut store, workspace, feeds)?;
    let parameters = parameters.iter().zip(gradients).map(|(parameter, gradient)| ParameterHealth {
        name: parameter.name(),
        shape: parameter.shape(),
        norm: store.get(&parameter.name()).map_or(f64::NAN, norm),
        gradient: gradient.and_then(|gradient| found.get(gradient)).map(norm),
    });
    Ok(Diagnosis {
        loss: found.scalar(0).map_or(f64::NAN, Real::into_f64),
        parameters: parameters.collect(),
        units: units.iter().filter_map(|unit| UnitHealth::of(&found, unit)).collect(),
    })
}

/// The functions of one argument that the loss is computed from, with units along axis 1: their arguments and results.
fn activations<'g>(graph: &'g Graph, loss: Var<'g>) -> Vec<[Var<'g>; 2]> {
    let dag = graph.dag();
    let is_activation = |id: &NodeId| {
        let node = dag.node(*id);
        let is_function = dag.op(*id).is_some_and(|op| op.elementwise().is_some());
        is_function && dag.operands(*id).len() == 1 && node.ty.shape.len() > 1 && node.gradient_of.is_none()
    };
    let found = dag.ids().take_while(|id| *id <= loss.id()).filter(is_activation);
    found.map(|id| [dag.operand(id, 0), id].map(|id| graph.var(id))).collect()
}

/// √Σx².
fn norm<T: Precision>(values: ArrayViewD<'_, T>) -> f64 {
    values.iter().map(|value| value.into_f64().powi(2)).sum::<f64>().sqrt()
}

impl UnitHealth {
    /// Of an activation's argument and result.
    fn of<T: Precision>(found: &Outputs<'_, T>, &[argument, result]: &[Var<'_>; 2]) -> Option<Self> {
        let (given, made) = (found.get(argument)?, found.get(result)?);
        let dag = result.graph().dag();
        let before = dag.node(argument.id());
        let varies = |values: ArrayViewD<'_, T>| values.iter().any(|value| Some(value) != values.first());
        let pairs = given.axis_iter(Axis(1)).zip(made.axis_iter(Axis(1)));
        let dead = pairs.filter(|(given, made)| varies(given.view()) && !varies(made.view())).count();
        let after = before.layer.as_deref().map_or_else(|| before.made_by(), str::to_string);
        let operation = dag.op(result.id()).map_or("", |op| op.name());
        Some(Self { operation, after, site: dag.node(result.id()).site, dead, of: made.len_of(Axis(1)) })
    }

    fn finding(&self) -> Option<String> {
        let Self { operation, after, site, dead, of } = self;
        let text =
            format!("{dead} of {of} units of {operation} after {after} are dead on this batch ({site})");
        (*dead > 0).then_some(text)
    }
}

impl Diagnosis {
    /// What is wrong, a sentence for each finding.
    pub fn findings(&self) -> Vec<String> {
        let loss = (!self.loss.is_finite()).then(|| format!("the loss is {}", self.loss));
        let parameters = self.parameters.iter().filter_map(ParameterHealth::finding);
        let units = self.units.iter().filter_map(UnitHealth::finding);
        loss.into_iter().chain(parameters).chain(units).collect()
    }
}

impl ParameterHealth {
    fn finding(&self) -> Option<String> {
        let Self { name, norm, gradient, .. } = self;
        Some(match *gradient {
            _ if !norm.is_finite() => format!("parameter {name} holds values that are no numbers"),
            None => format!("the loss does not depend on parameter {name}: it will never learn"),
            Some(0.0) => format!("the gradient of {name} is zero: it learns nothing from this batch"),
            Some(found) if !found.is_finite() => format!("the gradient of {name} is no number"),
            Some(found) if found > EXPLODING => {
                format!("the gradient of {name} explodes: its norm is {found:.3e}")
            }
            Some(_) => return None,
        })
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.findings()[..] {
            [] => writeln!(f, "nothing is wrong; loss {:.4}\n", self.loss)?,
            findings => writeln!(f, "! {}\n", findings.join("\n! "))?,
        }
        let mut table = Table::new(2, ["parameter", "shape", "norm", "gradient's norm", "ratio"]);
        for ParameterHealth { name, shape, norm, gradient } in &self.parameters {
            let small = |value: f64| format!("{value:.3e}");
            let ratio =
                gradient.filter(|_| *norm > 0.0).map_or(String::new(), |gradient| small(gradient / norm));
            let gradient = gradient.map_or("no path".to_string(), small);
            table.row([name.clone(), shape.to_string(), small(*norm), gradient, ratio]);
        }
        write!(f, "{table}")
    }
}
