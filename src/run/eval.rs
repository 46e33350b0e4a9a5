//! Trying things out: a value computed on the spot.

use ndarray::ArrayD;

use super::feed::Feed;
use super::store::Store;
use super::workspace::Workspace;
use crate::compile::Options;
use crate::error::{Error, Result};
use crate::graph::{Precision, Var};

impl Var<'_> {
    /// Compiles and runs what this value needs, once: for tutorials and tests. Parameters start afresh, from
    /// seed 0. Whoever computes a value more than once compiles a [`Plan`](crate::Plan).
    ///
    /// ```
    /// use dagrad::Graph;
    /// use ndarray::array;
    ///
    /// let graph = Graph::new();
    /// let x = graph.input("x", [3]);
    /// let y = (x * 2.0).relu().eval::<f64>(&[x.feed(&array![-1.0, 0.5, 2.0])])?;
    /// assert_eq!(y, array![0.0, 1.0, 4.0].into_dyn());
    /// # Ok::<(), dagrad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for compiling and running.
    #[track_caller]
    pub fn eval<T: Precision>(self, feeds: &[Feed<'_>]) -> Result<ArrayD<T>> {
        let plan = Options::new().without_assignments().compile::<T>(self.graph(), &[self])?;
        let (mut store, mut workspace) = (Store::new(0), Workspace::for_this_machine()?);
        store.prepare(&plan)?;
        let outputs = plan.run(&mut store, &mut workspace, feeds)?;
        let Some(found) = outputs.at(0) else {
            return Err(Error::setting("eval", "the value holds indices, not real numbers"));
        };
        Ok(found.to_owned())
    }
}
