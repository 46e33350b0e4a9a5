//! What can be trained: a classifier of images, or any objective with its parameters.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayD;

use super::metric::Metric;
use super::objective::{Goal, Inputs, Objective};
use crate::compile::{Options, Plan};
use crate::data::{Field, IMAGES, LABELS, Samples, Slot, reserved};
use crate::error::{Error, Result, nearest};
use crate::graph::{Graph, Mode, TensorType};
use crate::nn::{Model, Network};
use crate::run::{Feed, Store, Workspace};
use crate::weights::{Loaded, Weights};

/// What [`fit`](super::fit) trains and [`evaluate`](super::evaluate) measures.
pub trait Trainable {
    /// Records what to minimise and what to judge by.
    fn record<'g>(&self, inputs: &Inputs<'g>) -> Goal<'g>;

    /// Refuses samples that do not fit, before anything runs on them.
    ///
    /// # Errors
    /// What does not fit; `name` says which samples it is about.
    fn check(&self, name: &str, data: &dyn Samples) -> Result<()>;

    /// Parameters and state.
    fn store(&self) -> &Store<f32>;

    /// Parameters and state to change, and the memory and threads to run plans over them.
    fn parts(&mut self) -> (&mut Store<f32>, &mut Workspace);
}

/// A classifier of images: it minimises the mean softmax cross-entropy, and is judged by its accuracy. The samples have the fields
/// `images`, `[channels, height, width]`, and `labels`, a class or the probabilities of all classes.
impl<N: Network> Trainable for Model<N> {
    fn record<'g>(&self, inputs: &Inputs<'g>) -> Goal<'g> {
        let (logits, labels) = (self.logits(inputs.get(IMAGES)), inputs.get(LABELS));
        let loss = logits.softmax_cross_entropy(labels);
        Goal::new(loss).judge(Metric::accuracy(logits, labels)).output("logits", logits)
    }

    #[track_caller]
    fn check(&self, name: &str, data: &dyn Samples) -> Result<()> {
        let fields = data.fields();
        let of_name = |name| fields.iter().position(|field| field.name == name);
        let (Some(images), Some(labels)) = (of_name(IMAGES), of_name(LABELS)) else {
            let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
            let message = format!(
                "a classifier of images reads the fields \"{IMAGES}\" and \"{LABELS}\", not {names:?}"
            );
            return Err(Error::setting(name, message));
        };
        let (given, taken) = (&fields[images].ty, self.image_shape());
        if *given != TensorType::real(taken) {
            return Err(Error::setting(name, format!("images are {given}, but the model takes {taken:?}")));
        }
        let labels_type = &fields[labels].ty;
        if *labels_type == TensorType::real([self.classes()]) {
            return Ok(());
        }
        if *labels_type != TensorType::index([]) {
            let message = format!(
                "labels are {labels_type}: a class is `[]` of indices, and probabilities are [{}]",
                self.classes()
            );
            return Err(Error::setting(name, message));
        }
        let mut classes = reserved(data.len(), "the labels")?;
        classes.resize(data.len(), 0);
        for (sample, class) in classes.iter_mut().enumerate() {
            data.write(sample, labels, None, Slot::Index(std::slice::from_mut(class)))?;
        }
        self.check_labels(name, &classes)
    }

    fn store(&self) -> &Store<f32> {
        self.store()
    }

    fn parts(&mut self) -> (&mut Store<f32>, &mut Workspace) {
        self.parts()
    }
}

/// An objective of one's own together with its parameters.
#[derive(Debug)]
pub struct Learner<O> {
    objective: O,
    fields: Vec<Field>,
    store: Store<f32>,
    workspace: Workspace,
    /// For predictions: what was used last at the end.
    plans: Vec<Kept>,
}

/// A plan for the outputs of a batch, and their names.
#[derive(Debug)]
struct Kept {
    batch: usize,
    plan: Plan<f32>,
    outputs: Vec<String>,
}

/// How many plans a learner keeps.
const KEPT: usize = 8;

impl<O: Objective> Learner<O> {
    /// An objective over samples such as these, with freshly started parameters, on all cores.
    ///
    /// # Errors
    /// A misuse in the objective, with its line.
    #[track_caller]
    pub fn new(objective: O, samples: &dyn Samples, seed: u64) -> Result<Self> {
        Self::with_workspace(objective, samples, seed, Workspace::for_this_machine()?)
    }

    /// Like [`new`](Self::new), in a given workspace.
    ///
    /// # Errors
    /// A misuse in the objective, with its line.
    #[track_caller]
    pub fn with_workspace(
        objective: O,
        samples: &dyn Samples,
        seed: u64,
        workspace: Workspace,
    ) -> Result<Self> {
        let mut learner = Self {
            objective,
            fields: samples.fields(),
            store: Store::new(seed),
            workspace,
            plans: Vec::new(),
        };
        let graph = Graph::with_mode(Mode::Train);
        let _at = graph.at_caller();
        let goal = learner.objective.record(&Inputs::record(&graph, &learner.fields, 2)); // batch normalisation of rows needs two
        let lasting = graph.lasting();
        let all = [goal.loss].into_iter().chain(lasting).collect::<Vec<_>>();
        let plan = Options::new().without_assignments().compile(&graph, &all)?;
        learner.store.prepare(&plan)?;
        Ok(learner)
    }

    /// The outputs of the objective by name, in evaluation mode, for any number of samples. What the outputs do not need, such as
    /// labels, need not be given.
    ///
    /// # Errors
    /// An input that is missing, or of another shape; no input at all; an output of indices.
    #[track_caller]
    pub fn predict(&mut self, inputs: &[Feed<'_>]) -> Result<BTreeMap<String, ArrayD<f32>>> {
        let Some(batch) = inputs.iter().find_map(|feed| feed.shape().first().copied()) else {
            return Err(Error::setting("inputs", "no samples are given"));
        };
        let used = match self.plans.iter().position(|kept| kept.batch == batch) {
            Some(position) => self.plans.remove(position),
            None => self.compile(batch)?,
        };
        self.plans.push(used);
        self.plans.drain(..self.plans.len().saturating_sub(KEPT));
        let Some(used) = self.plans.last() else { unreachable!("one has just been added") };
        let outputs = used.plan.run(&mut self.store, &mut self.workspace, inputs)?;
        let mut predicted = BTreeMap::new();
        for (position, name) in used.outputs.iter().enumerate() {
            let Some(values) = outputs.at(position) else {
                return Err(Error::setting(name, "the output holds indices, not real numbers"));
            };
            predicted.insert(name.clone(), values.to_owned());
        }
        Ok(predicted)
    }

    /// Writes parameters and state to a file; see [`Weights::save`].
    ///
    /// # Errors
    /// Another ending than `.safetensors` or `.npz`; a file that cannot be written.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Weights::of(&self.store)?.save(path)
    }

    /// Takes all parameters and state from a file of weights; see [`Weights::read`] and [`Weights::load`].
    ///
    /// # Errors
    /// A file that cannot be read; names or shapes that do not fit, all of them. Nothing has changed then.
    #[track_caller]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        Weights::read(path)?.load(&mut self.store)
    }

    /// The objective.
    pub fn objective(&self) -> &O {
        &self.objective
    }

    /// The parameters.
    pub fn store(&self) -> &Store<f32> {
        &self.store
    }

    /// The parameters, to change them.
    pub fn store_mut(&mut self) -> &mut Store<f32> {
        &mut self.store
    }

    /// The parameters, and the memory and threads to run plans over them.
    pub fn parts(&mut self) -> (&mut Store<f32>, &mut Workspace) {
        (&mut self.store, &mut self.workspace)
    }

    #[track_caller]
    fn compile(&self, batch: usize) -> Result<Kept> {
        let graph = Graph::with_mode(Mode::Evaluate);
        let _at = graph.at_caller();
        let goal = self.objective.record(&Inputs::record(&graph, &self.fields, batch));
        let (names, values): (Vec<_>, Vec<_>) = goal.outputs.into_iter().unzip();
        let plan = Options::new().without_assignments().compile(&graph, &values)?;
        Ok(Kept { batch, plan, outputs: names })
    }
}

/// Samples have the fields that the learner was made for, in any order.
impl<O: Objective> Trainable for Learner<O> {
    fn record<'g>(&self, inputs: &Inputs<'g>) -> Goal<'g> {
        self.objective.record(inputs)
    }

    #[track_caller]
    fn check(&self, name: &str, data: &dyn Samples) -> Result<()> {
        let fields = data.fields();
        for field in &self.fields {
            match fields.iter().find(|own| own.name == field.name) {
                Some(own) if own.ty == field.ty => {}
                Some(own) => {
                    let (field, given, taken) = (&field.name, &own.ty, &field.ty);
                    let message =
                        format!("field \"{field}\" is {given}, but the learner was made for {taken}");
                    return Err(Error::setting(name, message));
                }
                None => {
                    let near = nearest(&field.name, fields.iter().map(|own| own.name.as_str()));
                    return Err(Error::setting(name, format!("there is no field \"{}\"{near}", field.name)));
                }
            }
        }
        Ok(())
    }

    fn store(&self) -> &Store<f32> {
        self.store()
    }

    fn parts(&mut self) -> (&mut Store<f32>, &mut Workspace) {
        self.parts()
    }
}
