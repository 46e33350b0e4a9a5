//! Every entry point in both precisions.
//!
//! A generic function is normally compiled by the crate that calls it, once for each type. The entry points are marked
//! `#[inline(never)]`, and such a function the compiler takes from the crate that already has it. So it suffices that
//! this one names them all, for `f32` and for `f64`. A function that is missing here is still right, but is then
//! compiled by everybody who calls it.

use crate::conv::Convolution;
use crate::conv::nhwc::{Direct, finish_weight_sums, to_channels_first, to_channels_last};
use crate::gather::{self, Gather};
use crate::gemm::Gemm;
use crate::lattice::{self, Lattice};
use crate::pool::{Average, Pooling};
use crate::real::Real;
use crate::softmax::Classes;
use crate::winograd::Winograd;
use crate::{elementwise, random, reduce, walk};

/// The addresses of all entry points. Nobody needs them; that they are asked for is what counts.
pub fn entry_points() -> Vec<*const ()> {
    [in_precision::<f32>(), in_precision::<f64>()].concat()
}

fn in_precision<T: Real>() -> Vec<*const ()> {
    macro_rules! addresses {
        ($($function:expr),* $(,)?) => { vec![$($function as *const ()),*] };
    }
    addresses![
        Average::means::<T>,
        Average::spread::<T>,
        Classes::softmax::<T>,
        Convolution::col2im::<T>,
        Convolution::forward::<T>,
        Convolution::im2col::<T>,
        Convolution::image_adjoint::<T>,
        Convolution::weight_adjoint::<T>,
        Direct::forward::<T>,
        Direct::forward_pooled::<T>,
        Direct::image_adjoint::<T>,
        Direct::prepare::<T>,
        Direct::prepare_adjoint::<T>,
        Direct::weight_sums::<T>,
        Gather::add::<T>,
        Gather::read::<T>,
        Gemm::run::<T>,
        Gemm::run_batch::<T>,
        Lattice::read::<T>,
        Lattice::write::<T>,
        Pooling::argmax::<T>,
        Pooling::argmax_last::<T>,
        Pooling::max_last::<T>,
        Pooling::put::<T>,
        Pooling::put_last::<T>,
        Pooling::take::<T>,
        Pooling::take_last::<T>,
        Winograd::forward::<T>,
        Winograd::image_adjoint::<T>,
        Winograd::prepare::<T>,
        Winograd::prepare_adjoint::<T>,
        Winograd::weight_sums::<T>,
        elementwise::apply::<T>,
        elementwise::run::<T>,
        finish_weight_sums::<T>,
        gather::argmax::<T>,
        lattice::concatenate::<T>,
        random::mask::<T>,
        reduce::sum::<T>,
        to_channels_first::<T>,
        to_channels_last::<T>,
        walk::copy::<T>,
    ]
}
