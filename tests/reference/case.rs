//! One case on a graph of the engine: its nodes, and the derivatives that it asks for.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dagrad::{Feed, Graph, Init, Options, Precision, Real, Store, Var, Workspace, vjp};

use super::manifest::{Case, Dtype, Kind, Node};
use super::tensors::{Tensor, Tensors};
use super::{Result, Trouble, Values, operations, training};

/// A way to run a case.
pub struct Mode {
    pub name: &'static str,
    pub options: Options,
    pub threads: usize,
}

/// Everything compiled with all passes, and the graph as it was written down.
pub fn modes() -> [Mode; 2] {
    let optimised = Mode { name: "all passes", options: Options::new(), threads: 2 };
    [optimised, Mode { name: "no passes", options: Options::plain(), threads: 1 }]
}

/// What the engine makes of a case. A panic on the way is caught.
pub fn run(case: &Case, tensors: &Tensors, mode: &Mode, dtype: Dtype) -> Result<Values> {
    let compute = || match dtype {
        Dtype::F64 => compute::<f64>(case, tensors, mode),
        Dtype::F32 => compute::<f32>(case, tensors, mode),
    };
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref().copied()).unwrap_or("without a message");
        Err(Trouble::Panicked(text.to_string()))
    })
}

fn compute<T: Precision>(case: &Case, tensors: &Tensors, mode: &Mode) -> Result<Values> {
    let graph = Graph::new();
    let mut sheet = Sheet::record(&graph, case, tensors)?;
    let mut store = training::parameters::<T>(case, tensors)?;
    if case.kind == Kind::Error {
        sheet.want_outputs()?;
        return sheet.run(mode, &mut store);
    }
    sheet.want_derivatives()?;
    let mut values = sheet.run(mode, &mut store)?;
    for run in &case.runs {
        values.extend(training::train::<T>(case, tensors, run, mode)?);
    }
    Ok(values)
}

/// A case's graph as it grows: its values by name, what is fed to it, and the results that are wanted.
pub struct Sheet<'g, 'a> {
    graph: &'g Graph,
    case: &'a Case,
    tensors: &'a Tensors,
    values: HashMap<&'a str, Var<'g>>,
    feeds: Vec<(String, &'a Tensor)>,
    wanted: Vec<(String, Var<'g>)>,
}

impl<'g, 'a> Sheet<'g, 'a> {
    /// Records the inputs (those that are trained as parameters) and the nodes.
    pub fn record(graph: &'g Graph, case: &'a Case, tensors: &'a Tensors) -> Result<Self> {
        let (values, feeds, wanted) = (HashMap::new(), Vec::new(), Vec::new());
        let mut sheet = Self { graph, case, tensors, values, feeds, wanted };
        for input in &case.inputs {
            let value = if case.params.contains(&input.name) {
                let shape = tensors.get(&case.id, &format!("in.{}", input.name))?.shape();
                graph.param(&input.name, shape, Init::ZEROS)
            } else {
                sheet.feed(format!("in.{}", input.name))?
            };
            sheet.values.insert(&input.name, value);
        }
        case.nodes.iter().try_for_each(|node| sheet.node(node))?;
        Ok(sheet)
    }

    /// An input of the graph that is given the array stored under this key.
    fn feed(&mut self, key: String) -> Result<Var<'g>> {
        let tensor = self.tensors.get(&self.case.id, &key)?;
        let input = match tensor {
            Tensor::Real(array) => self.graph.input(&key, array.shape()),
            Tensor::Index(array) => self.graph.labels(&key, array.shape()),
        };
        self.feeds.push((key, tensor));
        Ok(input)
    }

    fn node(&mut self, node: &'a Node) -> Result<()> {
        let mut operands = node.operands.iter().map(|name| self.value(name)).collect::<Result<Vec<_>>>()?;
        let mut results = Vec::new();
        for _ in 0..node.repeat {
            results = operations::apply(self.graph, node, &operands)?;
            if let (Some(first), Some(result)) = (operands.first_mut(), results.first()) {
                *first = *result;
            }
        }
        if results.len() != node.out.len() {
            return Err(Trouble::File(format!("{} makes {} results", node.op, results.len())));
        }
        self.values.extend(node.out.iter().map(String::as_str).zip(results));
        Ok(())
    }

    pub fn value(&self, name: &str) -> Result<Var<'g>> {
        self.values.get(name).copied().ok_or_else(|| Trouble::File(format!("no value is called {name}")))
    }

    fn want(&mut self, key: String, value: Var<'g>) {
        self.wanted.push((key, value));
    }

    fn want_outputs(&mut self) -> Result<()> {
        for name in &self.case.outputs {
            self.want(format!("out.{name}"), self.value(name)?);
        }
        Ok(())
    }

    /// All that the case expects but for training.
    fn want_derivatives(&mut self) -> Result<()> {
        self.want_outputs()?;
        if self.case.kind == Kind::Net {
            return self.want_derivatives_of_net();
        }
        // L = Σ ⟨y, up.y⟩ over the outputs that have an upstream gradient.
        let (mut loss, mut upstreams) = (Vec::new(), Vec::new());
        for name in &self.case.outputs {
            let key = format!("up.{name}");
            if self.tensors.find(&self.case.id, &key).is_some() {
                let upstream = self.feed(key.clone())?;
                loss.push((self.value(name)?, upstream));
                upstreams.push((key, upstream));
            }
        }
        let inputs: Vec<&str> =
            self.case.inputs.iter().filter(|input| input.diff).map(|input| input.name.as_str()).collect();
        let xs = inputs.iter().map(|name| self.value(name)).collect::<Result<Vec<_>>>()?;
        let gradients = self.want_gradients("grad.", &loss, &inputs, &xs)?;
        if self.case.second {
            let sum = self.weighted_sum(&inputs, &gradients)?;
            let (keys, extra): (Vec<_>, Vec<_>) =
                upstreams.iter().map(|(key, var)| (key.as_str(), *var)).unzip();
            self.want_gradients(
                "second.",
                &[sum],
                &[&inputs[..], &keys].concat(),
                &[&xs[..], &extra].concat(),
            )?;
        }
        if let Some(derivs) = &self.case.derivs {
            let x = self.value(&derivs.wrt)?;
            let mut derivative = self.gradients(&loss, &[x])?[0];
            self.want("deriv.1".into(), derivative);
            for order in 2..=derivs.order {
                let weight = self.feed(format!("v.c{order}"))?;
                derivative = self.gradients(&[(derivative, weight)], &[x])?[0];
                self.want(format!("deriv.{order}"), derivative);
            }
        }
        if let Some(penalised) = &self.case.penalty {
            let gradient = self.gradients(&loss, &[self.value(penalised)?])?[0];
            let penalty = gradient.powi(2).sum_all() * 0.5;
            let total = loss.iter().fold(penalty, |sum, &(y, upstream)| sum + (y * upstream).sum_all());
            self.want("penalty.total".into(), total);
            self.want_gradients("penalty.grad.", &[self.once(total)], &inputs, &xs)?;
        }
        Ok(())
    }

    /// The gradients of a network's loss in its parameters, and their product with the matrix of second derivatives.
    fn want_derivatives_of_net(&mut self) -> Result<()> {
        let names: Vec<&str> = self.case.params.iter().map(String::as_str).collect();
        let parameters = names.iter().map(|name| self.value(name)).collect::<Result<Vec<_>>>()?;
        let loss = self.once(self.value("loss")?);
        let gradients = self.want_gradients("grad.", &[loss], &names, &parameters)?;
        if self.case.hvp {
            let sum = self.weighted_sum(&names, &gradients)?;
            self.want_gradients("hvp.", &[sum], &names, &parameters)?;
        }
        Ok(())
    }

    /// The sum Σ ⟨gradient, v⟩ over all names, as what is differentiated next.
    fn weighted_sum(&mut self, names: &[&str], gradients: &[Var<'g>]) -> Result<(Var<'g>, Var<'g>)> {
        let mut sum = self.graph.fill([], 0.0);
        for (name, &gradient) in names.iter().zip(gradients) {
            sum = sum + (gradient * self.feed(format!("v.{name}"))?).sum_all();
        }
        Ok(self.once(sum))
    }

    fn once(&self, number: Var<'g>) -> (Var<'g>, Var<'g>) {
        (number, self.graph.fill(number.shape(), 1.0))
    }

    fn want_gradients(
        &mut self,
        prefix: &str,
        outputs: &[(Var<'g>, Var<'g>)],
        names: &[&str],
        xs: &[Var<'g>],
    ) -> Result<Vec<Var<'g>>> {
        let gradients = self.gradients(outputs, xs)?;
        for (name, gradient) in names.iter().zip(&gradients) {
            self.want(format!("{prefix}{name}"), *gradient);
        }
        Ok(gradients)
    }

    /// The gradients as values. One that does not exist, because nothing depends on its input, is zero.
    fn gradients(&self, outputs: &[(Var<'g>, Var<'g>)], xs: &[Var<'g>]) -> Result<Vec<Var<'g>>> {
        let found = vjp(outputs, xs)?;
        let zero = |x: &Var<'g>| self.graph.fill(x.shape(), 0.0);
        Ok(xs.iter().zip(found).map(|(x, gradient)| gradient.unwrap_or_else(|| zero(x))).collect())
    }

    /// The inputs' values.
    pub fn feeds(&self) -> Vec<Feed<'_>> {
        self.feeds.iter().map(|(key, tensor)| Feed::new(key, tensor.value())).collect()
    }

    /// The values of all that is wanted.
    fn run<T: Precision>(&self, mode: &Mode, store: &mut Store<T>) -> Result<Values> {
        let vars: Vec<Var<'g>> = self.wanted.iter().map(|(_, var)| *var).collect();
        let plan = mode.options.compile::<T>(self.graph, &vars)?;
        let mut workspace = Workspace::new(mode.threads)?;
        let outputs = plan.run(store, &mut workspace, &self.feeds())?;
        let value = |(position, (key, _)): (usize, &(String, Var<'g>))| {
            let view =
                outputs.at(position).ok_or_else(|| Trouble::File(format!("{key} holds no numbers")))?;
            Ok((key.clone(), view.mapv(Real::into_f64)))
        };
        self.wanted.iter().enumerate().map(value).collect()
    }
}
