//! What outlives a run: parameters and state by name, the seed, and the count of steps.

use std::collections::{BTreeMap, HashMap};

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD, IxDyn};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::buffer;
use super::prepared::PreparedValues;
use crate::compile::{Parameter, Plan};
use crate::error::{Error, Result, nearest};
use crate::graph::{Init, ParameterKind};
use crate::shape::Shape;
use dagrad_kernels::buffer::Buffer;
use dagrad_kernels::random;
use dagrad_kernels::real::Real;

/// Parameters and optimizer state by name.
///
/// A plan finds its parameters here by name. So one store serves the plan that trains and the one that evaluates, for any
/// batch size. The first plan that runs over an empty store starts all of its parameters, unless it only looks. A plan only
/// looks if its graph is for evaluation, or if it is compiled [without
/// assignments](crate::Options::without_assignments). Later plans must find their parameters: a misspelt name is an error,
/// not a fresh start. [`prepare`](Self::prepare) adds new ones. A run that fails adds nothing.
///
/// ```
/// use dagrad::{Graph, Init, Plan, Store};
///
/// let graph = Graph::new();
/// let w = graph.param("w", [3], Init::Constant(2.0));
/// let plan = Plan::<f64>::compile(&graph, &[w.sum_all()])?;
/// let mut store = Store::new(7);
/// store.prepare(&plan)?;
/// assert_eq!(store.get("w").unwrap().sum(), 6.0);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Store<T: Real> {
    entries: Vec<Entry<T>>,
    names: HashMap<String, usize>,
    seed: u64,
    step: u64,
    pub(crate) epoch_position: EpochPosition,
    /// The run that must go on with it, if it comes from a checkpoint: what is trained on what, in words.
    pub(crate) resumed: Option<BTreeMap<String, String>>,
    /// What plans have computed from the parameters.
    pub(super) prepared: PreparedValues<T>,
}

/// How far training over a dataset has come. It lives in the store, so that a copy goes on from the same sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct EpochPosition {
    /// Whole epochs.
    pub epochs: u64,
    /// Samples of the epoch that has begun. If these are all, only its evaluation is left.
    pub samples: usize,
    /// What their order follows from: a seed, and how many samples there are.
    pub order: (u64, usize),
    /// Sums over these samples, from which the figures of the epoch follow.
    pub sums: Vec<f64>,
}

impl EpochPosition {
    /// Notes how far an epoch has come. After the first time this allocates nothing.
    pub fn move_to(&mut self, samples: usize, order: (u64, usize), sums: &[f64]) {
        (self.samples, self.order) = (samples, order);
        self.sums.clear();
        self.sums.extend(sums);
    }

    /// Notes that so many epochs are whole.
    pub fn finish(&mut self, epochs: u64) {
        self.epochs = epochs;
        self.move_to(0, (0, 0), &[]);
    }
}

#[derive(Debug)]
pub(crate) struct Entry<T: Real> {
    pub name: String,
    pub shape: Shape,
    /// What it is for, once a plan has said so.
    pub kind: Option<ParameterKind>,
    /// Whether files of weights hold it transposed.
    pub transposed: bool,
    pub data: Buffer<T>,
}

impl<T: Real> Store<T> {
    /// An empty store. All randomness of the runs over it is a function of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            names: HashMap::new(),
            seed,
            step: 0,
            epoch_position: EpochPosition::default(),
            resumed: None,
            prepared: PreparedValues::default(),
        }
    }

    /// A second store with the same parameters, state, seed and counts: to come back to, or to try something on.
    ///
    /// # Errors
    /// Memory that the machine refuses.
    #[track_caller]
    pub fn copy(&self) -> Result<Self> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let mut data = buffer(entry.data.len(), "a parameter")?;
            data.copy_from_slice(&entry.data);
            entries.push(Entry { name: entry.name.clone(), shape: entry.shape.clone(), data, ..*entry });
        }
        Ok(Self {
            entries,
            names: self.names.clone(),
            epoch_position: self.epoch_position.clone(),
            resumed: self.resumed.clone(),
            prepared: PreparedValues::default(),
            ..*self
        })
    }

    /// Adds the plan's parameters that the store does not have, with the values they start from.
    ///
    /// # Errors
    /// A parameter that the store has under another shape, or memory that the machine refuses.
    #[track_caller]
    pub fn prepare(&mut self, plan: &Plan<T>) -> Result<()> {
        let known = self.entries.len();
        for parameter in plan.parameters() {
            let outcome = self.find_or_start(parameter).map(drop);
            self.keep_if(outcome, known)?;
        }
        Ok(())
    }

    /// Forgets the state of optimizers: averages, momenta and counts of steps. The next optimizer or schedule then begins at
    /// step 0, as a new one of PyTorch's does. Without this it goes on from the state of the same names, as after a pause.
    /// Parameters, running statistics, [`step`](Self::step) and [`epochs`](Self::epochs) stay.
    ///
    /// ```
    /// use dagrad::optim::{LearningRate, Sgd};
    /// use dagrad::{Graph, Init, Store, Trainer, Workspace};
    ///
    /// let rule = Sgd::new(LearningRate::cosine(0.5, 10));
    /// let train = |store: Store<f32>| -> dagrad::Result<Store<f32>> {
    ///     let graph = Graph::new();
    ///     let loss = graph.param("w", [], Init::ZEROS) * 1.0; // its gradient is 1
    ///     let mut trainer = Trainer::with(loss, &rule, store, Workspace::new(1)?)?;
    ///     trainer.step(&[])?;
    ///     Ok(trainer.into_store())
    /// };
    /// let mut store = train(Store::new(0))?; // at the rate of step 0
    /// store.reset_optimizer();
    /// let store = train(store)?; // at the same rate again
    /// assert_eq!(store.get("w").unwrap()[[]], -1.0);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn reset_optimizer(&mut self) {
        self.prepared.expire();
        self.entries.retain(|entry| entry.kind != Some(ParameterKind::Optimizer));
        self.names = self.names().map(str::to_string).zip(0..).collect();
    }

    /// How many parameters and states there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets all but the first `known` entries if what added the others has failed.
    pub(super) fn keep_if(&mut self, outcome: Result<()>, known: usize) -> Result<()> {
        if outcome.is_err() {
            self.prepared.expire();
            self.entries.truncate(known);
            self.names.retain(|_, index| *index < known);
        }
        outcome
    }

    /// Finds the plan's parameters for a run. Unless the plan only looks, it starts what may be new: state, and all that the
    /// first plan over an empty store needs.
    #[track_caller]
    pub(crate) fn bind(&mut self, plan: &Plan<T>, found: &mut Vec<usize>) -> Result<()> {
        self.learn_kinds(plan);
        let is_empty = self.trainable().next().is_none();
        for parameter in plan.parameters() {
            let may_start = plan.may_start() && (is_empty || parameter.kind != ParameterKind::Learned);
            if !may_start && !self.names.contains_key(&*parameter.name) {
                return Err(self.missing(&parameter.name, plan));
            }
            found.push(self.find_or_start(parameter)?);
        }
        Ok(())
    }

    /// Finds the plan's parameters for a run that only reads the store.
    #[track_caller]
    pub(super) fn find(&self, plan: &Plan<T>, found: &mut Vec<usize>) -> Result<()> {
        for parameter in plan.parameters() {
            let Some(&index) = self.names.get(&*parameter.name) else {
                return Err(self.missing(&parameter.name, plan));
            };
            found.push(index);
        }
        Ok(())
    }

    /// Notes what the plan's parameters are for: [`set`](Self::set) could not know.
    fn learn_kinds(&mut self, plan: &Plan<T>) {
        for parameter in plan.parameters() {
            if let Some(&index) = self.names.get(&*parameter.name) {
                self.entries[index].kind = Some(parameter.kind);
            }
        }
    }

    /// The error for a parameter that is not here, with the nearest name among those that the plan does not know.
    #[track_caller]
    fn missing(&self, name: &str, plan: &Plan<T>) -> Error {
        let is_known = |name: &&str| plan.parameters().iter().any(|parameter| *parameter.name == **name);
        let nearest = nearest(name, self.names().filter(|name| !is_known(name)));
        let hint = "`Store::prepare` starts what is new";
        let message = format!("the store does not have it{nearest}\n  hint: {hint}");
        Error::parameter(name, message)
    }

    /// The values of a parameter.
    pub fn get(&self, name: &str) -> Option<ArrayViewD<'_, T>> {
        let entry = &self.entries[*self.names.get(name)?];
        ArrayViewD::from_shape(IxDyn(&entry.shape), &entry.data).ok()
    }

    /// The values of a parameter, to change them.
    pub fn get_mut(&mut self, name: &str) -> Option<ArrayViewMutD<'_, T>> {
        self.prepared.expire();
        let entry = &mut self.entries[*self.names.get(name)?];
        ArrayViewMutD::from_shape(IxDyn(&entry.shape), &mut entry.data).ok()
    }

    /// Sets a parameter, or adds it.
    ///
    /// # Errors
    /// A parameter that the store has under another shape, or memory that the machine refuses.
    #[track_caller]
    pub fn set(&mut self, name: &str, values: &ArrayD<T>) -> Result<()> {
        self.prepared.expire();
        let index = self.find_or_add(name, &values.shape().into())?.0;
        let target = self.entries[index].data.iter_mut();
        target.zip(values).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// The names of all parameters and state, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// The names of the parameters that are learned. What was [set](Self::set) counts as one until a plan says otherwise.
    pub fn trainable(&self) -> impl Iterator<Item = &str> {
        let is_learned = |entry: &&Entry<T>| entry.kind.is_none_or(|kind| kind == ParameterKind::Learned);
        self.entries.iter().filter(is_learned).map(|entry| entry.name.as_str())
    }

    /// What the value of this name is for; none if no plan has said so.
    ///
    /// ```
    /// use dagrad::optim::Momentum;
    /// use dagrad::graph::ParameterKind;
    /// use dagrad::{Graph, Init, Trainer};
    ///
    /// let graph = Graph::new();
    /// let loss = graph.param("w", [3], Init::ONES).powi(2).sum_all();
    /// let trainer = Trainer::new(loss, &Momentum::new(0.1))?;
    /// assert_eq!(trainer.store().kind("w"), Some(ParameterKind::Learned));
    /// assert_eq!(trainer.store().kind("w.momentum"), Some(ParameterKind::Optimizer));
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn kind(&self, name: &str) -> Option<ParameterKind> {
        self.entries[*self.names.get(name)?].kind
    }

    /// The seed of all randomness.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many training steps have run.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Sets the count of training steps: after parameters were restored by hand, or to predict with other masks of dropout.
    ///
    /// ```
    /// use dagrad::nn::{self, Model};
    /// use dagrad::Mode;
    /// use ndarray::Array4;
    ///
    /// // Dropout stays on in predictions: each is a sample (Gal and Ghahramani, *Dropout as a Bayesian Approximation*, 2016).
    /// let network = nn::network(|images| {
    ///     let _dropping = images.graph().in_mode(Mode::Train);
    ///     nn::linear(images.flatten().dropout(0.5), "fc", 10)
    /// });
    /// let mut model = Model::new(network, [1, 4, 4], 0)?;
    /// let image = Array4::ones((1, 1, 4, 4));
    /// let first = model.predict(&image)?;
    /// model.store_mut().set_step(1);
    /// assert_ne!(model.predict(&image)?, first);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn set_step(&mut self, step: u64) {
        self.step = step;
        self.prepared.expire();
    }

    /// How many epochs [`fit`](crate::train::fit) has finished over this store.
    pub fn epochs(&self) -> u64 {
        self.epoch_position.epochs
    }

    pub(super) fn advance(&mut self) {
        self.step = self.step.saturating_add(1); // a file may say anything
    }

    pub(crate) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry<T>] {
        self.prepared.expire();
        &mut self.entries
    }

    /// Adds an entry as a checkpoint holds it, and returns its numbers to be filled in; none if it is there already.
    #[track_caller]
    pub(crate) fn restore(
        &mut self,
        name: &str,
        shape: &Shape,
        kind: Option<ParameterKind>,
        transposed: bool,
    ) -> Result<Option<&mut [T]>> {
        let (index, is_new) = self.find_or_add(name, shape)?;
        let entry = &mut self.entries[index];
        (entry.kind, entry.transposed) = (kind, transposed);
        Ok(is_new.then_some(&mut entry.data))
    }

    pub(super) fn entry(&self, index: usize) -> &Entry<T> {
        &self.entries[index]
    }

    /// Where a plan's parameter is; it is started if it is new.
    #[track_caller]
    fn find_or_start(&mut self, parameter: &Parameter) -> Result<usize> {
        let (index, is_new) = self.find_or_add(&parameter.name, &parameter.ty.shape)?;
        self.entries[index].kind = Some(parameter.kind);
        self.entries[index].transposed |= parameter.transposed;
        if is_new {
            start(parameter.init, self.seed, &parameter.name, &mut self.entries[index].data);
        }
        Ok(index)
    }

    #[track_caller]
    fn find_or_add(&mut self, name: &str, shape: &Shape) -> Result<(usize, bool)> {
        if let Some(&index) = self.names.get(name) {
            let known = &self.entries[index].shape;
            if known != shape {
                let message = format!("the store has shape {known}, but {shape} is asked for");
                return Err(Error::parameter(name, message));
            }
            return Ok((index, false));
        }
        let data = buffer(shape.count(), "a parameter")?;
        self.names.insert(name.to_string(), self.entries.len());
        let (name, shape) = (name.to_string(), shape.clone());
        self.entries.push(Entry { name, shape, kind: None, transposed: false, data });
        Ok((self.entries.len() - 1, true))
    }
}

/// Writes the numbers that a parameter starts from: a function of seed and name alone.
fn start<T: Real>(init: Init, seed: u64, name: &str, data: &mut [T]) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(hash(name));
    for value in data {
        *value = T::of(match init {
            Init::Constant(value) => value,
            Init::Normal { std } => std * random::normal(&mut generator),
            Init::Uniform { limit } => limit * (2.0 * random::uniform(&mut generator) - 1.0),
        });
    }
}

/// FNV-1a: the same on every machine and in every release, which the standard library's hashes need not be.
fn hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
