//! A folder of checkpoints.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::super::fit::Epoch;
use super::super::learner::Trainable;
use super::super::observer::{Observer, TrainStep, Training};
use super::description::{another, differences, shape};
use crate::error::{Error, Result};
use crate::graph::{ParameterKind, Precision};
use crate::run::Store;
use crate::weights::checkpoint::{Notes, read, write};
use crate::weights::durable::create_folder;

/// Keeps a training in a folder, so that it goes on after whatever ends it: `kill -9`, a power cut, Ctrl-C.
///
/// It is an [`Observer`]: `fit_observed` writes a checkpoint after each epoch, and at its end. A run that is killed and resumed
/// ends with the bits of one that was not, and prints the same figures; only times differ. A checkpoint is a file
/// that appears when all of it is on the disk; older ones are deleted afterwards. One that cannot be written, to a full disk for
/// example, is a warning, and training goes on. Of weights with NaN there are none. Beside observers that change the store it comes
/// last, so that it saves what they leave.
///
/// ```
/// use dagrad::data;
/// use dagrad::nn::{Model, SimpleConvNet};
/// use dagrad::optim::Adam;
/// use dagrad::train::{Checkpoints, FitOptions, Progress, fit_observed};
/// # let folder = std::env::temp_dir().join(format!("checkpoints-{}", std::process::id()));
///
/// let digits = data::mnist_5k()?;
/// let (train, test) = (digits.train.take(200), digits.test.take(50));
/// let epochs: usize = 2;
/// let mut run = || {
///     let mut model = Model::new(SimpleConvNet::default(), train.image_shape(), 0)?;
///     let mut checkpoints = Checkpoints::new(&folder)?.keep_best(|epoch| epoch.test.accuracy());
///     if let Some(found) = checkpoints.resume(&mut model)? {
///         println!("going on at step {}", found.step);
///     }
///     let left = epochs.saturating_sub(model.store().epochs() as usize);
///     let options = FitOptions { epochs: left, progress: Progress::Quiet, ..FitOptions::default() };
///     let done = fit_observed(&mut model, &Adam::new(1e-3), &train, &test, options, &mut checkpoints)?;
///     Ok::<_, dagrad::Error>(done.len())
/// };
/// assert_eq!(run()?, 2);
/// assert_eq!(run()?, 0); // all is done, and would be after a power cut
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// Going on is refused, with all that differs, if the network, the settings of the optimizer, the data or `batch`, `drop_last`
/// or `seed` of the [options](super::super::FitOptions) are not as they were. More epochs than first asked for are no other
/// training. On another instruction set it warns: last bits may differ.
///
/// While it exists it has the folder for itself: a second one is an error.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    /// Held open: the system frees it, whatever ends the process.
    _lock: File,
    steps: u64,
    epochs: u64,
    keep: usize,
    figure: Option<fn(&Epoch) -> f64>,
    /// The largest figure so far, and the step of its checkpoint.
    best: Option<(f64, u64)>,
    run: Notes,
    /// The steps of damaged files.
    damaged: Vec<u64>,
    /// The step and the epochs of the last checkpoint.
    saved: Option<(u64, u64)>,
}

/// From where a training goes on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Resumed {
    /// The file.
    pub path: PathBuf,
    /// The training steps before it.
    pub step: u64,
    /// The epochs that are complete.
    pub epochs: u64,
    /// What was wrong with newer files, which have been passed over.
    pub passed_over: Vec<Error>,
}

/// The name of the file that is locked.
const LOCK: &str = "lock";
/// How the names of files begin and end; the step is between.
const NAME: [&str; 2] = ["step-", ".checkpoint"];
/// The note with the best figure and its step.
const BEST: &str = "best";

impl Checkpoints {
    /// A folder, made if it is not there. After each epoch there will be a checkpoint, and the three newest are kept.
    ///
    /// # Errors
    /// [`Error::Data`]: a folder that cannot be made or is read-only; one that another training uses.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let failed = |what: &str, error: io::Error| data(&folder, format!("{what}: {error}"));
        create_folder(&folder).map_err(|error| failed("the folder cannot be made", error))?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
        let lock = lock.map_err(|error| failed("no file can be written in it", error))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(data(&folder, "another training keeps its checkpoints here at this time".into()));
            }
            // Some file systems have no locks.
            Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                return Err(failed("it cannot be locked", error));
            }
            _ => {}
        }
        // A killed process leaves what it was writing.
        let is_unfinished = |name: &str| name.starts_with(&format!(".{}", NAME[0])) && name.ends_with(".tmp");
        let trial = folder.join(format!(".{}trial.tmp", NAME[0]));
        match File::create_new(trial) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(failed("no file can be made in it", error));
            }
            _ => {}
        }
        for (name, path) in names(&folder)? {
            if is_unfinished(&name) {
                fs::remove_file(path)
                    .map_err(|error| failed("an unfinished file cannot be deleted", error))?;
            }
        }
        Ok(Self {
            folder,
            _lock: lock,
            steps: 0,
            epochs: 1,
            keep: 3,
            figure: None,
            best: None,
            run: Notes::new(),
            damaged: Vec::new(),
            saved: None,
        })
    }

    /// Writes after every so many steps, too; 0 is never. What happens after the last checkpoint is computed again.
    pub fn every_steps(self, steps: u64) -> Self {
        Self { steps, ..self }
    }

    /// Writes after every so many epochs; 0 is never.
    pub fn every_epochs(self, epochs: u64) -> Self {
        Self { epochs, ..self }
    }

    /// Keeps so many of the newest checkpoints; at least one. With two or more a damaged one is no loss.
    pub fn keep(self, newest: usize) -> Self {
        Self { keep: newest.max(1), ..self }
    }

    /// Keeps the checkpoint after the epoch with the largest figure, too, such as `|epoch| epoch.test.accuracy()` or
    /// `|epoch| -epoch.test.loss`. The first of equal ones counts, and NaN is never the best.
    pub fn keep_best(self, figure: fn(&Epoch) -> f64) -> Self {
        Self { figure: Some(figure), ..self }
    }

    /// The file after the best epoch; see [`keep_best`](Self::keep_best). [`read_checkpoint`](super::super::read_checkpoint)
    /// reads it.
    pub fn best(&self) -> Option<PathBuf> {
        self.best.map(|(_, step)| self.path(step)).filter(|path| path.is_file())
    }

    /// Lets a [`Model`](crate::nn::Model) or a [`Learner`](super::super::Learner) go on from the newest checkpoint that is whole. A damaged one is passed over, with a warning on standard
    /// error. `None` if there is none: all stays as it is.
    ///
    /// The seed of the store is that of the checkpoint. Whether optimizer, data and options are as they were, `fit` finds out
    /// before the first step.
    ///
    /// # Errors
    /// [`Error::Setting`]: another network, with all parameters that differ, or another precision; all is then as it was.
    /// [`Error::Data`]: a folder that cannot be read, or in which no checkpoint is whole.
    #[track_caller]
    pub fn resume<L: Trainable>(&mut self, learner: &mut L) -> Result<Option<Resumed>> {
        let Some((mut store, run, resumed)) = self.read_newest()? else { return Ok(None) };
        let differences = differences(&network(&store), &network(learner.store()));
        if !differences.is_empty() {
            return Err(another(&differences));
        }
        store.resumed = Some(run).filter(|run| !run.is_empty());
        *learner.parts().0 = store;
        Ok(Some(resumed))
    }

    /// The newest store that is whole, for a loop of one's own; see [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`resume`](Self::resume), but for the network.
    #[track_caller]
    pub fn newest<T: Precision>(&mut self) -> Result<Option<(Store<T>, Resumed)>> {
        Ok(self.read_newest()?.map(|(store, _, resumed)| (store, resumed)))
    }

    #[track_caller]
    fn read_newest<T: Precision>(&mut self) -> Result<Option<(Store<T>, Notes, Resumed)>> {
        let mut passed_over = Vec::new();
        self.damaged.clear();
        for (step, path) in self.files()?.into_iter().rev() {
            match read(&path) {
                Ok((store, mut run)) => {
                    self.best = run.remove(BEST).and_then(|best| parse_best(&best));
                    self.saved = Some((store.step(), store.epochs()));
                    let (step, epochs) = (store.step(), store.epochs());
                    return Ok(Some((store, run, Resumed { path, step, epochs, passed_over })));
                }
                Err(error @ Error::Data { .. }) => {
                    _ = writeln!(io::stderr(), "warning: {error}; an older checkpoint is looked for");
                    self.damaged.push(step);
                    passed_over.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(first) = passed_over.first() else { return Ok(None) };
        Err(data(&self.folder, format!("none of its {} checkpoints is whole: {first}", passed_over.len())))
    }

    /// Writes a checkpoint, for a loop of one's own, and deletes what is not to be kept. Returns the file.
    ///
    /// # Errors
    /// [`Error::Data`]: a file that cannot be written; then the older ones are all there. A folder with a newer checkpoint.
    #[track_caller]
    pub fn save<T: Precision>(&mut self, store: &Store<T>) -> Result<PathBuf> {
        self.check_folder(store.step())?;
        let (path, mut notes) = (self.path(store.step()), self.run.clone());
        notes.extend(self.best.map(|(figure, step)| (BEST.to_owned(), format!("{figure:?} {step}"))));
        write(&path, store, &notes)?;
        self.saved = Some((store.step(), store.epochs()));
        self.prune(store.step())?;
        Ok(path)
    }

    /// Deletes damaged files, and all but the newest and the best.
    fn prune(&mut self, newest: u64) -> Result<()> {
        let best = self.best.map(|(_, step)| step);
        self.damaged.retain(|step| *step != newest);
        let (damaged, whole): (Vec<_>, Vec<_>) =
            self.files()?.into_iter().rev().partition(|(step, _)| self.damaged.contains(step));
        let old = whole.into_iter().skip(self.keep).filter(|(step, _)| Some(*step) != best);
        for (_, path) in damaged.into_iter().chain(old) {
            fs::remove_file(&path).map_err(|error| data(&path, format!("cannot be deleted: {error}")))?;
        }
        self.damaged.clear();
        Ok(())
    }

    /// Refuses a folder in which another training has gone further: its newest checkpoint would hide ours.
    fn check_folder(&self, step: u64) -> Result<()> {
        let newest = self.files()?.into_keys().rfind(|known| !self.damaged.contains(known));
        let Some(newest) = newest.filter(|newest| *newest > step) else { return Ok(()) };
        let hint = "`Checkpoints::resume` goes on from there; a new training needs an empty folder";
        let message =
            format!("has a checkpoint of step {newest}, but this training is at {step}\n  hint: {hint}");
        Err(data(&self.folder, message))
    }

    /// The files of the folder by their steps.
    fn files(&self) -> Result<BTreeMap<u64, PathBuf>> {
        let step = |name: &str| name.strip_prefix(NAME[0])?.strip_suffix(NAME[1])?.parse().ok();
        let files = names(&self.folder)?.into_iter();
        Ok(files.filter_map(|(name, path)| Some((step(&name)?, path))).collect())
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("{}{step:08}{}", NAME[0], NAME[1]))
    }

    /// Writes a checkpoint unless there is one of this moment, or a training that has diverged would push out what is good.
    fn save_new(&mut self, store: &Store<f32>) -> Result<()> {
        if self.saved == Some((store.step(), store.epochs())) {
            return Ok(());
        }
        let is_lost =
            |name: &&str| store.get(name).is_some_and(|values| values.iter().any(|value| value.is_nan()));
        if let Some(lost) = store.trainable().find(is_lost) {
            return Err(Error::parameter(
                lost,
                "it holds NaN, so no checkpoint is written; the older ones stay",
            ));
        }
        self.save(store).map(drop)
    }
}

impl Observer for Checkpoints {
    fn begin(&mut self, run: &BTreeMap<String, String>, training: &mut Training<'_>) -> Result<()> {
        self.run.clone_from(run);
        self.check_folder(training.store().step())
    }

    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        let is_due = self.steps > 0 && step.number.is_multiple_of(self.steps) && step.loss.is_finite();
        if is_due { self.save_new(training.store()) } else { Ok(()) }
    }

    fn epoch(&mut self, epoch: &Epoch, training: &mut Training<'_>) -> Result<()> {
        let figure = self.figure.map_or(f64::NAN, |figure| figure(epoch));
        let (store, before) = (training.store(), self.best);
        let is_best = !figure.is_nan() && before.is_none_or(|(best, _)| figure > best);
        if is_best {
            self.best = Some((figure, store.step()));
        }
        let is_due = self.epochs > 0 && store.epochs().is_multiple_of(self.epochs);
        let outcome = if is_due || is_best { self.save_new(store) } else { Ok(()) };
        if self.saved != Some((store.step(), store.epochs())) {
            self.best = before; // whose file is there
        }
        outcome
    }

    fn end(&mut self, training: &mut Training<'_>) -> Result<()> {
        self.save_new(training.store())
    }
}

fn data(path: &Path, message: String) -> Error {
    Error::Data { path: path.to_owned(), message }
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let failed = |error: io::Error| data(folder, format!("cannot be read: {error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        names.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    Ok(names)
}

/// The note about the best figure.
fn parse_best(note: &str) -> Option<(f64, u64)> {
    let (figure, step) = note.split_once(' ')?;
    Some((figure.parse().ok()?, step.parse().ok()?))
}

/// The network that a store has parameters of, in words.
fn network<T: Precision>(store: &Store<T>) -> Notes {
    let belongs = |kind| matches!(kind, Some(ParameterKind::Learned | ParameterKind::State));
    let own = store.entries().iter().filter(|entry| belongs(entry.kind));
    own.map(|entry| shape(&entry.name, &entry.shape)).collect()
}
