//! Pages stay short, whatever they are about: many samples, large images, wide, deep and densely connected networks, long
//! trainings.

use std::time::Duration;

use dagrad::data::Dataset;
use dagrad::nn::{self, BatchNorm, Filters, Model, Network};
use dagrad::optim::Sgd;
use dagrad::train::{Epoch, Figures};
use dagrad::viz::{Report, Start, filters};
use dagrad::{Result, Var};

/// The most bytes of a page about one network, even of noise, which no image can compress.
const MOST: usize = 3_000_000;

/// Numbers from 0 to 1 that follow no rule that an eye could see.
fn noise() -> impl Iterator<Item = f64> {
    let next = |state: &u64| Some(state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    std::iter::successors(Some(1), next).map(|state: u64| (state >> 40) as f64 / (1u64 << 24) as f64)
}

/// Noisy images of ten classes.
fn images(count: usize, shape: [usize; 3]) -> Dataset {
    let pixels = noise().map(|value| (256.0 * value) as u8).take(count * shape.iter().product::<usize>());
    Dataset::new(pixels.collect(), shape, (0..count as u32).map(|number| number % 10).collect(), 10).unwrap()
}

fn page(network: impl Network, data: &Dataset) -> Result<String> {
    let mut model = Model::new(network, data.image_shape(), 0)?;
    let (start, mut report) = (Start::of(&model), Report::new("bounds"));
    report.network("net", &start, &mut model, &Sgd::new(0.1), data)?;
    report.to_html()
}

fn assert_short(page: &str) {
    let parts = page.split("<h3>").map(|part| (part.split('<').next(), part.len()));
    assert!(page.len() < MOST, "{} bytes: {:?}", page.len(), parts.collect::<Vec<_>>());
}

fn classes(maps: Var<'_>) -> Var<'_> {
    nn::linear(maps.mean(&[2, 3]), "classes", 10)
}

#[test]
fn large_images_are_reduced_to_what_is_shown() -> Result<()> {
    for channels in [1, 3] {
        let network = nn::network(|images| {
            let maps = nn::conv2d(images, "conv", Filters::new(9, 7).stride(8));
            classes(nn::conv2d(maps.relu(), "wide", Filters::new(40, 1)))
        });
        let page = page(network, &images(3, [channels, 1024, 1024]))?;
        assert_short(&page);
        assert!(page.contains("[1, 40, 128, 128]") && page.contains("viewBox=\"0 0 1024 1024\""));
    }
    // A signal is an image of one row.
    let conv =
        nn::network(|images| classes(nn::conv2d(images, "conv", Filters::new(4, 3).padding(1)).relu()));
    assert_short(&page(conv, &images(20, [1, 1, 20_000]))?);
    Ok(())
}

#[test]
fn many_samples_make_no_longer_page() -> Result<()> {
    let conv = nn::network(|images| classes(nn::conv2d(images, "conv", Filters::new(4, 3)).relu()));
    let [some, many] = [300, 6000].map(|count| page(conv, &images(count, [1, 6, 6])).unwrap().len());
    assert!(many < some + 2000, "{some} {many}");
    Ok(())
}

#[test]
fn a_densely_connected_network_is_drawn() -> Result<()> {
    let dense = |blocks: usize| {
        nn::network(move |images| {
            let mut all = vec![nn::conv2d(images, "first", Filters::new(2, 1))];
            for block in 0..blocks {
                let joined = images.graph().concat(&all, 1);
                all.push(nn::conv2d(joined, &format!("block{block}"), Filters::new(1, 1)));
            }
            classes(images.graph().concat(&all, 1))
        })
    };
    let drawn = page(dense(90), &images(4, [1, 3, 3]))?;
    assert_short(&drawn);
    // Each concatenation reads the first maps and those of all blocks before it.
    let edges = (0..=90).map(|blocks| blocks + 1).sum::<usize>();
    assert!(edges > 2000 && drawn.contains(" more edges are not drawn."));
    assert_eq!(drawn.matches("data-name=\"block").count(), 90, "as layers; there are too many operations");
    Ok(())
}

#[test]
fn a_network_of_thousands_of_layers_has_a_short_page() -> Result<()> {
    let deep = nn::network(|images| {
        let layer = |h, number| nn::linear(h, &format!("layer{number}"), 3).relu();
        nn::linear((0..1200).fold(images.flatten(), layer), "classes", 10)
    });
    let page = page(deep, &images(4, [1, 2, 2]))?;
    assert_short(&page);
    for text in
        ["more than 600 nodes, too many to draw", "… and 1\u{202f}903 more", "2\u{202f}000 largest are drawn"]
    {
        assert!(page.contains(text), "{text}");
    }
    Ok(())
}

#[test]
fn filters_of_any_number_and_size_have_a_picture() -> Result<()> {
    for (channels, count, side, size) in
        [(3, 1500, 3, 4), (300, 64, 1, 2), (1, 2, 101, 110), (1, 1, 300, 301)]
    {
        let conv = nn::network(move |images| classes(nn::conv2d(images, "conv", Filters::new(count, side))));
        let data = images(3, [channels, size, size]);
        let model = Model::new(conv, data.image_shape(), 0)?;
        let image = filters(model.store(), "conv.weight")?.fitted(512, 512).to_image()?;
        assert!(image.width() <= 512 && image.height() <= 512 && image.width().max(image.height()) > 256);
        assert_short(&page(conv, &data)?);
    }
    Ok(())
}

#[test]
fn curves_of_long_and_many_trainings_are_short() -> Result<()> {
    for (names, epochs) in [(1, 10_000), (300, 50)] {
        let (mut report, mut noise) = (Report::new("curves"), noise());
        for name in 0..names {
            let epoch = |number| {
                let values: [f64; 4] = std::array::from_fn(|_| noise.next().unwrap_or_default());
                let [loss, test_loss, train_accuracy, test_accuracy] = values;
                let figures = |loss, accuracy| Figures::new(loss).with("accuracy", accuracy);
                let (train, test) = (figures(loss, train_accuracy), figures(test_loss, test_accuracy));
                Epoch { number, loss, train, test, time: Duration::ZERO }
            };
            report.run(&format!("net{name}"), &(1..=epochs).map(epoch).collect::<Vec<_>>());
        }
        let page = report.to_html()?;
        assert_short(&page);
        let (hidden, together) = ("And 260 more, which are not drawn", "and of epochs in one point");
        assert_eq!((page.contains(hidden), page.contains(together)), (names > 40, epochs > 240));
    }
    Ok(())
}

#[test]
fn a_network_that_needs_two_images_to_train_is_shown_on_two() -> Result<()> {
    let network = nn::network(|images| {
        let rows = nn::conv2d(images, "conv", Filters::new(4, 3)).relu().mean(&[2, 3]);
        nn::linear(nn::batch_norm(rows, "norm", BatchNorm::default()), "classes", 10)
    });
    for count in [1, 2, 20] {
        let page = page(network, &images(count, [1, 6, 6]))?;
        assert!(page.contains("For 2 images: trainable numbers") && page.contains("[2, 4]"), "{count}");
    }
    Ok(())
}
