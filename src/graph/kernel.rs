//! What a plan's step calls. An operation says what is computed, a kernel how; `lower` goes from one to the other.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::axes::AxisMap;
use super::call::Call;
use super::op::{AnyOp, Precision, TensorType};
use crate::error::Problem;
use dagrad_kernels::elementwise::Function;

/// One way to compute something: what is scheduled, fused, placed in memory and run. It has no gradient rule, because
/// gradients are recorded before anything is lowered.
pub trait Kernel: fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The name in listings.
    fn name(&self) -> &'static str;

    /// What it makes of its operands: the output, and further outputs that somebody may read.
    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType>;

    /// Computes the output, and those further outputs that somebody reads. It writes every element and allocates nothing.
    ///
    /// # Errors
    /// What keeps it from doing so. The run ends with [`Error::Kernel`](crate::Error::Kernel); parameters that were moved by
    /// then stay so.
    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem>;

    /// The attributes in listings.
    fn attributes(&self) -> String {
        String::new()
    }

    /// How many numbers of scratch memory it asks for.
    fn scratch(&self, _operands: &[&TensorType]) -> usize {
        0
    }

    /// Multiplications, each with its addition, of one run.
    fn macs(&self, _operands: &[&TensorType], _output: &TensorType) -> usize {
        0
    }

    /// For a kernel that treats every sample of a batch on its own: how it reads and writes samples, so that batch tiling
    /// can take a few of them through several kernels before the next few.
    fn batch_split(&self, _operands: &[&TensorType]) -> Option<BatchSplit> {
        None
    }

    /// Whether it still works when output number `output` takes operand `position`'s memory: it then finds
    /// [`Operand::InPlace`](super::Operand::InPlace) there.
    fn runs_in_place(&self, _position: usize, _output: usize) -> bool {
        false
    }

    /// This kernel with the only consumer of its output taken in. [`Consumer::other`], if any, becomes its last operand.
    fn fuse(&self, _consumer: &Consumer<'_>) -> Option<Arc<dyn AnyKernel>> {
        None
    }

    /// The function by which every element of the output follows from those of the operands at the same position.
    fn elementwise(&self) -> Option<Function> {
        None
    }

    /// For a kernel that only re-reads its operand: for each axis of the output the stride in the operand.
    fn strides(&self, _operand: &TensorType) -> Option<Vec<usize>> {
        None
    }

    /// The number that every element has, where there is one.
    fn constant(&self) -> Option<f64> {
        None
    }

    /// Whether the output is the first operand's memory under another shape.
    fn is_alias(&self) -> bool {
        false
    }
}

/// How a kernel reads and writes samples, which lie along axis 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSplit {
    /// How many samples there are.
    pub samples: usize,
    /// Which operands hold the samples; the others are read as a whole for each of them.
    pub operands: Vec<bool>,
    /// How many samples make one row of the output (the last row may be made of fewer): 1 unless it sums.
    pub samples_per_row: usize,
}

impl BatchSplit {
    /// One row of the output for each sample of those operands that are split.
    pub fn each(samples: usize, operands: &[bool]) -> Self {
        Self { samples, operands: operands.into(), samples_per_row: 1 }
    }
}

/// The only consumer of a kernel's output, offered to it for fusion.
pub struct Consumer<'a> {
    /// The consumer.
    pub kernel: &'a dyn AnyKernel,
    /// The function that it applies to each element, if it does so.
    pub function: Option<Function>,
    /// For a function of two arguments: the other one as it is read, by its strides over the output's axes.
    pub other: Option<&'a [usize]>,
}

/// The kernel that every operation has: its own `forward`.
#[derive(Debug, Clone)]
pub struct Definition(pub Arc<dyn AnyOp>);

impl PartialEq for Definition {
    fn eq(&self, other: &Self) -> bool {
        self.0.same(other.0.as_ref())
    }
}

/// Facts of a definition that are those of its operation.
macro_rules! of_operation {
    ($(fn $fact:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {$(
        fn $fact(&self $(, $argument: $type)*) -> $result {
            self.0.$fact($($argument),*)
        }
    )*};
}

impl Kernel for Definition {
    of_operation! {
        fn name(&self) -> &'static str;
        fn scratch(&self, operands: &[&TensorType]) -> usize;
        fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize;
        fn elementwise(&self) -> Option<Function>;
        fn strides(&self, operand: &TensorType) -> Option<Vec<usize>>;
        fn constant(&self) -> Option<f64>;
        fn is_alias(&self) -> bool;
    }

    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> {
        let output = self.0.infer(operands);
        vec![output.unwrap_or_else(|problem| unreachable!("lowering keeps shapes: {problem:?}"))]
    }

    fn run<T: Precision>(&self, call: Call<'_, T>) -> Result<(), Problem> {
        T::forward(self.0.as_ref(), call);
        Ok(())
    }

    fn attributes(&self) -> String {
        self.0.attributes().to_string()
    }

    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> {
        let axes = self.0.axes(operands);
        let split: Vec<bool> =
            (0..operands.len()).map(|i| axes.get(i).is_some_and(AxisMap::keeps_samples)).collect();
        let first = split.iter().position(|&is_split| is_split)?;
        let samples = *operands[first].shape.first()?;
        // A task reads up to eight operands without asking for memory.
        (operands.len() <= 8).then(|| BatchSplit::each(samples, &split))
    }
}

/// A kernel in a plan, its type forgotten. Implemented for every [`Kernel`].
pub trait AnyKernel: fmt::Debug + Send + Sync + 'static {
    #![allow(missing_docs)]
    fn as_any(&self) -> &dyn Any;
    fn same(&self, other: &dyn AnyKernel) -> bool;
    fn name(&self) -> &'static str;
    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType>;
    fn run_f32(&self, call: Call<'_, f32>) -> Result<(), Problem>;
    fn run_f64(&self, call: Call<'_, f64>) -> Result<(), Problem>;
    fn attributes(&self) -> String;
    fn scratch(&self, operands: &[&TensorType]) -> usize;
    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize;
    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit>;
    fn runs_in_place(&self, position: usize, output: usize) -> bool;
    fn fuse(&self, consumer: &Consumer<'_>) -> Option<Arc<dyn AnyKernel>>;
    fn elementwise(&self) -> Option<Function>;
    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>>;
    fn constant(&self) -> Option<f64>;
    fn is_alias(&self) -> bool;
}

#[rustfmt::skip]
impl<K: Kernel> AnyKernel for K {
    fn as_any(&self) -> &dyn Any { self }
    fn same(&self, other: &dyn AnyKernel) -> bool { other.as_any().downcast_ref::<K>() == Some(self) }
    fn name(&self) -> &'static str { Kernel::name(self) }
    fn outputs(&self, operands: &[&TensorType]) -> Vec<TensorType> { Kernel::outputs(self, operands) }
    fn run_f32(&self, call: Call<'_, f32>) -> Result<(), Problem> { Kernel::run(self, call) }
    fn run_f64(&self, call: Call<'_, f64>) -> Result<(), Problem> { Kernel::run(self, call) }
    fn attributes(&self) -> String { Kernel::attributes(self) }
    fn scratch(&self, operands: &[&TensorType]) -> usize { Kernel::scratch(self, operands) }
    fn macs(&self, operands: &[&TensorType], output: &TensorType) -> usize { Kernel::macs(self, operands, output) }
    fn batch_split(&self, operands: &[&TensorType]) -> Option<BatchSplit> { Kernel::batch_split(self, operands) }
    fn runs_in_place(&self, position: usize, output: usize) -> bool { Kernel::runs_in_place(self, position, output) }
    fn fuse(&self, consumer: &Consumer<'_>) -> Option<Arc<dyn AnyKernel>> { Kernel::fuse(self, consumer) }
    fn elementwise(&self) -> Option<Function> { Kernel::elementwise(self) }
    fn strides(&self, operand: &TensorType) -> Option<Vec<usize>> { Kernel::strides(self, operand) }
    fn constant(&self) -> Option<f64> { Kernel::constant(self) }
    fn is_alias(&self) -> bool { Kernel::is_alias(self) }
}
