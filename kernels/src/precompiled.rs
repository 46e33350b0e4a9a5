//! Every entry point in both precisions.
//!
//! A generic function is normally compiled by the crate that calls it, once for each type. The entry points are marked
//! `#[inline(never)]`, and such a function the compiler takes from the crate that already has it. So it suffices that
//! this one names them all, for `f32` and for `f64`. A function that is missing here still works, but every
//! crate that calls it compiles it.

use crate::conv::Convolution;
use crate::conv::nhwc::{Direct, finish_weight_grad, nchw_to_nhwc, nhwc_to_nchw};
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
        Average::mean::<T>,
        Average::mean_nhwc::<T>,
        Average::mean_adjoint::<T>,
        Average::mean_adjoint_nhwc::<T>,
        Classes::softmax::<T>,
        Convolution::col2im::<T>,
        Convolution::forward::<T>,
        Convolution::im2col::<T>,
        Convolution::input_grad::<T>,
        Convolution::weight_grad::<T>,
        Direct::forward::<T>,
        Direct::forward_pooled::<T>,
        Direct::input_grad::<T>,
        Direct::prepare::<T>,
        Direct::prepare_input_grad::<T>,
        Direct::weight_grad_sums::<T>,
        Gather::add::<T>,
        Gather::read::<T>,
        Gemm::run::<T>,
        Gemm::run_batch::<T>,
        Lattice::read::<T>,
        Lattice::write::<T>,
        Pooling::argmax::<T>,
        Pooling::max_nhwc::<T>,
        Pooling::put::<T>,
        Pooling::put_nhwc::<T>,
        Pooling::take::<T>,
        Pooling::take_nhwc::<T>,
        Winograd::forward::<T>,
        Winograd::input_grad::<T>,
        Winograd::prepare::<T>,
        Winograd::prepare_input_grad::<T>,
        Winograd::weight_grad_sums::<T>,
        elementwise::apply::<T>,
        elementwise::run::<T>,
        finish_weight_grad::<T>,
        gather::argmax::<T>,
        lattice::concatenate::<T>,
        random::mask::<T>,
        random::mask_nhwc::<T>,
        reduce::sum::<T>,
        nhwc_to_nchw::<T>,
        nchw_to_nhwc::<T>,
        walk::copy::<T>,
    ]
}
