//! Networks of the kinds that are trained today, for the shapes that small plain ones do not have: batch normalisation,
//! shortcuts, depthwise and dilated convolutions, skips, signals. `benches/peers/modern.py` holds the same ones for PyTorch.

use dagrad::nn::{BatchNorm, Filters, batch_norm, conv2d, layer_norm, linear};
use dagrad::{Conv2dOptions, Init, Pool2dOptions, Var};

/// A convolution without bias, padded to keep the size at stride 1, and batch normalisation.
fn conv_norm<'g>(x: Var<'g>, name: &str, filters: Filters, kernel: usize) -> Var<'g> {
    let filters = filters.padding(kernel / 2).without_bias();
    batch_norm(conv2d(x, name, filters), &format!("{name}.norm"), BatchNorm::default())
}

/// The mean of each channel, and a layer of ten classes.
fn classes(x: Var<'_>) -> Var<'_> {
    linear(x.global_avg_pool2d().flatten(), "classes", 10)
}

/// ResNet-18 or, with bottlenecks, ResNet-50 (He and others, 2015), as torchvision has them, with ten classes.
pub fn resnet<'g>(images: Var<'g>, blocks: [usize; 4], has_bottlenecks: bool) -> Var<'g> {
    let mut h = conv_norm(images, "stem", Filters::new(64, 7).stride(2), 7).relu();
    h = h.max_pool2d(Pool2dOptions::new(3).stride(2).padding(1));
    for (stage, count) in blocks.into_iter().enumerate() {
        for block in 0..count {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let (name, width) = (format!("stage{stage}.block{block}"), 64 << stage);
            h = if has_bottlenecks {
                bottleneck(h, &name, width, stride)
            } else {
                basic(h, &name, width, stride)
            };
        }
    }
    classes(h)
}

fn basic<'g>(x: Var<'g>, name: &str, width: usize, stride: usize) -> Var<'g> {
    let h = conv_norm(x, &format!("{name}.a"), Filters::new(width, 3).stride(stride), 3).relu();
    let h = conv_norm(h, &format!("{name}.b"), Filters::new(width, 3), 3);
    (h + shortcut(x, name, width, stride)).relu()
}

fn bottleneck<'g>(x: Var<'g>, name: &str, width: usize, stride: usize) -> Var<'g> {
    let h = conv_norm(x, &format!("{name}.a"), Filters::new(width, 1), 1).relu();
    let h = conv_norm(h, &format!("{name}.b"), Filters::new(width, 3).stride(stride), 3).relu();
    let h = conv_norm(h, &format!("{name}.c"), Filters::new(4 * width, 1), 1);
    (h + shortcut(x, name, 4 * width, stride)).relu()
}

fn shortcut<'g>(x: Var<'g>, name: &str, width: usize, stride: usize) -> Var<'g> {
    if x.shape()[1] == width && stride == 1 {
        return x;
    }
    conv_norm(x, &format!("{name}.shortcut"), Filters::new(width, 1).stride(stride), 1)
}

/// MobileNetV2 of width 1 (Sandler and others, 2018).
pub fn mobile<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = conv_norm(images, "stem", Filters::new(32, 3).stride(2), 3).clamp(0.0, 6.0);
    let stages = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (stage, (expansion, width, count, stride)) in stages.into_iter().enumerate() {
        for block in 0..count {
            let name = format!("stage{stage}.block{block}");
            h = inverted(h, &name, expansion, width, if block == 0 { stride } else { 1 });
        }
    }
    classes(conv_norm(h, "last", Filters::new(1280, 1), 1).clamp(0.0, 6.0))
}

/// 1×1 convolution to more channels, depthwise 3×3, 1×1 back.
fn inverted<'g>(x: Var<'g>, name: &str, expansion: usize, width: usize, stride: usize) -> Var<'g> {
    let channels = x.shape()[1];
    let (mut h, inner) = (x, channels * expansion);
    if expansion > 1 {
        h = conv_norm(h, &format!("{name}.expand"), Filters::new(inner, 1), 1).clamp(0.0, 6.0);
    }
    let depthwise = Filters::new(inner, 3).stride(stride).groups(inner);
    h = conv_norm(h, &format!("{name}.depthwise"), depthwise, 3).clamp(0.0, 6.0);
    h = conv_norm(h, &format!("{name}.project"), Filters::new(width, 1), 1);
    if stride == 1 && channels == width { h + x } else { h }
}

/// A U-Net of three levels (Ronneberger and others, 2015) with batch normalisation, for two classes of each pixel.
pub fn unet<'g>(images: Var<'g>) -> Var<'g> {
    let twice = |x: Var<'g>, name: &str, width: usize| {
        let h = conv_norm(x, &format!("{name}.a"), Filters::new(width, 3), 3).relu();
        conv_norm(h, &format!("{name}.b"), Filters::new(width, 3), 3).relu()
    };
    let mut skips = Vec::new();
    let mut h = images;
    for (level, width) in [16, 32, 64].into_iter().enumerate() {
        h = twice(h, &format!("down{level}"), width);
        skips.push(h);
        h = h.max_pool2d(2);
    }
    h = twice(h, "middle", 128);
    for (level, width) in [64, 32, 16].into_iter().enumerate() {
        let channels = h.shape()[1];
        let weight =
            h.graph().param(&format!("up{level}.weight"), [channels, width, 2, 2], Init::he(channels));
        let up = h.conv_transpose2d(weight, Conv2dOptions::new().stride(2), 0);
        let skip = skips.pop().unwrap_or(up);
        h = twice(up.graph().concat(&[skip, up], 1), &format!("level{level}"), width);
    }
    conv2d(h, "classes", Filters::new(2, 1))
}

/// Two blocks of dense connections (Huang and others, 2016) on 32×32 pixels: each layer reads all before it.
pub fn dense<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = conv2d(images, "stem", Filters::new(24, 3).padding(1).without_bias());
    for block in 0..2 {
        for layer in 0..6 {
            let name = format!("block{block}.layer{layer}");
            let normal = batch_norm(h, &format!("{name}.norm"), BatchNorm::default()).relu();
            let new = conv2d(normal, &name, Filters::new(12, 3).padding(1).without_bias());
            h = h.graph().concat(&[h, new], 1);
        }
        if block == 0 {
            let channels = h.shape()[1];
            h = conv_norm(h, "transition", Filters::new(channels / 2, 1), 1).relu().avg_pool2d(2);
        }
    }
    classes(batch_norm(h, "norm", BatchNorm::default()).relu())
}

/// ConvNeXt-like blocks (Liu and others, 2022): depthwise 7×7, layer normalisation over channels, 1×1, gelu, 1×1.
pub fn next<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = conv2d(images, "stem", Filters::new(48, 4).stride(4));
    for (stage, width) in [48, 96].into_iter().enumerate() {
        if stage > 0 {
            h = conv2d(h, &format!("down{stage}"), Filters::new(width, 2).stride(2));
        }
        for block in 0..3 {
            let name = format!("stage{stage}.block{block}");
            let inner =
                conv2d(h, &format!("{name}.depthwise"), Filters::new(width, 7).padding(3).groups(width));
            let pixels = layer_norm(inner.permute(&[0, 2, 3, 1]), &format!("{name}.norm"), 1, 1e-6);
            let wide =
                conv2d(pixels.permute(&[0, 3, 1, 2]), &format!("{name}.wide"), Filters::new(4 * width, 1));
            h = h + conv2d(wide.gelu(), &format!("{name}.narrow"), Filters::new(width, 1));
        }
    }
    classes(h)
}

/// Long signals of 4 channels, recorded as images of one row: five convolutions of 9 samples and stride 2.
pub fn signals<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = images;
    for (layer, width) in [16, 32, 64, 64, 128].into_iter().enumerate() {
        let filters = Filters::new(width, [1, 9]).stride([1, 2]).padding([0, 4]).without_bias();
        let name = format!("conv{layer}");
        h = batch_norm(conv2d(h, &name, filters), &format!("{name}.norm"), BatchNorm::default()).relu();
    }
    classes(h)
}

/// Three layers of 1024 units.
pub fn units<'g>(images: Var<'g>) -> Var<'g> {
    let mut h = images.flatten();
    for layer in 0..3 {
        h = linear(h, &format!("fc{layer}"), 1024).relu();
    }
    linear(h, "classes", 10)
}
