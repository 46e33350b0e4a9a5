//! A folder of images by class.

use std::fs;
use std::path::PathBuf;

use super::{Folder, assert_data_error};
use crate::common::assert_setting_error;
use dagrad::data::folder::{self, Fit};
use dagrad::data::{Dataset, Samples};
use flate2::Crc;

/// A PNG file of grey or coloured pixels.
fn png(color: png::ColorType, width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    file
}

fn grey(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    png(png::ColorType::Grayscale, width, height, pixels)
}

fn jpeg(side: u16, color: [u8; 3]) -> Vec<u8> {
    let mut file = Vec::new();
    let pixels: Vec<u8> = color.into_iter().cycle().take(3 * usize::from(side).pow(2)).collect();
    jpeg_encoder::Encoder::new(&mut file, 95)
        .encode(&pixels, side, side, jpeg_encoder::ColorType::Rgb)
        .unwrap();
    file
}

impl Folder {
    /// Writes a file in folders that are made.
    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::create_dir_all(self.0.join(name).parent().unwrap()).unwrap();
        self.write(name, bytes)
    }
}

fn load(folder: &Folder, fit: Fit) -> dagrad::Result<Dataset> {
    folder::load(&folder.0, [1, 1, 2], fit)
}

#[test]
fn classes_and_files_are_sorted_as_torchvision_sorts_them() {
    let folder = Folder::new();
    // The first pixel of each file is its position in the order.
    let files = [
        "Zebra/1.png",
        "cat/10.png",
        "cat/2.PNG",
        "cat/B.png",
        "cat/a.png",
        "cat/sub/0.png",
        "cat/sub-x/1.png",
        "cat/sub/deep/1.png",
        "dog/only.png",
        "größe/1.png",
    ];
    for (position, name) in files.iter().enumerate().rev() {
        folder.put(name, &grey(2, 1, &[position as u8, 100]));
    }
    // None of these is a sample.
    for name in [
        "notes.txt",
        "cat/list.csv",
        "cat/.hidden.png",
        "cat/.ipynb_checkpoints/1.png",
        "cat/sub/Thumbs.db",
        "top.png",
    ] {
        folder.put(name, b"no image");
    }
    fs::create_dir_all(folder.0.join(".git/objects")).unwrap();
    let dataset = load(&folder, Fit::Exact).unwrap();
    assert_eq!(dataset.class_names().unwrap(), ["Zebra", "cat", "dog", "größe"]);
    assert_eq!(dataset.labels(), [0, 1, 1, 1, 1, 1, 1, 1, 2, 3]);
    let order: Vec<u8> = (0..10).map(|sample| dataset.pixels(sample).unwrap()[0]).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn grey_and_colour_come_as_they_are_asked_for() {
    let folder = Folder::new();
    let colours = png(png::ColorType::Rgba, 2, 1, &[255, 0, 0, 255, 0, 0, 255, 0]);
    folder.put("a/1.png", &colours);
    folder.put("b/1.png", &grey(2, 1, &[7, 9]));
    let three = folder::load(&folder.0, [3, 1, 2], Fit::Exact).unwrap();
    assert_eq!(three.pixels(0).unwrap(), [255, 0, 0, 0, 0, 255]);
    assert_eq!(three.pixels(1).unwrap(), [7, 9, 7, 9, 7, 9]);
    assert_eq!(load(&folder, Fit::Exact).unwrap().pixels(0).unwrap(), [76, 29]);
    fs::remove_dir_all(folder.0.join("a")).unwrap();
    fs::remove_dir_all(folder.0.join("b")).unwrap();
    folder.put("c/photo.JPG", &jpeg(16, [200, 30, 60]));
    let photo = folder::load(&folder.0, [3, 16, 16], Fit::Exact).unwrap();
    for (channel, expected) in [200u8, 30, 60].into_iter().enumerate() {
        assert!(
            photo.pixels(0).unwrap()[256 * channel..][..256].iter().all(|byte| byte.abs_diff(expected) < 4)
        );
    }
    use jpeg_encoder::ColorType::{Cmyk, CmykAsYcck, Luma};
    let red = [0, 255, 255, 0].repeat(256); // in the colours of printers
    let files = [(Cmyk, &red, [255, 0, 0]), (CmykAsYcck, &red, [255, 0, 0]), (Luma, &vec![90; 256], [90; 3])];
    for (color, pixels, expected) in files {
        let mut file = Vec::new();
        jpeg_encoder::Encoder::new(&mut file, 95).encode(pixels, 16, 16, color).unwrap();
        folder.put("c/photo.JPG", &file);
        let image = folder::load(&folder.0, [3, 16, 16], Fit::Exact).unwrap();
        assert_eq!(
            [0, 1, 2].map(|channel| image.pixels(0).unwrap()[256 * channel + 99]),
            expected,
            "{color:?}"
        );
    }
    assert_setting_error(folder::load(&folder.0, [2, 16, 16], Fit::Exact), "channels", &["2"]);
    assert_setting_error(folder::load(&folder.0, [1, 0, 16], Fit::Exact), "image_shape", &["no pixels"]);
    assert_setting_error(
        folder::load(&folder.0, [1, usize::MAX, 16], Fit::Exact),
        "image_shape",
        &["too many"],
    );
}

#[test]
fn images_of_another_size_are_refused_or_resized() {
    let folder = Folder::new();
    let path = folder.put("a/1.png", &grey(4, 1, &[0, 0, 255, 255]));
    assert_data_error(load(&folder, Fit::Exact), &path, &["1×4 pixels", "not 1×2", "Fit::Crop"]);
    // The triangle of antialiasing is 4 pixels wide: weights 0.75, 0.75, 0.25 of 1.75.
    assert_eq!(load(&folder, Fit::Stretch).unwrap().pixels(0).unwrap(), [36, 219]);
    // The height fits, so the middle is taken as it is.
    assert_eq!(load(&folder, Fit::Crop).unwrap().pixels(0).unwrap(), [0, 255]);
    // Up: positions 0.25, 0.75, 1.25 and 1.75 in an image of 2 pixels.
    folder.put("a/1.png", &grey(2, 1, &[0, 100]));
    let wide = folder::load(&folder.0, [1, 1, 4], Fit::Stretch).unwrap();
    assert_eq!(wide.pixels(0).unwrap(), [0, 25, 75, 100]);
    // Both axes: the mean of each quarter, for pixels that agree in theirs; and the middle rows of a high image.
    folder.put("a/1.png", &grey(4, 8, &[0, 1, 2, 3, 4, 5, 6, 7].map(|row| [10 * row; 4]).concat()));
    let low = folder::load(&folder.0, [1, 2, 4], Fit::Crop).unwrap();
    assert_eq!(low.pixels(0).unwrap(), [30, 30, 30, 30, 40, 40, 40, 40]);
    let odd = folder::load(&folder.0, [1, 3, 4], Fit::Crop).unwrap(); // 2.5 rows above: 2, as Python rounds
    assert_eq!(odd.pixels(0).unwrap(), [[20; 4], [30; 4], [40; 4]].concat());
    let square = folder::load(&folder.0, [1, 2, 2], Fit::Crop).unwrap(); // as if resized to 4×2 first
    assert_eq!(square.pixels(0).unwrap(), [25, 25, 45, 45]);
    // A constant stays what it is, whatever the sizes.
    folder.put("a/1.png", &grey(13, 7, &[201; 91]));
    for shape in [[1, 3, 5], [3, 20, 30], [1, 1, 1], [1, 7, 12], [3, 8, 13]] {
        for fit in [Fit::Crop, Fit::Stretch] {
            let image = folder::load(&folder.0, shape, fit).unwrap();
            assert!(image.pixels(0).unwrap().iter().all(|&byte| byte == 201), "{shape:?}");
        }
    }
    // A line of pixels takes no more memory than itself, though to cover a square it would have 16,000,000.
    folder.put("a/1.png", &grey(1, 4000, &[9; 4000]));
    let high = folder::load(&folder.0, [1, 64, 64], Fit::Crop).unwrap();
    assert!(high.pixels(0).unwrap().iter().all(|&byte| byte == 9));
}

#[test]
fn two_parts_have_the_same_classes() {
    let folder = Folder::new();
    for name in ["train/cat/1.png", "train/dog/1.png", "train/dog/2.png", "val/cat/1.png", "val/dog/1.png"] {
        folder.put(name, &grey(2, 1, &[1, 2]));
    }
    let split = folder::load_split(&folder.0, [1, 1, 2], Fit::Exact).unwrap();
    assert_eq!((split.train.labels(), split.test.labels()), ([0, 1, 1].as_slice(), [0, 1].as_slice()));
    folder.put("val/ant/1.png", &grey(2, 1, &[1, 2]));
    fs::remove_dir_all(folder.0.join("val/cat")).unwrap();
    let outcome = folder::load_split(&folder.0, [1, 1, 2], Fit::Exact);
    assert_data_error(outcome, &folder.0, &["\"ant\"", "\"cat\""]);
    fs::remove_dir_all(folder.0.join("val")).unwrap();
    let outcome = folder::load_split(&folder.0, [1, 1, 2], Fit::Exact);
    assert_data_error(outcome, &folder.0.join("test"), &["cannot be opened"]);
}

#[test]
fn folders_that_are_no_classes_of_images_are_errors() {
    let folder = Folder::new();
    assert_data_error(load(&folder, Fit::Exact), &folder.0, &["no folders"]);
    let file = folder.put("1.png", &grey(2, 1, &[1, 2]));
    assert_data_error(load(&folder, Fit::Exact), &folder.0, &["no folders"]);
    assert_data_error(folder::load(&file, [1, 1, 2], Fit::Exact), &file, &["cannot be opened"]);
    let absent = folder.0.join("absent");
    assert_data_error(folder::load(&absent, [1, 1, 2], Fit::Exact), &absent, &["cannot be opened"]);
    folder.put("cat/1.png", &grey(2, 1, &[1, 2]));
    fs::create_dir_all(folder.0.join("dog/empty")).unwrap();
    assert_data_error(load(&folder, Fit::Exact), &folder.0.join("dog"), &["no images"]);
    let other = folder.put("dog/1.webp", b"RIFF");
    assert_data_error(load(&folder, Fit::Exact), &other, &["only PNG and JPEG"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    use std::os::unix::fs::symlink;
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    folder.put("cat/1.png", &grey(2, 1, &[1, 2]));
    elsewhere.put("2.png", &grey(2, 1, &[3, 4]));
    symlink(&elsewhere.0, folder.0.join("dog")).unwrap();
    symlink(folder.0.join("cat/1.png"), folder.0.join("cat/3.png")).unwrap();
    assert_eq!(load(&folder, Fit::Exact).unwrap().labels(), [0, 0, 1]);
    let loops = folder.0.join("cat/loop");
    for target in [folder.0.clone(), folder.0.join("cat"), elsewhere.0.clone()] {
        symlink(target, &loops).unwrap();
        let outcome = load(&folder, Fit::Exact).unwrap_err().to_string();
        assert!(outcome.contains("is a link to a folder that is read already"), "{outcome}");
        fs::remove_file(&loops).unwrap();
    }
    symlink(&loops, &loops).unwrap(); // a link to itself has no ending of an image
    assert!(load(&folder, Fit::Exact).is_ok());
    let image = folder.0.join("cat/4.png");
    symlink(&image, &image).unwrap();
    assert_data_error(load(&folder, Fit::Exact), &image, &[]);
    fs::remove_file(&image).unwrap();
    symlink("/dev/zero", &image).unwrap();
    assert_data_error(load(&folder, Fit::Exact), &image, &["not a regular file"]);
}

/// The checksum of a chunk of PNG, after its type and data.
fn repaired(mut file: Vec<u8>) -> Vec<u8> {
    let mut sum = Crc::new();
    sum.update(&file[12..29]);
    file[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    file
}

#[test]
fn images_that_are_damaged_or_lie_are_errors_with_their_path() {
    let folder = Folder::new();
    let (small, photo) = (grey(2, 1, &[1, 2]), jpeg(8, [1, 2, 3]));
    for (name, whole, shape) in [("a/1.png", &small, [1, 1, 2]), ("a/1.jpg", &photo, [1, 8, 8])] {
        for length in 0..whole.len() {
            let path = folder.put(name, &whole[..length]);
            assert_data_error(folder::load(&folder.0, shape, Fit::Exact), &path, &[]);
        }
        let path = folder.put(name, whole);
        assert!(folder::load(&folder.0, shape, Fit::Exact).is_ok());
        fs::remove_file(path).unwrap();
    }
    // 2³¹ pixels and more are promised.
    for size in [[0x8000u32, 0x10000], [0x7fff_ffff, 1], [1, 0x7fff_ffff], [0x7fff_ffff; 2]] {
        let mut huge = small.clone();
        huge[16..20].copy_from_slice(&size[0].to_be_bytes());
        huge[20..24].copy_from_slice(&size[1].to_be_bytes());
        let path = folder.put("a/1.png", &repaired(huge));
        assert_data_error(load(&folder, Fit::Crop), &path, &["pixels are more than 67108864"]);
    }
    fs::remove_file(folder.0.join("a/1.png")).unwrap();
    let frame = photo.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let mut huge = photo.clone();
    huge[frame + 5..frame + 9].fill(0xff);
    let path = folder.put("a/1.jpg", &huge);
    assert_data_error(load(&folder, Fit::Crop), &path, &["65535×65535 pixels"]);
    let mut none = photo;
    none[frame + 5..frame + 9].fill(0);
    let path = folder.put("a/1.jpg", &none);
    assert_data_error(load(&folder, Fit::Crop), &path, &[]);
}
