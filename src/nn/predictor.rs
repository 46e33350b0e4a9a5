//! Predictions from several threads at once.

use std::sync::{Condvar, Mutex, PoisonError};

use ndarray::{Array2, Array4, ArrayView4, Axis, Slice, s};

use super::model::not_logits;
use crate::compile::Plan;
use crate::data::IMAGES;
use crate::error::{Error, Result, SourceLine};
use crate::graph::Precision;
use crate::run::{Element, Feed, Store, Workspace};

/// A trained network that answers several threads at once: behind an [`Arc`](std::sync::Arc), for example. All answers read the
/// same weights; each has memory for its own values.
///
/// Plans are compiled once, for a few sizes of a batch. Any number of images is predicted in batches of these sizes: the
/// largest that fits, or the smallest that holds the rest, if it is at least half full; what is left empty is filled with
/// zeros. So nothing is compiled while it serves.
///
/// As many answers are computed at the same time as the cores of the machine have threads for. Who asks meanwhile waits, in
/// order. So memory is bounded, and no answer is put aside half done for another one, which would take it many times as long.
///
/// ```
/// use std::thread;
///
/// use dagrad::nn::{Model, SimpleConvNet};
/// use ndarray::Array4;
///
/// let mut model = Model::new(SimpleConvNet::default(), [1, 28, 28], 0)?;
/// let images = Array4::ones((5, 1, 28, 28));
/// let alone = model.predict(&images)?;
///
/// let predictor = model.into_predictor(&[1, 8], 1)?; // each answer on one thread
/// let answers: Vec<_> = thread::scope(|scope| {
///     let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| predictor.predict(&images))).collect();
///     asked.into_iter().map(|answer| answer.join().unwrap()).collect()
/// });
/// for answer in answers {
///     assert!((answer? - &alone).iter().all(|apart| apart.abs() < 1e-5));
/// }
/// # Ok::<(), dagrad::Error>(())
/// ```
#[derive(Debug)]
pub struct Predictor<T: Precision = f32> {
    /// By size of the batch, the smallest first.
    plans: Vec<(usize, Plan<T>)>,
    store: Store<T>,
    image_shape: [usize; 3],
    classes: usize,
    queue: Mutex<Queue>,
    /// Told of each workspace that is given back.
    given_back: Condvar,
}

/// Workspaces, and those who wait for one.
#[derive(Debug)]
struct Queue {
    idle: Vec<Workspace>,
    /// The number of the next who comes, and of the next who is served.
    arriving: u64,
    served: u64,
}

impl<T: Precision + Element> Predictor<T> {
    /// Over plans that compute logits.
    #[track_caller]
    pub(super) fn new(
        plans: Vec<(usize, Plan<T>)>,
        mut store: Store<T>,
        image_shape: [usize; 3],
        classes: usize,
        threads: usize,
    ) -> Result<Self> {
        let mut idle = vec![Workspace::new(threads)?];
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        while (idle.len() + 1) * threads <= cores {
            idle.push(Workspace::new(threads)?);
        }
        Plan::share(plans.iter().map(|(_, plan)| plan), &mut store, &mut idle[0])?;
        let queue = Mutex::new(Queue { idle, arriving: 0, served: 0 });
        Ok(Self { plans, store, image_shape, classes, queue, given_back: Condvar::new() })
    }

    /// A workspace, once it is the caller's turn.
    fn turn(&self) -> Turn<'_> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = queue.arriving;
        queue.arriving += 1;
        loop {
            if queue.served == ticket
                && let Some(workspace) = queue.idle.pop()
            {
                queue.served += 1;
                self.given_back.notify_all(); // there may be one for the next, too
                return Turn { queue: &self.queue, given_back: &self.given_back, workspace: Some(workspace) };
            }
            queue = self.given_back.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The logits of each image, `[N, classes]`; as [`Model::predict`](super::Model::predict) returns them.
    ///
    /// # Errors
    /// Images of another shape; memory or threads that the machine refuses.
    #[track_caller]
    pub fn predict(&self, images: &Array4<T>) -> Result<Array2<T>> {
        let (_, channels, height, width) = images.dim();
        if [channels, height, width] != self.image_shape {
            let message =
                format!("images are {:?}, but the network takes {:?}", images.shape(), self.image_shape);
            return Err(Error::setting("images", message));
        }
        let site = SourceLine::caller();
        let mut turn = self.turn();
        let Some(workspace) = &mut turn.workspace else {
            unreachable!("a turn has a workspace until it ends")
        };
        self.predict_in(images, workspace).map_err(|error| error.at(site))
    }

    /// The logits, computed in one workspace.
    fn predict_in(&self, images: &Array4<T>, workspace: &mut Workspace) -> Result<Array2<T>> {
        let count = images.dim().0;
        let mut logits = Array2::from_elem((count, self.classes), T::zero());
        let mut start = 0;
        while start < count {
            let (size, plan) = self.plan_for(count - start);
            let end = count.min(start + size);
            let some = images.slice(s![start..end, .., .., ..]);
            let own = self.run(plan, *size, some, workspace)?;
            let mut target = logits.slice_axis_mut(Axis(0), Slice::from(start..end));
            target.assign(&own.slice_axis(Axis(0), Slice::from(..end - start)));
            start = end;
        }
        Ok(logits)
    }

    /// The plan for the next of so many images.
    fn plan_for(&self, images: usize) -> (&usize, &Plan<T>) {
        let holds = self.plans.iter().find(|(size, _)| *size >= images && *size <= 2 * images);
        let fits = || self.plans.iter().rev().find(|(size, _)| *size <= images);
        let Some((size, plan)) = holds.or_else(fits).or(self.plans.first()) else {
            unreachable!("a predictor has a plan")
        };
        (size, plan)
    }

    fn run(
        &self,
        plan: &Plan<T>,
        size: usize,
        images: ArrayView4<'_, T>,
        workspace: &mut Workspace,
    ) -> Result<Array2<T>> {
        let feed = |images: ArrayView4<'_, T>, workspace: &mut Workspace| {
            let feeds = [Feed::new(IMAGES, T::value(images.into_dyn()))];
            let outputs = plan.run_shared(&self.store, workspace, &feeds)?;
            let logits = outputs.at(0).and_then(|logits| logits.into_dimensionality().ok());
            logits.map(|logits| logits.to_owned()).ok_or_else(not_logits)
        };
        if images.dim().0 == size {
            return feed(images, workspace);
        }
        let [channels, height, width] = self.image_shape;
        let mut padded = Array4::from_elem((size, channels, height, width), T::zero());
        padded.slice_mut(s![..images.dim().0, .., .., ..]).assign(&images);
        feed(padded.view(), workspace)
    }

    /// The parameters.
    pub fn store(&self) -> &Store<T> {
        &self.store
    }

    /// The sizes of batches, the smallest first.
    pub fn batches(&self) -> Vec<usize> {
        self.plans.iter().map(|(size, _)| *size).collect()
    }
}

/// A workspace that is given back in the end, whatever happens.
struct Turn<'a> {
    queue: &'a Mutex<Queue>,
    given_back: &'a Condvar,
    workspace: Option<Workspace>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).idle.extend(self.workspace.take());
        self.given_back.notify_all();
    }
}
