//! Filters, feature maps and saliency, compared with the images in `tests/images/`, pixel by pixel.
//!
//! `DAGRAD_WRITE_IMAGES=1 cargo test --test viz tiles` writes them anew; look at them before you keep them.

use std::io::Cursor;
use std::path::PathBuf;

use crate::common::{assert_mentions, assert_setting_error, message, root};
use dagrad::data::mnist_5k;
use dagrad::nn::{self, Filters, Model};
use dagrad::viz::{
    self, FeatureMaps, Occlusion, Tiles, feature_maps, filters, grad_cam, input_gradient, occlusion, overlay,
    read_image,
};
use dagrad::{Conv2dOptions, Init, Result, Store, Var};
use ndarray::{Array1, Array2, Array3, Array4, Axis, array, s};

/// Compares an image with the one of this name. Rounding may differ from machine to machine: by one shade of 255.
fn assert_looks_like(name: &str, tiles: &Tiles) {
    let path = root().join("tests/images").join(format!("{name}.png"));
    if std::env::var_os("DAGRAD_WRITE_IMAGES").is_some() {
        tiles.write(&path).unwrap();
    }
    let (about, expected) = png_pixels(&std::fs::read(&path).unwrap());
    let (found_about, found) = png_pixels(&tiles.to_png().unwrap());
    assert_eq!(found_about, about, "size and kind of pixels");
    let pairs = found.iter().zip(&expected);
    let off: Vec<usize> =
        pairs.enumerate().filter(|(_, (a, b))| a.abs_diff(**b) > 1).map(|(position, _)| position).collect();
    assert!(off.is_empty(), "{name}: {} bytes differ, the first at {}", off.len(), off[0]);
}

/// Size, kind and bytes of a PNG file's pixels.
fn png_pixels(file: &[u8]) -> ((u32, u32, png::ColorType), Vec<u8>) {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(frame.buffer_size(), bytes.len());
    ((frame.width, frame.height, frame.color_type), bytes)
}

/// Filters that any reader can name: edges in two directions, a spot, an even area.
fn edges() -> Array4<f32> {
    let vertical = array![[1.0, 0.0, -1.0], [1.0, 0.0, -1.0], [1.0, 0.0, -1.0]];
    let spot = array![[-1.0, -1.0, -1.0], [-1.0, 8.0, -1.0], [-1.0, -1.0, -1.0]];
    let mut weight = Array4::zeros((4, 1, 3, 3));
    weight.slice_mut(s![0, 0, .., ..]).assign(&vertical);
    weight.slice_mut(s![1, 0, .., ..]).assign(&vertical.t());
    weight.slice_mut(s![2, 0, .., ..]).assign(&spot);
    weight.slice_mut(s![3, 0, .., ..]).fill(1.0 / 9.0);
    weight
}

fn network<'g>(images: Var<'g>) -> Var<'g> {
    let h = nn::conv2d(images, "edges", Filters::new(4, 3).padding(1)).relu().max_pool2d(2);
    let h = nn::conv2d(h, "conv2", Filters::new(6, 5)).relu().named("second maps");
    nn::linear(h.flatten(), "classes", 10)
}

/// A model whose first filters are those above, and whose other weights are such that nothing depends on the machine's
/// rounding.
fn model() -> Model<fn(Var<'_>) -> Var<'_>> {
    let mut model = Model::new(network as fn(Var<'_>) -> Var<'_>, [1, 28, 28], 0).unwrap();
    model.store_mut().set("edges.weight", &edges().into_dyn()).unwrap();
    model
}

/// A digit, and its class.
fn digit() -> (Array4<f32>, Array1<u32>) {
    mnist_5k().unwrap().test.batch(&[250]).unwrap()
}

#[test]
fn filters_look_as_they_should() {
    let model = model();
    let first = filters(model.store(), "edges.weight").unwrap();
    assert_eq!(first.len(), 4);
    assert_looks_like("filters", &first.clone().zoom(4));
    assert_looks_like("filters_shared", &first.shared().zoom(4).columns(2));
    // A row for each filter, a tile for each of its channels.
    let second = filters(model.store(), "conv2.weight").unwrap();
    assert_eq!((second.len(), second.to_image().unwrap().width()), (6 * 4, 4 * 5 + 3 * 4));
}

#[test]
fn filters_of_three_channels_are_in_colours() {
    let mut store = Store::new(0);
    let weight = Array4::from_shape_fn((3, 3, 2, 2), |(filter, channel, y, x)| {
        f32::from(u8::from(filter == channel)) + 0.25 * (y + x) as f32
    });
    store.set("conv.weight", &weight.into_dyn()).unwrap();
    assert_looks_like("filters_in_colours", &filters(&store, "conv.weight").unwrap().zoom(8));
}

#[test]
fn what_is_no_filter_is_an_error_that_names_those_that_are() {
    let model = model();
    for name in ["classes.weight", "nothing"] {
        assert_mentions(&message(filters(model.store(), name)), &[name, "edges.weight", "conv2.weight"]);
    }
    assert_mentions(&message(filters(model.store(), "classes.weight")), &["is not [filters, channels,"]);
    let text = message(filters(model.store(), "egdes.weight"));
    assert_mentions(&text, &["no filters of this name; the nearest is \"edges.weight\""]);
    assert_mentions(&message(filters(&Store::new(0), "x")), &["none"]);
}

#[test]
fn feature_maps_are_the_outputs_of_layers() {
    let mut model = model();
    let (images, _) = digit();
    let maps = feature_maps(&mut model, &images).unwrap();
    let names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
    assert_eq!(names, ["edges", "relu", "max_pool2d", "conv2", "second maps"]);
    let FeatureMaps { shape, tiles, .. } = &maps[0];
    assert_eq!((shape, tiles.len()), (&[1, 4, 28, 28].into(), 4));
    assert_looks_like("feature_maps", tiles);
    // The vertical filter against its definition.
    let image = images.slice(s![0, 0, .., ..]);
    let at = |y: usize, x: usize| image.get((y.wrapping_sub(1), x.wrapping_sub(1))).copied().unwrap_or(0.0);
    let by_hand = Array3::from_shape_fn((1, 28, 28), |(_, y, x)| {
        (0..3).map(|row| at(y + row, x) - at(y + row, x + 2)).sum::<f32>()
    });
    assert_eq!(Tiles::new([by_hand]).to_png().unwrap(), tiles.clone().first(1).to_png().unwrap());
    assert!(feature_maps(&mut model, &Array4::zeros((0, 1, 28, 28))).is_err());
    assert!(feature_maps(&mut model, &Array4::zeros((1, 1, 20, 20))).is_err());
}

#[test]
fn what_only_moves_pixels_has_no_maps_of_its_own() {
    let network = nn::network(|images| {
        let weight = images.graph().param("weight", [2, 1, 1, 1], Init::ONES);
        let h = images.slice_step(2, .., 2).conv2d(weight, Conv2dOptions::new());
        nn::linear(h.pad(&[[0, 0], [1, 0], [0, 1], [0, 0]], 0.0).flatten(), "classes", 10)
    });
    let mut model = Model::new(network, [1, 28, 28], 0).unwrap();
    let maps = feature_maps(&mut model, &digit().0).unwrap();
    assert_eq!(maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>(), ["conv2d"]);
}

/// A network that looks at one corner alone: the logit of class 1 is the sum of a square of pixels.
fn corner<'g>(images: Var<'g>) -> Var<'g> {
    let square = images.slice(2, 2..6).slice(3, 10..14).sum(&[1, 2, 3]).reshape([images.shape()[0], 1]);
    images.graph().concat(&[square * 0.0, square], 1)
}

#[test]
fn gradient_and_occlusion_find_the_pixels_that_matter() {
    let mut model = Model::new(corner, [2, 16, 20], 0).unwrap();
    let images =
        Array4::from_shape_fn((2, 2, 16, 20), |(n, c, y, x)| 1.0 + (n + c) as f32 + 0.01 * (y * x) as f32);
    let is_inside = |y: usize, x: usize| (2..6).contains(&y) && (10..14).contains(&x);
    let found = input_gradient(&mut model, &images, &array![1, 0]).unwrap();
    for ((n, y, x), gradient) in found.indexed_iter() {
        assert_eq!(*gradient, f32::from(u8::from(n == 0 && is_inside(y, x))), "{n} {y} {x}");
    }
    // A patch of one pixel takes that pixel away, and nothing else.
    let options = Occlusion { patch: 1, stride: 1, value: 0.0 };
    let drops = occlusion(&mut model, &images, &array![1, 1], options).unwrap();
    for ((n, y, x), drop) in drops.indexed_iter() {
        let pixel = if is_inside(y, x) { images[[n, 0, y, x]] + images[[n, 1, y, x]] } else { 0.0 };
        assert!((drop - pixel).abs() < 1e-3, "{n} {y} {x}: {drop} for {pixel}");
    }
    // Every pixel is covered, with any stride up to its own size; patches beyond the image cover all of it.
    for (patch, stride) in [(3, 3), (5, 4), (99, 1)] {
        let options = Occlusion { patch, stride, value: -1.0 };
        let drops = occlusion(&mut model, &images, &array![1, 1], options).unwrap();
        assert!(drops.iter().all(|drop| drop.is_finite()));
        assert!(drops[[0, 3, 11]] > 0.0, "{patch} {stride}");
    }
}

#[test]
fn grad_cam_weighs_maps_by_their_gradients() {
    // Two maps: the image and its negative, of which the first speaks for class 0 and the second for class 1.
    let network = nn::network(|images| {
        let maps = images.graph().concat(&[images, -images], 1).relu().named("maps");
        maps.mean(&[2, 3])
    });
    let mut model = Model::new(network, [1, 8, 8], 0).unwrap();
    let mut images = Array4::zeros((2, 1, 8, 8));
    images[[0, 0, 2, 5]] = 64.0;
    images[[1, 0, 6, 1]] = -64.0;
    let heat = grad_cam(&mut model, &images, &array![0, 1], Some("maps")).unwrap();
    assert!((heat[[0, 2, 5]] - 1.0).abs() < 1e-6 && (heat[[1, 6, 1]] - 1.0).abs() < 1e-6);
    assert!((heat.sum() - 2.0).abs() < 1e-5);
    // The other class has nothing that speaks for it.
    assert_eq!(grad_cam(&mut model, &images, &array![1, 0], None).unwrap().sum(), 0.0);
    let text = message(grad_cam(&mut model, &images, &array![0, 1], Some("nowhere")));
    assert_mentions(&text, &["layer", "nowhere", "maps"]);
}

#[test]
fn heat_lies_over_a_digit() -> Result<()> {
    let mut model = model();
    let (images, classes) = digit();
    let heats = [
        input_gradient(&mut model, &images, &classes)?,
        occlusion(&mut model, &images, &classes, Occlusion::default())?,
        grad_cam(&mut model, &images, &classes, Some("max_pool2d"))?,
    ];
    let image = images.index_axis(Axis(0), 0);
    let mut tiles = Vec::new();
    for heat in &heats {
        tiles.push(overlay(image, heat.index_axis(Axis(0), 0))?);
    }
    assert_looks_like("saliency", &Tiles::new(tiles).between(0.0, 1.0));
    assert_setting_error(overlay(image, Array2::zeros((2, 2)).view()), "overlay", &["[2, 2]", "28"]);
    Ok(())
}

#[test]
fn saliency_of_what_does_not_fit_is_an_error() {
    let mut model = model();
    let (images, _) = digit();
    let small = Array4::zeros((1, 1, 20, 20));
    for images in [&small, &Array4::zeros((0, 1, 28, 28))] {
        assert_setting_error(input_gradient(&mut model, images, &array![0]), "images", &["28"]);
        assert_setting_error(grad_cam(&mut model, images, &array![0], None), "images", &["28"]);
        assert_setting_error(
            occlusion(&mut model, images, &array![0], Occlusion::default()),
            "images",
            &["28"],
        );
    }
    assert_setting_error(input_gradient(&mut model, &images, &array![0, 1]), "classes", &["2", "1"]);
    let beyond = array![10];
    for outcome in
        [input_gradient(&mut model, &images, &beyond), grad_cam(&mut model, &images, &beyond, None)]
    {
        assert_setting_error(outcome, "classes", &["label 10", "10 classes, 0 to 9"]);
    }
    let options = Occlusion::default();
    assert_setting_error(occlusion(&mut model, &images, &array![10], options), "classes", &["10"]);
    for (name, options) in
        [("patch", Occlusion { patch: 0, ..options }), ("stride", Occlusion { stride: 0, ..options })]
    {
        assert_setting_error(occlusion(&mut model, &images, &array![0], options), name, &["0"]);
    }
    let flat = nn::network(|images| nn::linear(images.flatten(), "fc", 3));
    let mut flat = Model::new(flat, [1, 28, 28], 0).unwrap();
    assert_setting_error(grad_cam(&mut flat, &images, &array![0], None), "layer", &["no maps"]);
}

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("dagrad-images-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn images_are_read_as_they_were_written() {
    let folder = folder("read");
    let path = folder.join("new/grey.png");
    let grey = array![[[0.0, 1.0, 0.2], [0.4, 0.6, 0.8]]];
    Tiles::new([grey.clone()]).between(0.0, 1.0).write(&path).unwrap();
    assert_eq!(read_image(&path, 1).unwrap(), grey);
    let colours = read_image(&path, 3).unwrap();
    assert_eq!((colours.dim(), colours[[2, 1, 1]]), ((3, 2, 3), 0.6));
    // A photograph: JPEG, in colours; and a name without an extension.
    let path = folder.join("photo.jpg");
    std::fs::write(&path, photo(None)).unwrap();
    std::fs::rename(&path, folder.join("photo")).unwrap();
    let photo = read_image(folder.join("photo"), 3).unwrap();
    assert_eq!(photo.dim(), (3, 16, 32));
    assert!(photo[[0, 8, 4]] > 0.9 && photo[[2, 8, 4]] < 0.1 && photo[[2, 8, 28]] > 0.9);
    assert!(read_image(folder.join("photo"), 2).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

/// A JPEG file of 32×16 pixels, red on the left and blue on the right, with or without Exif data.
fn photo(exif: Option<&[u8]>) -> Vec<u8> {
    let pixels: Vec<u8> =
        (0..16 * 32).flat_map(|i| if i % 32 < 16 { [255, 0, 0] } else { [0, 0, 255] }).collect();
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, 90);
    if let Some(exif) = exif {
        encoder.add_app_segment(1, &[b"Exif\0\0", exif].concat()).unwrap();
    }
    encoder.encode(&pixels, 32, 16, jpeg_encoder::ColorType::Rgb).unwrap();
    file
}

/// A PNG file of one row.
fn row(
    color: png::ColorType,
    depth: png::BitDepth,
    width: u32,
    palette: Option<&[u8]>,
    data: &[u8],
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, 1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette.to_vec());
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    file
}

/// What a kind of pixels is called, a file of two such pixels, and what they are in colours and in grey.
type Kind = (&'static str, Vec<u8>, [[u8; 3]; 2], [u8; 2]);

#[test]
fn pixels_of_every_kind_are_read_as_grey_and_as_colours() {
    use png::BitDepth::{Eight, One, Sixteen};
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let folder = folder("kinds");
    // Grey of red is 0.299 · 255 = 76, and of blue 0.114 · 255 = 29.
    let colours = [[255, 0, 0], [0, 0, 255]];
    let cases: [Kind; 7] = [
        ("grey", row(Grayscale, Eight, 2, None, &[7, 200]), [[7; 3], [200; 3]], [7, 200]),
        ("bits", row(Grayscale, One, 2, None, &[0b0100_0000]), [[0; 3], [255; 3]], [0, 255]),
        // 0x1280 / 257 is 18.4, 0x12ff / 257 is 18.9.
        (
            "16 bits",
            row(Grayscale, Sixteen, 2, None, &[0x12, 0x80, 0x12, 0xff]),
            [[18; 3], [19; 3]],
            [18, 19],
        ),
        ("alpha", row(GrayscaleAlpha, Eight, 2, None, &[9, 0, 10, 255]), [[9; 3], [10; 3]], [9, 10]),
        ("colours", row(Rgb, Eight, 2, None, &[255, 0, 0, 0, 0, 255]), colours, [76, 29]),
        ("clear colours", row(Rgba, Eight, 2, None, &[255, 0, 0, 5, 0, 0, 255, 0]), colours, [76, 29]),
        ("palette", row(Indexed, Eight, 2, Some(&[0, 0, 255, 255, 0, 0]), &[1, 0]), colours, [76, 29]),
    ];
    for (name, bytes, colours, grey) in cases {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let found = read_image(&path, 3).unwrap().mapv(|value| (255.0 * value).round() as u8);
        let expected = Array3::from_shape_fn((3, 1, 2), |(channel, _, x)| colours[x][channel]);
        assert_eq!(found, expected, "{name}, in colours");
        let found = read_image(&path, 1).unwrap().mapv(|value| (255.0 * value).round() as u8);
        assert_eq!(found.into_raw_vec_and_offset().0, grey, "{name}, in grey");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn photographs_are_turned_as_the_camera_was_held() {
    let folder = folder("turned");
    let path = folder.join("photo.jpg");
    // Where red is: the corner rows and columns of an image of two halves.
    for (orientation, red) in [
        (1, "left"),
        (2, "right"),
        (3, "right"),
        (4, "left"),
        (5, "above"),
        (6, "above"),
        (7, "below"),
        (8, "below"),
    ] {
        // One entry, in either order of bytes: tag 0x112, a short, once.
        let big =
            [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0]];
        let little = [
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0, 0, 0, 0, 0],
        ];
        for exif in [big.concat(), little.concat()] {
            std::fs::write(&path, photo(Some(&exif))).unwrap();
            let image = read_image(&path, 3).unwrap();
            let upright = if orientation > 4 { (3, 32, 16) } else { (3, 16, 32) };
            assert_eq!(image.dim(), upright, "{orientation}");
            let (_, height, width) = image.dim();
            let (y, x) = match red {
                "left" => (height / 2, 2),
                "right" => (height / 2, width - 3),
                "above" => (2, width / 2),
                _ => (height - 3, width / 2),
            };
            assert!(image[[0, y, x]] > 0.9 && image[[2, y, x]] < 0.1, "{orientation}: red is not {red}");
        }
    }
    // What is no Exif data is passed over.
    for exif in [&b"MM\0*\xff\xff\xff\xff"[..], b"MM", b"II*\0\x08\0\0\0\xff\xff"] {
        std::fs::write(&path, photo(Some(exif))).unwrap();
        assert_eq!(read_image(&path, 1).unwrap().dim(), (1, 16, 32));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn broken_and_huge_files_are_errors_that_name_them() {
    let folder = folder("broken");
    let png = Tiles::new([Array3::from_shape_fn((1, 40, 40), |(_, y, x)| ((y * 7919 + x * 31) % 97) as f32)])
        .to_png();
    let png = png.unwrap();
    let mut wrong = png.clone();
    wrong[60] ^= 0xff;
    // 40,000×40,000 pixels are promised, and some bytes delivered. (The header's checksum is correct.)
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0, 0, 0x9c, 0x40, 0, 0, 0x9c, 0x40]);
    let checksum = crc32(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&checksum);
    let photo = photo(None);
    let files: [(&str, &[u8], &str); 7] = [
        ("cut.png", &png[..png.len() / 2], ""),
        ("wrong.png", &wrong, ""),
        ("empty.png", &[], ""),
        ("text.png", b"not an image", "neither a PNG nor a JPEG"),
        ("scan.tiff", b"II*\0\x08\0\0\0", "neither a PNG nor a JPEG"),
        ("cut.jpg", &photo[..40], ""),
        ("huge.png", &huge, "40000×40000"),
    ];
    for (name, bytes, part) in files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        assert_mentions(&message(read_image(&path, 1)), &[name, part]);
    }
    assert_mentions(&message(read_image(folder.join("absent.png"), 1)), &["absent.png"]);
    assert_mentions(&message(read_image(&folder, 1)), &["dagrad-images"]);
    let below_a_file = folder.join("cut.png/filters.png");
    assert_mentions(&message(viz::Tiles::new([]).write(below_a_file)), &["filters.png"]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// What stands for a transparent pixel below; no test has this shade.
const GONE: u8 = 77;
/// Pixels between tiles.
const GAP: usize = 4;

/// The width of a grey image, and its shades.
fn pixels(tiles: &Tiles) -> (u32, Vec<u8>) {
    let image = tiles.to_image().unwrap();
    assert_eq!(image.channels(), 2);
    let shades = image.bytes().chunks(2).map(|pixel| if pixel[1] == 0 { GONE } else { pixel[0] });
    (image.width(), shades.collect())
}

#[test]
fn each_tile_goes_from_black_to_white_or_all_do_together() {
    let tiles = Tiles::new([array![[[0.0, 1.0], [3.0, 2.0]]], array![[[5.0, -5.0]]]]);
    let gap = [GONE; GAP];
    assert_eq!(pixels(&tiles), (8, [&[0, 85][..], &gap, &[255, 0, 255, 170], &gap, &[GONE; 2]].concat()));
    assert_eq!(
        pixels(&tiles.clone().shared()),
        (8, [&[128, 153][..], &gap, &[255, 0, 204, 179], &gap, &[GONE; 2]].concat())
    );
    assert_eq!(pixels(&tiles.between(0.0, 2.0).first(1)), (2, vec![0, 128, 255, 255]));
}

#[test]
fn what_has_no_shade_is_grey() {
    let tiles = Tiles::new([array![[[f32::NAN, 1.0, 2.0]]], array![[[4.0, 4.0, 4.0]]]]).columns(1);
    let gap = [GONE; 3 * GAP];
    assert_eq!(pixels(&tiles).1, [&[128, 0, 255][..], &gap, &[128; 3]].concat());
    assert_eq!(pixels(&Tiles::new([])), (1, vec![GONE]));
    let huge = Tiles::new([array![[[f32::MAX, f32::MIN, 0.0]]]]);
    assert_eq!(pixels(&huge).1, [255, 0, 128]);
}

#[test]
fn numbers_become_squares_and_three_planes_colours() {
    let tiles = Tiles::new([array![[[0.0, 1.0]]]]).zoom(2);
    assert_eq!(pixels(&tiles), (4, vec![0, 0, 255, 255, 0, 0, 255, 255]));
    let colours = Tiles::new([array![[[0.0]], [[1.0]], [[0.5]]], array![[[7.0]]]]).between(0.0, 1.0);
    let dots = [&[0, 255, 128, 255][..], &[0; 4 * GAP], &[255; 4]].concat();
    let image = colours.to_image().unwrap();
    assert_eq!((image.channels(), image.bytes()), (4, &dots[..]));
}

#[test]
fn images_are_fitted_by_whole_numbers() {
    let tiles = Tiles::new([Array3::zeros((1, 5, 5)), Array3::zeros((1, 5, 5))]);
    let size = |tiles: Tiles| {
        let image = tiles.to_image().unwrap();
        [image.width(), image.height()]
    };
    // Each of ten numbers becomes 4 or 3 pixels, beside a gap of four. A low image bounds it, too.
    for (width, height, expected) in [(44, 99, [44, 20]), (43, 99, [34, 15]), (99, 12, [24, 10])] {
        assert_eq!(size(tiles.clone().fitted(width, height)), expected);
    }
    // 16 pixels are left to each tile, or the last are not shown.
    for (width, height, shown) in [(36, 16, 2), (35, 16, 1), (1, 1, 1)] {
        assert_eq!(tiles.clone().fitted(width, height).len(), shown);
    }
    let rows = Tiles::new((0..64 * 300).map(|_| Array3::zeros((1, 7, 7)))).columns(300).fitted(512, 512);
    assert_eq!((rows.len(), size(rows)), (25 * 25, [25 * 14 + 24 * 4; 2]));
    assert_eq!(Tiles::new([]).fitted(9, 9).len(), 0);
    assert_eq!(size(Tiles::new([Array3::zeros((1, 1, 1))]).fitted(usize::MAX, 3)), [3, 3]);
}

#[test]
fn images_are_reduced_to_means_of_squares() {
    let values = Array3::from_shape_fn((1, 40, 50), |(_, y, x)| (y / 20 * 100 + x / 20 * 10) as f32);
    // A square is of 2×2 numbers within 20 pixels in height, and of 3×3 within 17 in width, of which the last are cut.
    let tile = Tiles::new([values.clone()]).between(0.0, 255.0).fitted(99, 20).to_image().unwrap();
    assert_eq!((tile.width(), tile.height(), tile.bytes()[0], tile.bytes()[2 * 10]), (25, 20, 0, 10));
    assert_eq!(tile.bytes()[2 * (25 * 19 + 24)], 120);
    let cut = Tiles::new([values]).between(0.0, 255.0).fitted(17, 99).to_image().unwrap();
    assert_eq!((cut.width(), cut.height()), (17, 14));
    // Row 6 of columns 18, 19 and 20 is dark, dark and 10: their mean is 10 / 3.
    assert_eq!(cut.bytes()[2 * 6], 3);
    // What is no number stays to be seen, and large numbers do not overflow.
    let odd = array![[[f32::NAN, 1.0, f32::MAX, f32::MAX], [1.0, 1.0, f32::MAX, f32::MAX]]];
    let odd = Tiles::new([odd]).fitted(2, 2).to_image().unwrap();
    assert_eq!(odd.bytes(), [128, 255, 128, 255], "grey for no number; and a tile of one number is grey");
}

#[test]
fn planes_come_in_order() {
    // The top left number of each tile is a shade of its own.
    let first = |shape: [usize; 4]| {
        let values = Array1::from_iter((0..24).map(|i| i as f32)).into_shape_with_order(shape).unwrap();
        let mut store = Store::new(0);
        store.set("w", &values.into_dyn()).unwrap();
        let tiles = filters(&store, "w").unwrap().columns(8).between(0.0, 255.0);
        let image = tiles.to_image().unwrap();
        let corners = (0..tiles.len()).map(|tile| image.bytes()[tile * (2 + GAP) * image.channels()]);
        (image.channels(), corners.collect::<Vec<_>>())
    };
    assert_eq!(first([2, 3, 2, 2]), (4, vec![0, 12]));
    assert_eq!(first([3, 2, 2, 2]), (2, vec![0, 4, 8, 12, 16, 20]));
}

#[test]
fn too_large_and_oddly_shaped_images_are_errors() {
    assert!(Tiles::new([Array3::zeros((2, 1, 1))]).to_image().is_err());
    assert!(Tiles::new([Array3::zeros((1, 2, 2))]).zoom(usize::MAX / 2).to_image().is_err());
    assert!(Tiles::new([Array3::zeros((1, 2, 2))]).zoom(10_000).to_image().is_err());
}
