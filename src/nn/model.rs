//! A network with its parameters, ready to predict.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array1, Array2, Array4, ArrayD};

use super::predictor::Predictor;
use crate::autodiff::gradients;
use crate::compile::{Options, Plan};
use crate::data::{IMAGES, LABELS, stray_label};
use crate::error::{Error, Problem, Result};
use crate::graph::setting::{self, COUNT};
use crate::graph::{Dtype, Graph, Mode, Precision, TensorType, Var};
use crate::inspect::{Diagnosis, diagnose};
use crate::run::{Element, Feed, Store, Workspace};
use crate::weights::{Loaded, Weights};

/// A network: from a batch of images `[N, C, H, W]` to logits `[N, classes]`. Functions are networks;
/// closures become one through [`network`].
///
/// ```
/// use dagrad::nn::{self, Filters, Model};
/// use dagrad::Var;
///
/// fn tiny<'g>(images: Var<'g>) -> Var<'g> {
///     let h = nn::conv2d(images, "conv", Filters::new(4, 3)).relu().max_pool2d(2);
///     nn::linear(h.flatten(), "fc", 10)
/// }
/// let model = Model::new(tiny, [1, 8, 8], 0)?;
/// # Ok::<(), dagrad::Error>(())
/// ```
pub trait Network {
    /// Records the network on the graph of `images`.
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g>;
}

impl<F: for<'g> Fn(Var<'g>) -> Var<'g>> Network for F {
    fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        self(images)
    }
}

/// A closure as a network. (Only where it is passed to a function that says so, a closure takes values of every lifetime.)
///
/// ```
/// use dagrad::nn::{self, Model};
///
/// let hidden = 32;
/// let network = nn::network(move |images| {
///     let h = nn::linear(images.flatten(), "fc1", hidden).relu();
///     nn::linear(h, "fc2", 10)
/// });
/// let model = Model::new(network, [1, 8, 8], 0)?;
/// # Ok::<(), dagrad::Error>(())
/// ```
pub fn network<F: for<'g> Fn(Var<'g>) -> Var<'g>>(closure: F) -> F {
    closure
}

/// A network together with its parameters, in precision `T`.
///
/// Plans are compiled at the first use of a batch size. The eight that were used last are kept.
#[derive(Debug)]
pub struct Model<N, T: Precision = f32> {
    network: N,
    image_shape: [usize; 3],
    store: Store<T>,
    workspace: Workspace,
    /// At most [`KEPT`], that which was used last at the end.
    plans: Vec<Kept<T>>,
    classes: usize,
}

/// How many plans a model keeps.
const KEPT: usize = 8;

/// A plan, and what it was compiled for.
#[derive(Debug)]
struct Kept<T: Precision> {
    purpose: Purpose,
    batch: usize,
    plan: Plan<T>,
    /// Of a gradient plan, the parameters' names in the order of its results.
    parameters: Vec<String>,
}

/// What a plan computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Logits,
    Loss,
    Gradient,
}

impl<N: Network> Model<N> {
    /// A network in `f32` for images of shape `[channels, height, width]` with freshly started parameters, on
    /// all cores.
    ///
    /// # Errors
    /// A misuse in the network, with its line.
    #[track_caller]
    pub fn new(network: N, image_shape: [usize; 3], seed: u64) -> Result<Self> {
        Self::with_workspace(network, image_shape, seed, Workspace::for_this_machine()?)
    }
}

impl<N: Network, T: Precision + Element> Model<N, T> {
    /// Like [`new`](Model::new), in any precision and a given workspace.
    ///
    /// # Errors
    /// A misuse in the network, with its line.
    #[track_caller]
    pub fn with_workspace(
        network: N,
        image_shape: [usize; 3],
        seed: u64,
        workspace: Workspace,
    ) -> Result<Self> {
        for size in image_shape {
            setting::require("image_shape", size, COUNT)?;
        }
        let store = Store::new(seed);
        let mut model = Self { network, image_shape, store, workspace, plans: Vec::new(), classes: 0 };
        let first = model.compile(Purpose::Logits, 1)?;
        model.store.prepare(&first.plan)?;
        model.classes = first.plan.results()[0].source.ty.shape.last().copied().unwrap_or(0);
        model.plans.push(first);
        // What only training has: the weights of an auxiliary head, or what no path leads to.
        let graph = Graph::with_mode(Mode::Train);
        model.record(&graph, 2); // of a single sample, batch normalisation of rows has no variance
        let lasting = graph.lasting();
        if graph.check().is_ok() && lasting.iter().any(|own| model.store.get(&own.name()).is_none()) {
            let all = Options::new().without_assignments().compile(&graph, &lasting)?;
            model.store.prepare(&all)?;
        }
        Ok(model)
    }

    /// The logits of each image, `[N, classes]`, in evaluation mode. Softmax makes probabilities of them. Dropout drops nothing,
    /// unless it is recorded in [`Graph::in_mode`] for training (Monte Carlo dropout; [`Store::set_step`] has an example).
    ///
    /// # Errors
    /// Images of another shape.
    #[track_caller]
    pub fn predict(&mut self, images: &Array4<T>) -> Result<Array2<T>> {
        let outputs = self.run(Purpose::Logits, images, None)?;
        let logits = outputs.into_iter().next().and_then(|logits| logits.into_dimensionality().ok());
        let Some(logits) = logits else { return Err(not_logits()) };
        Ok(logits)
    }

    /// The mean softmax cross-entropy of a batch, in training mode: dropout drops what the next training step would, and
    /// nothing is changed.
    ///
    /// # Errors
    /// Images or labels that do not fit.
    #[track_caller]
    pub fn loss(&mut self, images: &Array4<T>, labels: &Array1<u32>) -> Result<T> {
        let outputs = self.run(Purpose::Loss, images, Some(labels))?;
        let Some(&loss) = outputs.first().and_then(|loss| loss.first()) else { return Err(not_logits()) };
        Ok(loss)
    }

    /// The fraction of images whose largest logit is at their label, in evaluation mode. With a NaN among its logits an image is
    /// wrong.
    ///
    /// # Errors
    /// Images or labels that do not fit, beyond the classes for example; no images.
    #[track_caller]
    pub fn accuracy(&mut self, images: &Array4<T>, labels: &Array1<u32>) -> Result<f64> {
        if labels.is_empty() || labels.len() != images.dim().0 {
            let message = format!("{} labels do not fit {} images", labels.len(), images.dim().0);
            return Err(Error::setting("accuracy", message));
        }
        self.check_labels("accuracy", labels)?;
        let logits = self.predict(images)?;
        let rows = logits.outer_iter().zip(labels);
        let correct = rows.filter(|(row, label)| argmax(row.iter()) == Some(**label as usize));
        Ok(correct.count() as f64 / labels.len() as f64)
    }

    /// The gradient of the [loss](Self::loss) in each trainable parameter, by name.
    ///
    /// # Errors
    /// Images or labels that do not fit; parameters that the loss does not reach.
    #[track_caller]
    pub fn gradient(
        &mut self,
        images: &Array4<T>,
        labels: &Array1<u32>,
    ) -> Result<BTreeMap<String, ArrayD<T>>> {
        let outputs = self.run(Purpose::Gradient, images, Some(labels))?;
        let names = self.plans.last().map_or(&[][..], |used| &used.parameters);
        Ok(names.iter().cloned().zip(outputs).collect())
    }

    /// The same by central differences of step 10⁻⁴, two evaluations of the loss for each element, under the same names. It
    /// is slow, and in `f32` rough: it is here to be compared with [`gradient`](Self::gradient).
    ///
    /// # Errors
    /// As [`gradient`](Self::gradient).
    #[track_caller]
    pub fn numerical_gradient(
        &mut self,
        images: &Array4<T>,
        labels: &Array1<u32>,
    ) -> Result<BTreeMap<String, ArrayD<T>>> {
        let mut found = self.gradient(images, labels)?; // its names and shapes
        for (name, gradient) in &mut found {
            let step = T::of(1e-4);
            for (element, derivative) in gradient.indexed_iter_mut() {
                let Some(original) = self.store.get(name).map(|values| values[&element]) else { continue };
                let set = |model: &mut Self, value: T| {
                    if let Some(mut values) = model.store.get_mut(name) {
                        values[&element] = value;
                    }
                };
                set(self, original + step);
                let above = self.loss(images, labels);
                set(self, original - step);
                let below = self.loss(images, labels);
                set(self, original);
                *derivative = (above? - below?) / (step + step);
            }
        }
        Ok(found)
    }

    /// What keeps the network from learning, seen on a batch in training mode: parameters without a path, gradients that are
    /// zero or explode, dead units; see [`diagnose`]. Nothing is changed.
    ///
    /// # Errors
    /// Images or labels that do not fit.
    #[track_caller]
    pub fn diagnose(&mut self, images: &Array4<T>, labels: &Array1<u32>) -> Result<Diagnosis> {
        let graph = Graph::with_mode(Mode::Train);
        let (.., loss) = self.record_loss(&graph, images.dim().0);
        let feeds = [Feed::new(IMAGES, images), Feed::new(LABELS, labels)];
        diagnose(loss, &mut self.store, &mut self.workspace, &feeds)
    }

    /// Writes parameters and state to a file, `.safetensors` or `.npz`; see [`Weights::save`].
    ///
    /// # Errors
    /// Another ending; a file that cannot be written.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        Weights::of(&self.store)?.save(path)
    }

    /// Takes all parameters and state from a file of weights; see [`Weights::read`] and [`Weights::load`].
    ///
    /// # Errors
    /// A file that cannot be read; names or shapes that do not fit, all of them. The model is then as it was.
    #[track_caller]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Loaded> {
        Weights::read(path)?.load(&mut self.store)
    }

    /// Answers several callers at once, in batches of these sizes, each on so many threads.
    ///
    /// # Errors
    /// No size, a size of 0, or no threads.
    #[track_caller]
    pub fn into_predictor(self, batches: &[usize], threads: usize) -> Result<Predictor<T>> {
        setting::require("the number of sizes of `batches`", batches.len(), COUNT)?;
        let mut plans = BTreeMap::new();
        for &batch in batches {
            setting::require("batches", batch, COUNT)?;
            plans.insert(batch, self.compile(Purpose::Logits, batch)?.plan);
        }
        Predictor::new(plans.into_iter().collect(), self.store, self.image_shape, self.classes, threads)
    }

    /// The parameters.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// The parameters, to change them.
    pub fn store_mut(&mut self) -> &mut Store<T> {
        &mut self.store
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The shape of an image: channels, height, width.
    pub fn image_shape(&self) -> [usize; 3] {
        self.image_shape
    }

    /// How many classes the network tells apart.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Refuses labels beyond the classes.
    #[track_caller]
    pub(crate) fn check_labels<'a>(
        &self,
        name: &str,
        labels: impl IntoIterator<Item = &'a u32>,
    ) -> Result<()> {
        let Some((sample, label)) = stray_label(labels.into_iter().copied(), self.classes) else {
            return Ok(());
        };
        let (classes, last) = (self.classes, self.classes - 1);
        let message =
            format!("sample {sample} has label {label}, but the network has {classes} classes, 0 to {last}");
        Err(Error::setting(name, message))
    }

    /// The parameters and the memory and threads to run plans over them.
    pub fn parts(&mut self) -> (&mut Store<T>, &mut Workspace) {
        (&mut self.store, &mut self.workspace)
    }

    /// Records the network for a batch on `graph`: images, and logits. A result that is not one row of logits for each image
    /// is kept as a misuse.
    #[track_caller]
    pub fn record<'g>(&self, graph: &'g Graph, batch: usize) -> (Var<'g>, Var<'g>) {
        let [channels, height, width] = self.image_shape;
        let _at = graph.at_caller();
        let images = graph.input(IMAGES, [batch, channels, height, width]);
        (images, self.logits(images))
    }

    /// Records the network on images.
    #[track_caller]
    pub(crate) fn logits<'g>(&self, images: Var<'g>) -> Var<'g> {
        let _at = images.graph().at_caller();
        let (logits, batch) = (self.network.logits(images), images.shape()[0]);
        let TensorType { shape, dtype } = logits.ty();
        if dtype == Dtype::Real && matches!(shape[..], [rows, classes] if rows == batch && classes > 0) {
            return logits;
        }
        let problem =
            Problem::new(format!("its result {shape} is not logits [batch, classes] = [{batch}, ..]"))
                .hint("a network ends with a number for each class, as `flatten` and `linear` make them");
        images.graph().refuse("network", &["result"], &[logits], problem).or_rank(2)
    }

    /// Records the network for a batch, and its mean softmax cross-entropy: images, logits and loss.
    #[track_caller]
    pub(crate) fn record_loss<'g>(&self, graph: &'g Graph, batch: usize) -> (Var<'g>, Var<'g>, Var<'g>) {
        let (images, logits) = self.record(graph, batch);
        (images, logits, logits.softmax_cross_entropy(graph.labels(LABELS, [batch])))
    }

    #[track_caller]
    fn run(
        &mut self,
        purpose: Purpose,
        images: &Array4<T>,
        labels: Option<&Array1<u32>>,
    ) -> Result<Vec<ArrayD<T>>> {
        self.plan(purpose, images.dim().0)?;
        let Some(Kept { plan, .. }) = self.plans.last() else { unreachable!("one has just been added") };
        let mut feeds = vec![Feed::new(IMAGES, images)];
        feeds.extend(labels.map(|labels| Feed::new(LABELS, labels)));
        let outputs = plan.run(&mut self.store, &mut self.workspace, &feeds)?;
        Ok((0..outputs.len()).filter_map(|i| outputs.at(i)).map(|view| view.to_owned()).collect())
    }

    /// Puts the plan for this purpose and batch last, compiled if it is new.
    #[track_caller]
    fn plan(&mut self, purpose: Purpose, batch: usize) -> Result<()> {
        let known = self.plans.iter().position(|kept| (kept.purpose, kept.batch) == (purpose, batch));
        let used = match known {
            Some(position) => self.plans.remove(position),
            None => self.compile(purpose, batch)?,
        };
        self.plans.push(used);
        self.plans.drain(..self.plans.len().saturating_sub(KEPT));
        Ok(())
    }

    #[track_caller]
    fn compile(&self, purpose: Purpose, batch: usize) -> Result<Kept<T>> {
        let mode = if purpose == Purpose::Logits { Mode::Evaluate } else { Mode::Train };
        let graph = Graph::with_mode(mode);
        let (outputs, parameters) = match purpose {
            Purpose::Logits => (vec![self.record(&graph, batch).1], vec![]),
            Purpose::Loss => (vec![self.record_loss(&graph, batch).2], vec![]),
            Purpose::Gradient => {
                let (.., loss) = self.record_loss(&graph, batch);
                let parameters = graph.parameters();
                (gradients(loss, &parameters)?, parameters)
            }
        };
        // Who asks for a loss does not want running statistics to move.
        let plan = Options::new().without_assignments().compile(&graph, &outputs)?;
        let parameters = parameters.iter().map(|parameter| parameter.name()).collect();
        Ok(Kept { purpose, batch, plan, parameters })
    }
}

/// The error about a network that makes something else.
#[track_caller]
pub(super) fn not_logits() -> Error {
    Error::setting("network", "its result is not logits [batch, classes]")
}

/// The position of the largest number, the first of several; none where there is a NaN.
pub(crate) fn argmax<'a, T: Precision>(values: impl Iterator<Item = &'a T>) -> Option<usize> {
    let mut best = None;
    for (position, &value) in values.enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((position, value));
        }
    }
    best.map(|(position, _)| position)
}
