//! One training step after another.

use crate::compile::Plan;
use crate::error::{Error, Result};
use crate::graph::{Precision, Var};
use crate::inspect::Profile;
use crate::optim::{LearningRate, Optimizer, minimize};
use crate::run::{Feed, Store, Workspace};

/// A loss, the parameters that it moves, and the plan that moves them.
///
/// ```
/// use dagrad::optim::Sgd;
/// use dagrad::{Graph, Init, Trainer};
/// use ndarray::array;
///
/// let graph = Graph::new();
/// let x = graph.input("x", [4, 1]);
/// let y = graph.input("y", [4, 1]);
/// let w = graph.param("w", [1, 1], Init::ZEROS);
/// let loss = (x.matmul(w) - y).powi(2).mean_all();
///
/// let mut trainer = Trainer::new(loss, &Sgd::new(0.1))?;
/// let (xs, ys) = (array![[-1.0], [0.0], [1.0], [2.0]], array![[-3.0], [0.0], [3.0], [6.0]]);
/// for _ in 0..100 {
///     trainer.step(&[x.feed(&xs), y.feed(&ys)])?;
/// }
/// assert!((trainer.store().get("w").unwrap()[[0, 0]] - 3.0).abs() < 1e-3);
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer<T: Precision = f32> {
    plan: Plan<T>,
    store: Store<T>,
    workspace: Workspace,
}

impl Trainer {
    /// A trainer in `f32` on all cores, with parameters started from seed 0. Every misuse recorded on the
    /// loss's graph surfaces here, with its line.
    ///
    /// # Errors
    /// That misuse; parameters that the loss does not reach.
    #[track_caller]
    pub fn new(loss: Var<'_>, optimizer: &dyn Optimizer) -> Result<Self> {
        Self::with(loss, optimizer, Store::new(0), Workspace::for_this_machine()?)
    }
}

impl<T: Precision> Trainer<T> {
    /// A trainer over given parameters, in their precision, in a given workspace. An empty store starts them; one that has
    /// some must have them all ([`Store::prepare`]). Over a used store the optimizer and its schedule go on from their state in
    /// it; after [`Store::reset_optimizer`] they begin at step 0.
    ///
    /// # Errors
    /// A misuse recorded on the loss's graph; parameters that the loss does not reach, that the store does not have, or has
    /// under another shape.
    #[track_caller]
    pub fn with(
        loss: Var<'_>,
        optimizer: &dyn Optimizer,
        mut store: Store<T>,
        workspace: Workspace,
    ) -> Result<Self> {
        minimize(loss, optimizer)?;
        let plan = Plan::compile(loss.graph(), &[loss])?;
        store.bind(&plan, &mut Vec::new())?;
        Ok(Self { plan, store, workspace })
    }

    /// Runs one step on a batch and returns the loss before it.
    ///
    /// # Errors
    /// A value that does not fit its input; a [factor](LearningRate::FACTOR) of learning rates, none of which is adjustable.
    #[track_caller]
    pub fn step(&mut self, feeds: &[Feed<'_>]) -> Result<T> {
        LearningRate::check_factor(&self.store, &self.plan)?;
        let outputs = self.plan.run(&mut self.store, &mut self.workspace, feeds)?;
        let Some(loss) = outputs.scalar(0) else {
            return Err(Error::setting("loss", "it holds indices, not real numbers"));
        };
        Ok(loss)
    }

    /// Times each step of the plan on a batch. The parameters stay as they are.
    ///
    /// # Errors
    /// A value that does not fit its input.
    #[track_caller]
    pub fn profile(&mut self, feeds: &[Feed<'_>]) -> Result<Profile> {
        self.plan.profile(&self.store, &mut self.workspace, feeds)
    }

    /// The compiled step.
    pub fn plan(&self) -> &Plan<T> {
        &self.plan
    }

    /// The parameters.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// The parameters, and the memory and threads to run other plans over them: one that
    /// [watches](Plan::watch) a value inside the network, for example.
    ///
    /// ```
    /// use dagrad::optim::Sgd;
    /// use dagrad::{Graph, Trainer, nn};
    /// use ndarray::Array2;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [4, 3]);
    /// let hidden = nn::linear(x, "fc1", 5).relu();
    /// let loss = nn::linear(hidden, "fc2", 1).powi(2).mean_all();
    /// let mut trainer = Trainer::new(loss, &Sgd::new(0.1))?;
    ///
    /// let (xs, watched) = (Array2::<f32>::ones((4, 3)), trainer.plan().watch(hidden)?);
    /// let (store, workspace) = trainer.parts();
    /// workspace.check_values(true); // from now on a NaN is an error that says where it comes from
    /// let outputs = watched.run(store, workspace, &[x.feed(&xs)])?; // a step like any other
    /// assert_eq!(outputs.get(hidden).unwrap().shape(), [4, 5]);
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    pub fn parts(&mut self) -> (&mut Store<T>, &mut Workspace) {
        (&mut self.store, &mut self.workspace)
    }

    /// The parameters, to train or evaluate on with another graph.
    pub fn into_store(self) -> Store<T> {
        self.store
    }
}
