//! Weights in files: parameters and running statistics, with the names and layouts of PyTorch.
//!
//! | file | written by | read |
//! |---|---|---|
//! | `.safetensors` | [`Weights::save`], `safetensors.torch.save_file` | always |
//! | `.npz` | [`Weights::save`], `numpy.savez`, `numpy.savez_compressed` | always |
//! | `.pt`, `.pth` | `torch.save` of a state dict | with the feature `pytorch` |
//!
//! What a file claims is never trusted: a damaged or hostile one is an error, and takes no more memory than the file itself and
//! the arrays that are asked for.

pub(crate) mod checkpoint;
pub(crate) mod durable;
mod file;
mod npz;
mod number;
#[cfg(feature = "pytorch")]
mod pytorch;
mod report;
mod safetensors;
mod tensor;
mod zip;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

pub use number::NumberType;
pub use report::{Loaded, Misshapen, Unmatched};

use crate::error::{Error, Result, SourceLine, nearest};
use crate::graph::ParameterKind;
use crate::run::{Entry, Store};
use dagrad_kernels::real::Real;
use tensor::Tensor;

/// Arrays by name, as a file holds them: PyTorch's state dict.
///
/// Names and layouts are those of PyTorch. So a network whose layers carry the names of a PyTorch module takes over its
/// weights, and the other way round: `load_state_dict(strict=True)` accepts what is written here. What a layer keeps in another
/// layout is rearranged on the way ([`Var::transposed_in_files`](crate::Var::transposed_in_files)); never by its shape.
/// What belongs to an optimizer is left out.
///
/// ```
/// use dagrad::nn::{self, BatchNorm, Model};
/// use dagrad::weights::Weights;
/// # let path = std::env::temp_dir().join(format!("weights-{}.safetensors", std::process::id()));
///
/// let network = nn::network(|images| {
///     let h = nn::batch_norm(images.flatten(), "bn", BatchNorm::default());
///     nn::linear(h, "fc", 10)
/// });
/// let trained = Model::new(network, [1, 4, 4], 0)?;
/// Weights::of(trained.store())?.save(&path)?;
///
/// let weights = Weights::read(&path)?;
/// assert_eq!(weights.shape("fc.weight"), Some(&[10, 16][..]));
/// let mut other = Model::new(network, [1, 4, 4], 1)?;
/// weights.load(other.store_mut())?;
/// assert_eq!(other.store().get("fc.weight"), trained.store().get("fc.weight"));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
    /// Names that stand for another one's array, as `safetensors.torch.save_model` notes them.
    aliases: BTreeMap<String, String>,
    /// What it was read from, in words.
    source: String,
}

/// How the names of a batch normalisation's running statistics end, and that of the count that PyTorch has beside them.
const MEAN: &str = ".running_mean";
const VARIANCE: &str = ".running_var";
const BATCHES: &str = ".num_batches_tracked";

impl Weights {
    /// The parameters and state of a store. What no plan has used yet, such as values that were [set](Store::set), is taken
    /// as it is. Beside the running statistics of each batch normalisation stands `num_batches_tracked`, the store's count of
    /// steps, for which PyTorch asks.
    ///
    /// # Errors
    /// Memory that the machine refuses.
    pub fn of<T: Real>(store: &Store<T>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for entry in store.entries().iter().filter(|entry| is_weight(entry.kind)) {
            let position_in_store = transposition(entry);
            let bytes = NumberType::write(
                (0..entry.data.len()).map(|position| entry.data[position_in_store(position)]),
            )?;
            tensors.insert(entry.name.clone(), whole(NumberType::of::<T>(), file_shape(entry), bytes));
            let is_state = entry.kind == Some(ParameterKind::State);
            let layer = entry.name.strip_suffix(MEAN).filter(|_| is_state);
            if let Some(layer) = layer.filter(|layer| store.get(&format!("{layer}{VARIANCE}")).is_some()) {
                let count = (store.step() as i64).to_le_bytes().to_vec();
                tensors.insert(format!("{layer}{BATCHES}"), whole(NumberType::I64, vec![], count));
            }
        }
        Ok(Self { tensors, aliases: BTreeMap::new(), source: "the weights".to_owned() })
    }

    /// Reads a file in any of the [formats](self). Which one it is, its content says, not its name.
    ///
    /// # Errors
    /// [`Error::Data`]: a file that cannot be read, is damaged, or is something else, and then what it looks like; an array of a
    /// type that is no number here, such as `F8_E4M3` or a Python object, by its name.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(file::bytes(path)?, path)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::parse(bytes, Path::new("the file in memory"))
    }

    fn parse(bytes: Vec<u8>, path: &Path) -> Result<Self> {
        let contents = file::contents(bytes, path);
        let (tensors, aliases) =
            contents.map_err(|message| Error::Data { path: path.to_owned(), message })?;
        Ok(Self { tensors, aliases, source: format!("the weights of {}", path.display()) })
    }

    /// Writes a file, in the format that its name ends in: `.safetensors` or `.npz`. (NumPy has no `BF16`; such an array is
    /// written to an `.npz` as `F32`.) The file appears when all of it is on the disk; whatever happens before leaves an
    /// earlier one as it was.
    ///
    /// # Errors
    /// [`Error::Setting`]: another ending, or a name that the format does not know. [`Error::Data`]: a file that cannot be
    /// written, or an array that turns out to be damaged where it was read.
    #[track_caller]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => safetensors::write,
            Some("npz") => npz::write,
            _ => {
                let message = format!("{} ends neither in .safetensors nor in .npz", path.display());
                return Err(Error::setting("path", message));
            }
        };
        if let Some(name) = self.names().find(|name| !(safetensors::can_name(name) && npz::can_name(name))) {
            return Err(Error::setting(
                "path",
                format!("no array in {} can be called {name:?}", path.display()),
            ));
        }
        durable::write(path, |out| write(&self.tensors, out))
    }

    /// The names, in the order of their letters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of an array in a file: of a linear layer's weight `[outputs, inputs]`.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// The number type of an array.
    pub fn number_type(&self, name: &str) -> Option<NumberType> {
        self.tensors.get(name).map(|tensor| tensor.number_type)
    }

    /// An array, as a file holds it, in precision `T`.
    ///
    /// # Errors
    /// [`Error::Parameter`]: a name that is not there, with the nearest one; an array that turns out to be damaged; memory that
    /// the machine refuses.
    #[track_caller]
    pub fn get<T: Real>(&self, name: &str) -> Result<ArrayD<T>> {
        let Some(tensor) = self.tensors.get(name) else {
            let message = format!("{} lack it{}", self.source, nearest(name, self.names()));
            return Err(Error::parameter(name, message));
        };
        let bytes = tensor.bytes().map_err(|problem| Error::parameter(name, problem))?;
        let (count, mut values) = (bytes.len() / tensor.number_type.size(), Vec::new());
        let refused = Error::memory(count.saturating_mul(size_of::<T>()), "weights");
        values.try_reserve_exact(count).map_err(|_| refused)?;
        values.resize(count, T::zero());
        tensor.number_type.read(&bytes, &mut values, |position| position);
        ArrayD::from_shape_vec(IxDyn(&tensor.shape), values)
            .map_err(|_| Error::parameter(name, format!("no array has the shape {:?}", tensor.shape)))
    }

    /// The little-endian numbers of an array that is there.
    pub(crate) fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, String> {
        self.tensors.get(name).map_or_else(|| Ok(Cow::default()), Tensor::bytes)
    }

    /// Lets the names that begin with `from` begin with `to`: `rename("features.0.", "conv1.")`. With an empty `from`, all
    /// do; a whole name is its own beginning.
    ///
    /// # Errors
    /// [`Error::Parameter`]: no name begins so, and the nearest one; two names become one.
    #[track_caller]
    pub fn rename(self, from: &str, to: &str) -> Result<Self> {
        if !self.names().any(|name| name.starts_with(from)) {
            let message = format!("no name of {} begins so{}", self.source, nearest(from, self.names()));
            return Err(Error::parameter(from, message));
        }
        self.renamed(|name| {
            Some(name.strip_prefix(from).map_or_else(|| name.to_owned(), |rest| format!("{to}{rest}")))
        })
    }

    /// Takes away what names begin with, such as `module.` of `DataParallel` or `_orig_mod.` of `torch.compile`. Names that
    /// begin otherwise stay as they are.
    ///
    /// # Errors
    /// [`Error::Parameter`]: two names become one.
    #[track_caller]
    pub fn strip_prefix(self, prefix: &str) -> Result<Self> {
        self.renamed(|name| Some(name.strip_prefix(prefix).unwrap_or(name).to_owned()))
    }

    /// Those whose names begin with `prefix`, without it: `under("state_dict.")` of a file that holds an optimizer, too.
    ///
    /// # Errors
    /// [`Error::Parameter`]: no name begins so, and the nearest one.
    #[track_caller]
    pub fn under(self, prefix: &str) -> Result<Self> {
        if !self.names().any(|name| name.starts_with(prefix)) {
            return self.rename(prefix, "");
        }
        self.renamed(|name| name.strip_prefix(prefix).map(str::to_owned))
    }

    /// Gives each array the name that follows from its own, or leaves it out.
    #[track_caller]
    fn renamed(self, rule: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let Some(new) = rule(&name) else { continue };
            if tensors.contains_key(&new) {
                return Err(Error::parameter(&name, format!("two arrays would be called {new:?}")));
            }
            tensors.insert(new, tensor);
        }
        let alias = |(alias, name): (String, String)| Some((rule(&alias)?, rule(&name)?));
        Ok(Self {
            tensors,
            aliases: self.aliases.into_iter().filter_map(alias).collect(),
            source: self.source,
        })
    }

    /// Lets a store take all of it: every parameter and all state that is not an optimizer's, and nothing else. The numbers are
    /// rounded to the store's precision. A NaN or an infinity is loaded, too, and is in the report: a network may have been
    /// saved when it had diverged.
    ///
    /// A store knows its names once it has been [prepared](Store::prepare) with a plan, as that of a
    /// [`Model`](crate::nn::Model) or a [`Trainer`](crate::Trainer) is. PyTorch's `num_batches_tracked` is passed over.
    ///
    /// # Errors
    /// [`Error::Weights`], which lists every name that is missing, not in the store, or of another shape; an array that turns
    /// out to be damaged. The store is then as it was.
    #[track_caller]
    pub fn load<T: Real>(&self, store: &mut Store<T>) -> Result<Loaded> {
        let (report, matches) = self.compare(store);
        if !report.fits() {
            return Err(report.error(&self.source, SourceLine::caller()));
        }
        self.fill(store, report, matches)
    }

    /// Lets a store take what fits, and says what did not.
    ///
    /// ```
    /// use dagrad::nn::{self, Model};
    /// use dagrad::weights::Weights;
    ///
    /// let network = |classes| {
    ///     nn::network(move |images| nn::linear(nn::linear(images.flatten(), "body", 8).relu(), "head", classes))
    /// };
    /// let ten = Model::new(network(10), [1, 4, 4], 0)?;
    /// let mut three = Model::new(network(3), [1, 4, 4], 1)?;
    /// let report = Weights::of(ten.store())?.load_lenient(three.store_mut())?;
    /// assert_eq!(report.loaded, ["body.weight", "body.bias"]);
    /// assert_eq!(report.misshapen[0].name, "head.weight");
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// An array that turns out to be damaged. The store is then as it was.
    #[track_caller]
    pub fn load_lenient<T: Real>(&self, store: &mut Store<T>) -> Result<Loaded> {
        let (report, matches) = self.compare(store);
        self.fill(store, report, matches)
    }

    /// What fits a store, and the indices of its entries with their arrays.
    fn compare<T: Real>(&self, store: &Store<T>) -> (Loaded, Vec<(usize, &Tensor)>) {
        let (mut report, mut matches, mut known) = (Loaded::default(), Vec::new(), BTreeSet::new());
        for (index, entry) in store.entries().iter().enumerate().filter(|(_, entry)| is_weight(entry.kind)) {
            let (name, expected) = (entry.name.clone(), file_shape(entry));
            let own = if self.tensors.contains_key(&name) { Some(&name) } else { self.aliases.get(&name) };
            let Some((own, tensor)) = own.and_then(|own| self.tensors.get_key_value(own)) else {
                report.missing.push(Unmatched { name, shape: expected });
                continue;
            };
            known.insert(own);
            if tensor.shape == expected {
                report.loaded.push(name);
                matches.push((index, tensor));
            } else {
                report.misshapen.push(Misshapen { name, found: tensor.shape.clone(), expected });
            }
        }
        let is_count = |name: &str| {
            name.strip_suffix(BATCHES).is_some_and(|layer| store.get(&format!("{layer}{MEAN}")).is_some())
        };
        let others = self.tensors.iter().filter(|(name, _)| !known.contains(name) && !is_count(name));
        report.extra = others
            .map(|(name, tensor)| Unmatched { name: name.clone(), shape: tensor.shape.clone() })
            .collect();
        (report, matches)
    }

    /// Writes arrays to entries of a store, all or none.
    #[track_caller]
    fn fill<T: Real>(
        &self,
        store: &mut Store<T>,
        mut report: Loaded,
        matches: Vec<(usize, &Tensor)>,
    ) -> Result<Loaded> {
        let site = SourceLine::caller();
        let mut all = Vec::with_capacity(matches.len());
        for (name, (_, tensor)) in report.loaded.iter().zip(&matches) {
            let damaged = |problem| format!("{}: {name:?}: {problem}", self.source);
            all.push(tensor.bytes().map_err(|problem| Error::Weights { message: damaged(problem), site })?);
        }
        for ((index, tensor), bytes) in matches.iter().zip(all) {
            let entry = &mut store.entries_mut()[*index];
            let position_in_store = transposition(entry);
            if !tensor.number_type.read(&bytes, &mut entry.data, position_in_store) {
                report.not_finite.push(entry.name.clone());
            }
        }
        Ok(report)
    }
}

/// An array with bytes of its own.
fn whole(number_type: NumberType, shape: Vec<usize>, bytes: Vec<u8>) -> Tensor {
    let length = bytes.len();
    Tensor::part_of(Arc::new(bytes), 0..length, number_type, shape)
}

/// Whether what is for this purpose belongs to the network. Nobody has said what values are for that were only set.
fn is_weight(kind: Option<ParameterKind>) -> bool {
    kind != Some(ParameterKind::Optimizer)
}

/// The shape of an entry of a store in a file.
fn file_shape<T: Real>(entry: &Entry<T>) -> Vec<usize> {
    let mut shape = entry.shape.to_vec();
    if entry.transposed {
        shape.reverse();
    }
    shape
}

/// Where what is at a position of the file's array is in an entry of a store.
fn transposition<T: Real>(entry: &Entry<T>) -> impl Fn(usize) -> usize + use<T> {
    let [columns, rows] = [1, 0].map(|axis| entry.shape.get(axis).copied().unwrap_or(1));
    let transposed = entry.transposed;
    move |position| if transposed { position % rows * columns + position / rows } else { position }
}
