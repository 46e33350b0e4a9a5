//! What an operation or a kernel receives when it is called.

use smallvec::SmallVec;

use crate::shape::Shape;
use dagrad_kernels::workers::Workers;

/// What a kernel receives.
pub struct Call<'a, T> {
    /// The operands, in order.
    pub(crate) operands: SmallVec<[Operand<'a, T>; 8]>,
    /// Where to write real numbers. Its content is undefined before (but see [`Operand::InPlace`]).
    pub output: &'a mut [T],
    /// Where to write instead if the result is of [`Dtype::Index`](super::Dtype::Index).
    pub indices: &'a mut [u32],
    /// Where to write a kernel's further outputs; an operation has none.
    pub(crate) further_outputs: SmallVec<[OutputSlot<'a, T>; 4]>,
    /// The output's shape.
    pub shape: &'a Shape,
    /// As many numbers as [`Op::scratch`](super::Op::scratch) asked for, undefined before.
    pub scratch: &'a mut [T],
    /// The threads to spread work over.
    pub workers: &'a Workers,
    /// What random operations draw from.
    pub random: Random,
}

/// Random numbers are a pure function of this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// The store's seed.
    pub seed: u64,
    /// How many training steps came before.
    pub step: u64,
}

/// Where a further output goes.
#[derive(Debug)]
pub enum OutputSlot<'a, T> {
    /// Real numbers.
    Real(&'a mut [T]),
    /// Indices.
    Index(&'a mut [u32]),
    /// Nobody reads it.
    Unread,
}

impl<'a, T> OutputSlot<'a, T> {
    /// Where real numbers go, if there are any.
    pub fn real(self) -> Option<&'a mut [T]> {
        if let Self::Real(numbers) = self { Some(numbers) } else { None }
    }

    /// Where indices go, if there are any.
    pub fn index(self) -> Option<&'a mut [u32]> {
        if let Self::Index(indices) = self { Some(indices) } else { None }
    }
}

/// One operand's shape and memory.
#[derive(Debug, Clone, Copy)]
pub enum Operand<'a, T> {
    /// Real numbers.
    Real(&'a Shape, &'a [T]),
    /// Indices.
    Index(&'a Shape, &'a [u32]),
    /// The numbers already lie in the output (0) or a further output (from 1 on), where the operation allows that.
    InPlace(usize),
}

impl<'a, T> Call<'a, T> {
    /// The operands, in order.
    pub fn operands(&self) -> &[Operand<'a, T>] {
        &self.operands
    }

    /// The real numbers of operand `position`.
    pub fn real(&self, position: usize) -> &'a [T] {
        match self.operands[position] {
            Operand::Real(_, data) => data,
            _ => unreachable!("operand {position} holds no real numbers, which its shape rule refuses"),
        }
    }

    /// The indices of operand `position`.
    pub fn indices_of(&self, position: usize) -> &'a [u32] {
        match self.operands[position] {
            Operand::Index(_, data) => data,
            _ => unreachable!("operand {position} holds no indices, which its shape rule refuses"),
        }
    }

    /// Copies operand 0 to the output, whatever it holds.
    pub fn copy(self)
    where
        T: Copy,
    {
        match self.operands[0] {
            Operand::Real(_, data) => self.output.copy_from_slice(data),
            Operand::Index(_, data) => self.indices.copy_from_slice(data),
            Operand::InPlace(_) => {}
        }
    }

    /// Takes where a kernel's further outputs go, in order.
    pub fn further_outputs(&mut self) -> impl Iterator<Item = OutputSlot<'a, T>> + '_ {
        self.further_outputs.drain(..)
    }

    /// The shape of operand `position`; of one that lies in the output, the output's.
    pub fn operand_shape(&self, position: usize) -> &'a Shape {
        match self.operands[position] {
            Operand::Real(shape, _) | Operand::Index(shape, _) => shape,
            Operand::InPlace(_) => self.shape,
        }
    }
}
