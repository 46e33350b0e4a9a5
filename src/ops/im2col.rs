//! Patches of an image as rows of a matrix, and the way back: each is the other's adjoint.
//!
//! A convolution is a product of the patch matrix with the filters as columns. The engine's own convolution
//! packs patches tile by tile and never holds this matrix; here it is for those who want to see it.

use ndarray::{Array2, Array4, ArrayView2, ArrayView4};

use super::attributes::Pool2dOptions;
use super::example::{Example, linear, normal};
use super::operands::{all_real, no_image};
use crate::error::{Error, Problem, Result, SourceLine};
use crate::graph::{Attributes, Call, Gradient, Op, TensorType, Var, VjpInputs};
use crate::shape::{Shape, Window};
use dagrad_kernels::conv::Convolution;
use dagrad_kernels::real::Real;
use dagrad_kernels::workers::Workers;

/// `[N, C, H, W]` → `[N·H'·W', C·kh·kw]`: one row for each position of the window. Or the adjoint of that, which adds the
/// rows back to where they were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Im2col {
    window: Window,
    /// Of the adjoint: the shape of the image to which it adds.
    adds_to: Option<Shape>,
}

impl Op for Im2col {
    fn name(&self) -> &'static str {
        if self.adds_to.is_some() { "col2im" } else { "im2col" }
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, Problem> {
        let Some(image) = &self.adds_to else {
            all_real(operands)?;
            return Ok(TensorType::real(matrix(&patches(&operands[0].shape, self.window)?)));
        };
        let expected = TensorType::real(matrix(&patches(image, self.window)?));
        if *operands[0] != expected {
            let text = format!("columns {} are not the patches {expected} of an image {image}", operands[0]);
            return Err(Problem::new(text).hint("there is one row for each position of the window"));
        }
        Ok(TensorType::real(image))
    }

    fn forward<T: Real>(&self, call: Call<'_, T>) {
        let image = self.adds_to.as_ref().unwrap_or(call.operand_shape(0));
        let Ok(form) = patches(image, self.window) else {
            unreachable!("the shape rule has accepted the image")
        };
        match self.adds_to {
            None => form.im2col(call.real(0), call.output, call.workers),
            Some(_) => form.col2im(call.real(0), call.output, call.workers),
        }
    }

    fn vjp<'g>(&self, _: usize, inputs: VjpInputs<'g>) -> Gradient<'g> {
        let adds_to = self.adds_to.is_none().then(|| inputs.operands[0].shape());
        let adjoint = Self { window: self.window, adds_to };
        Gradient::Of(inputs.upstream.graph().record(adjoint, &[inputs.upstream]))
    }

    fn roles(&self) -> &'static [&'static str] {
        if self.adds_to.is_some() { &["columns"] } else { &["image"] }
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().window(self.window);
        match &self.adds_to {
            Some(image) => attributes.quiet("image", image),
            None => attributes,
        }
    }
}

/// The patches of an image as a convolution sees them.
fn patches(image: &Shape, window: Window) -> Result<Convolution, Problem> {
    let &[batch, channels, height, width] = &image[..] else {
        return Err(no_image(&TensorType::real(image)));
    };
    let image = [height, width];
    let output = window.output_size(image)?;
    let form = Convolution { batch, groups: 1, channels, filters: 1, image, output, window };
    let [rows, columns] = [&[batch, output[0], output[1]], &[channels, window.kernel[0], window.kernel[1]]]
        .map(|sizes| sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size)));
    match rows.zip(columns).and_then(|(rows, columns)| Shape::from([rows, columns]).checked_count()) {
        Some(_) => Ok(form),
        None => Err(Problem::new("the patch matrix is beyond any memory")),
    }
}

fn matrix(form: &Convolution) -> [usize; 2] {
    let kernel = form.window.kernel;
    [form.batch * form.output[0] * form.output[1], form.channels * kernel[0] * kernel[1]]
}

impl<'g> Var<'g> {
    /// The patches of a batch of images `[N, C, H, W]` as rows `[N·H'·W', C·kh·kw]`, in row-major order of
    /// image and position; within a row in the order of channel, row and column. Padding reads as 0.
    #[track_caller]
    pub fn im2col(self, window: impl Into<Pool2dOptions>) -> Var<'g> {
        self.graph().record(Im2col { window: window.into().window(), adds_to: None }, &[self]).or_rank(2)
    }

    /// The adjoint of [`im2col`](Self::im2col) for images of shape `image`: patches are added where they
    /// overlap.
    #[track_caller]
    pub fn col2im(self, image: impl Into<Shape>, window: impl Into<Pool2dOptions>) -> Var<'g> {
        let image = image.into();
        let op = Im2col { window: window.into().window(), adds_to: Some(image.clone()) };
        self.graph().record(op, &[self]).or_shape(&image)
    }
}

/// The patches of a batch of images as rows; see [`Var::im2col`].
///
/// ```
/// use dagrad::{Pool2dOptions, im2col};
/// use ndarray::Array4;
///
/// let window = Pool2dOptions::new(5).stride(1);
/// assert_eq!(im2col(Array4::<f32>::zeros((1, 3, 7, 7)).view(), window)?.dim(), (9, 75));
/// assert_eq!(im2col(Array4::<f32>::zeros((10, 3, 7, 7)).view(), window)?.dim(), (90, 75));
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// A window that does not fit the padded image, or a stride of 0.
#[track_caller]
pub fn im2col<T: Real>(images: ArrayView4<'_, T>, window: impl Into<Pool2dOptions>) -> Result<Array2<T>> {
    let form = patches(&images.shape().into(), window.into().window())
        .map_err(refused("im2col", SourceLine::caller()))?;
    let mut columns = Array2::zeros(matrix(&form));
    let images = images.as_standard_layout();
    if let (Some(images), Some(columns)) = (images.as_slice(), columns.as_slice_mut()) {
        form.im2col(images, columns, &Workers::alone());
    }
    Ok(columns)
}

/// Adds patches back to images of shape `[N, C, H, W]`: the exact adjoint of [`im2col`].
///
/// ```
/// use dagrad::{Pool2dOptions, col2im};
/// use ndarray::Array2;
///
/// // Each pixel is counted once for every window that covers it.
/// let images = col2im(Array2::<f64>::ones((4, 4)).view(), [1, 1, 3, 3], Pool2dOptions::new(2).stride(1))?;
/// assert_eq!(images[[0, 0, 1, 1]], 4.0);
/// # Ok::<(), dagrad::Error>(())
/// ```
///
/// # Errors
/// A window that does not fit the padded image, or columns that are not its patches.
#[track_caller]
pub fn col2im<T: Real>(
    columns: ArrayView2<'_, T>,
    image: [usize; 4],
    window: impl Into<Pool2dOptions>,
) -> Result<Array4<T>> {
    let form =
        patches(&image.into(), window.into().window()).map_err(refused("col2im", SourceLine::caller()))?;
    if columns.shape() != matrix(&form) {
        let message = format!("{:?} columns are not the patches {:?}", columns.shape(), matrix(&form));
        return Err(Error::setting("col2im", message));
    }
    let mut images = Array4::zeros(image);
    let columns = columns.as_standard_layout();
    if let (Some(columns), Some(images)) = (columns.as_slice(), images.as_slice_mut()) {
        form.col2im(columns, images, &Workers::alone());
    }
    Ok(images)
}

fn refused(name: &'static str, site: SourceLine) -> impl Fn(Problem) -> Error {
    move |problem| Error::setting(name, problem.message).at(site)
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    let window = Pool2dOptions::new([2, 3]);
    vec![
        linear("overlapping", [normal([2, 3, 4, 5])], move |v| v[0].im2col(window.stride(1))),
        linear("stride and padding", [normal([1, 2, 5, 4])], move |v| {
            v[0].im2col(window.stride([2, 1]).padding([1, 1]))
        }),
        linear("back", [normal([12, 12])], move |v| v[0].col2im([1, 2, 4, 6], window.stride(1))),
    ]
}
