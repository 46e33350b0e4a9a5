//! What a filter detects: a filter that is bright on the left and dark on the right finds vertical edges.
//!
//! The convolution is the one that networks learn with; the filters are written by hand here.
//!
//! `cargo run --release --example filters -- --image photo.png`

mod arguments;

use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Flags, say};
use dagrad::viz::{Tiles, read_image};
use dagrad::{Conv2dOptions, Graph, Plan, Result, Store, Workspace, data};
use ndarray::{Array3, Array4, Axis};

const HELP: &str = "\
Applies edge filters to an image.

Usage: cargo run --release --example filters -- [FLAGS]

  --image FILE   a PNG or JPEG file, grey or in colours; without it, a handwritten digit
  --out DIR      the folder that the images are written to [target/filters]";

struct Arguments {
    image: Option<PathBuf>,
    out: PathBuf,
}

impl Arguments {
    fn read(flags: &mut Flags) -> std::result::Result<Self, String> {
        let mut read = Self { image: None, out: PathBuf::from("target/filters") };
        while let Some(flag) = flags.next()? {
            match flag.as_str() {
                "--image" => read.image = Some(flags.path()?),
                "--out" => read.out = flags.path()?,
                _ => return flags.unknown(),
            }
        }
        Ok(read)
    }
}

/// The filters: a name, what it finds, and its weights. Each adds up to 0, so that the output of an even area is 0.
const FILTERS: [(&str, &str, [f32; 9]); 4] = [
    ("vertical", "vertical edges, bright on the left", [1.0, 0.0, -1.0, 1.0, 0.0, -1.0, 1.0, 0.0, -1.0]),
    ("horizontal", "horizontal edges, bright above", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0]),
    ("diagonal", "edges from lower left to upper right", [1.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, -1.0]),
    (
        "spots",
        "points and lines brighter than what surrounds them",
        [-1.0, -1.0, -1.0, -1.0, 8.0, -1.0, -1.0, -1.0, -1.0],
    ),
];

fn main() -> ExitCode {
    arguments::start(HELP, Arguments::read, run)
}

fn run(arguments: &Arguments) -> Result<()> {
    let image = match &arguments.image {
        Some(path) => read_image(path, 1)?,
        None => data::mnist_5k()?.test.batch(&[0])?.0.index_axis_move(Axis(0), 0),
    };
    let (_, height, width) = image.dim();
    // Small images are enlarged.
    let zoom = (400 / height.max(width).max(1)).max(1);
    let file = |name: &str| arguments.out.join(format!("{name}.png"));
    Tiles::new([image.clone()]).between(0.0, 1.0).zoom(zoom).write(file("image"))?;
    let filters =
        Array4::from_shape_fn((FILTERS.len(), 1, 3, 3), |(filter, _, y, x)| FILTERS[filter].2[3 * y + x]);
    let tiles = filters.outer_iter().map(|filter| filter.to_owned());
    Tiles::new(tiles).zoom(24).write(file("filters"))?;

    let maps = feature_maps(&image, &filters)?;
    say!("{width}×{height} pixels; mean size of each filter's outputs:");
    for ((name, finds, _), map) in FILTERS.iter().zip(maps.outer_iter()) {
        // Grey: 0; white: such an edge; black: its opposite.
        let strongest = map.fold(0.0f32, |most, value| most.max(value.abs()));
        let tile = map.to_owned().insert_axis(Axis(0));
        Tiles::new([tile]).between(-strongest, strongest).zoom(zoom).write(file(name))?;
        let mean = map.mapv(f32::abs).mean().unwrap_or(0.0);
        say!("{name:<12}{mean:>8.4}  {finds}");
    }
    say!("images: {}", arguments.out.display());
    Ok(())
}

/// The feature map of each filter, `[filters, height, width]`. Beyond its border the image goes on as it ends there,
/// for zeros would make edges of it.
fn feature_maps(image: &Array3<f32>, filters: &Array4<f32>) -> Result<Array3<f32>> {
    let graph = Graph::new();
    let (channels, height, width) = image.dim();
    let x = graph.input("image", [1, channels, height, width]);
    let weight = graph.input("filters", filters.shape());
    let padded = x.pad_replicate(&[[0, 0], [0, 0], [1, 1], [1, 1]]);
    let y = padded.conv2d(weight, Conv2dOptions::new()).reshape([FILTERS.len(), height, width]);
    let plan = Plan::compile(&graph, &[y])?;
    let (mut store, mut workspace) = (Store::new(0), Workspace::for_this_machine()?);
    let image = image.view().insert_axis(Axis(0));
    let outputs = plan.run(&mut store, &mut workspace, &[x.feed(&image), weight.feed(filters)])?;
    let maps = outputs.at(0).and_then(|maps| maps.to_owned().into_dimensionality().ok());
    Ok(maps.unwrap_or_else(|| Array3::zeros((0, height, width))))
}
