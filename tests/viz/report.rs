//! A report in a browser: nothing is fetched, nothing fails, every section has its chart or images, and a click on a node
//! shows its facts.
//!
//! It needs Chromium (`apt install chromium`), and is skipped with a message where there is none.

use std::path::{Path, PathBuf};
use std::process::Command;

use dagrad::data::{Dataset, Draw, Field, Samples, Slot, mnist_5k};
use dagrad::nn::{self, BatchNorm, Filters, Model};
use dagrad::optim::Adam;
use dagrad::train::{FitOptions, Goal, Learner, Metric, Progress, evaluate, fit, objective};
use dagrad::viz::{Report, Start};
use dagrad::{CrossEntropy, Result, Var, Workspace};
use serde_json::Value;

fn network<'g>(images: Var<'g>) -> Var<'g> {
    let h = nn::conv2d(images, "conv1", Filters::new(4, 3)).relu().max_pool2d(2);
    let h = nn::conv2d(h, "conv2", Filters::new(3, 5).padding(1)).relu().named("last map");
    nn::linear(h.flatten(), "classes", 10)
}

/// A page about a small network, trained twice for three epochs.
fn page() -> Result<String> {
    let digits = mnist_5k()?;
    let (train, test) = (digits.train.take(300), digits.test.take(60));
    let mut report = Report::new("A small network");
    for seed in [0, 1] {
        let mut model = Model::new(network, train.image_shape(), seed)?;
        let options = FitOptions { epochs: 3, seed, progress: Progress::Quiet, ..FitOptions::default() };
        let (start, optimizer) = (Start::of(&model), Adam::new(1e-2));
        let epochs = fit(&mut model, &optimizer, &train, &test, options)?;
        report.run("small", &epochs);
        if seed == 1 {
            report.network("small", &start, &mut model, &optimizer, &test)?;
        }
    }
    report.table("Comparison", &["network", "weights"], [vec!["small".to_string(), "9".to_string()]]);
    report.to_html()
}

#[test]
fn a_report_leaves_the_model_as_it_is() -> Result<()> {
    let digits = mnist_5k()?.test.take(20);
    let mut model = Model::new(network, digits.image_shape(), 3)?;
    let before: Vec<_> = model.store().names().map(str::to_string).collect();
    let values = |model: &Model<_>| {
        before.iter().map(|name| model.store().get(name).map(|v| v.to_owned())).collect::<Vec<_>>()
    };
    let (start, old) = (Start::of(&model), values(&model));
    Report::new("").network("x", &start, &mut model, &Adam::new(0.5), &digits)?;
    assert_eq!(values(&model), old);
    assert_eq!(model.store().names().count(), before.len());
    assert_eq!(model.store().step(), 0);
    Ok(())
}

#[test]
fn a_report_needs_images_that_fit() -> Result<()> {
    let digits = mnist_5k()?.test;
    let mut model = Model::new(network, [1, 20, 20], 3)?;
    let start = Start::of(&model);
    let mut show = |data| Report::new("").network("x", &start, &mut model, &Adam::new(0.5), &data);
    assert!(show(digits.clone().take(2)).is_err());
    assert!(show(digits.clone().take(0)).unwrap_err().to_string().contains("no images"));

    let few = nn::network(|images| nn::linear(images.flatten(), "fc", 4));
    let mut model = Model::new(few, digits.image_shape(), 0)?;
    let start = Start::of(&model);
    let shown = Report::new("").network("x", &start, &mut model, &Adam::new(0.5), &digits.take(6));
    assert!(shown.unwrap_err().to_string().contains("sample 4 has label 4, but the network has 4 classes"));
    Ok(())
}

#[test]
fn images_of_any_number_of_channels_can_be_shown() -> Result<()> {
    for channels in [2, 3, 4] {
        let pixels = (0..5 * channels * 64).map(|number| (number * 37 % 256) as u8).collect();
        let data = Dataset::new(pixels, [channels, 8, 8], vec![0, 1, 2, 3, 3], 4)?;
        let mut model =
            Model::new(nn::network(|images| nn::linear(images.flatten(), "fc", 4)), [channels, 8, 8], 0)?;
        let (start, mut report) = (Start::of(&model), Report::new("channels"));
        report.network("flat", &start, &mut model, &Adam::new(0.1), &data)?;
        assert!(report.to_html()?.contains("Confusion"));
    }
    Ok(())
}

/// Notes what goes wrong from the start of the page on.
const WATCH: &str = "<script>window.faults = [];
addEventListener('error', (event) => faults.push(String(event.message || event.target.outerHTML)), true);
console.error = (...all) => faults.push(all.join(' '));</script>";

/// Clicks, and writes down what is there.
const ASK: &str = "<script>addEventListener('load', () => {
const all = (what) => [...document.querySelectorAll(what)];
const click = (node) => node.dispatchEvent(new MouseEvent('click', { bubbles: true }));
const nodes = () => all('.drawing:not([hidden]) .node');
const named = (name) => nodes().find((node) => node.dataset.name.startsWith(name));
const frame = document.querySelector('.field rect');
const look = (node) => {
  click(node);
  const box = ['x', 'y', 'width', 'height'].map((name) => Number(frame.getAttribute(name)));
  return { details: document.querySelector('.details').innerText, frame: box };
};
const layers = { count: nodes().length, conv: look(named('conv2')), loss: look(named('softmax_cross_entropy')),
  image: look(named('images')), labels: look(named('labels')) };
click(all('.switch button')[1]);
const operations = { count: nodes().length, pool: look(named('max_pool2d_take')), weight: look(named('conv1.weight')) };
click(all('.switch button')[2]);
const boxes = all('.drawing:not([hidden]) .node rect').map((rect) => rect.getBoundingClientRect());
const value = document.querySelector('.memory .buffer');
click(value);
const findings = {
  faults, layers, operations, memory: document.querySelector('.memory figcaption').innerText,
  fetched: performance.getEntriesByType('resource').map((entry) => entry.name).filter((name) => !name.startsWith('data:')),
  broken: all('img').filter((image) => !image.complete || image.naturalWidth === 0).length,
  images: all('img').length,
  both: boxes.length,
  overlapping: boxes.filter((a, i) => boxes.some((b, j) => i < j && a.x < b.right && b.x < a.right && a.y < b.bottom && b.y < a.bottom)).length,
  flat: boxes.filter((box) => box.width < 20 || box.height < 10).length,
  empty: all('section section, .curves').filter((part) => !part.querySelector('img, svg, table')).map((part) => part.innerText),
  headings: all('h3').map((heading) => heading.innerText),
  squeezed: all('.wide tr').filter((row) => row.getBoundingClientRect().height > 130).map((row) => row.innerText),
  bands: all('.chart polygon').length,
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
document.body.replaceChildren(Object.assign(document.createElement('pre'), { textContent: 'FINDINGS' + JSON.stringify(findings) + 'END' }));
});</script>";

#[test]
fn a_browser_finds_everything_in_the_file() {
    let Some(chromium) = chromium() else {
        eprintln!("SKIPPED: there is no Chromium here to look at the page (apt install chromium)");
        return;
    };
    let folder = std::env::temp_dir().join(format!("dagrad-report-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("report.html");
    let page = page().unwrap();
    let own = page.replace("http://www.w3.org/2000/svg", ""); // the name of SVG's elements, not an address
    assert!(!own.contains("http://") && !own.contains("https://"), "the page names other addresses");
    let watched = page.replacen("<head>", &format!("<head>{WATCH}"), 1);
    std::fs::write(&file, watched.replacen("</body>", &format!("{ASK}</body>"), 1)).unwrap();
    for width in [1280, 500] {
        check(&findings(&chromium, &folder, &file, width), width);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn check(found: &Value, width: u32) {
    let count = |name: &str| found[name].as_u64().unwrap_or_else(|| panic!("{name} in {found}"));
    for nothing in ["faults", "fetched", "empty", "squeezed"] {
        assert_eq!(found[nothing], Value::Array(Vec::new()), "{nothing}, {width} pixels wide");
    }
    for none in ["broken", "flat", "overlapping", "wider"] {
        assert_eq!(count(none), 0, "{none}, {width} pixels wide: {found}");
    }
    let parts =
        ["Filters", "Feature maps", "Saliency", "Confusion", "Worst", "Layers", "Graph", "Time", "Memory"];
    assert_eq!(found["headings"], Value::from(parts.map(Value::from).to_vec()));
    let [layers, operations] = ["layers", "operations"].map(|view| found[view]["count"].as_u64().unwrap());
    // Image and label; two convolutions with relu, a pool, flattening, a layer of classes, the loss.
    assert_eq!(layers, 2 + 8);
    assert!(count("images") > 20 && operations > 2 * layers && count("both") > operations + 20, "{found}");
    let shown = |view: &str, node: &str, facts: &[&str], frame: [i32; 4]| {
        let details = found[view][node]["details"].as_str().unwrap();
        facts.iter().for_each(|fact| assert!(details.contains(fact), "{fact} in {details}"));
        assert_eq!(found[view][node]["frame"], Value::from(frame.map(Value::from).to_vec()), "{node}");
    };
    // A 3×3 filter and then a pool of 2×2 have a field of 4×4 pixels, 2 pixels from that of a neighbour: the pixel at 6, 6 from 12 on.
    let pool = ["max_pool2d", "[1, 4, 13, 13]", "2\u{202f}704", "report.rs:", "middle pixel: 4×4"];
    shown("operations", "pool", &pool, [12, 12, 4, 4]);
    // 5×5 of those with a padding of 1: 4 + 4 · 2 pixels, 2 before those of the pixel at 5, 5 of 11×11.
    let conv = ["conv2d add", "[1, 3, 11, 11]", "303", "middle pixel: 12×12"];
    shown("layers", "conv", &conv, [8, 8, 12, 12]);
    shown("layers", "loss", &["all of the image"], [0, 0, 28, 28]);
    shown("layers", "image", &["middle pixel: 1×1"], [14, 14, 1, 1]);
    shown("layers", "labels", &["does not depend"], [0, 0, 0, 0]);
    shown("operations", "weight", &["does not depend", "36"], [0, 0, 0, 0]);
    assert!(found["memory"].as_str().unwrap().contains("input"), "{found}");
    assert_eq!(count("bands"), 4, "training and test samples on two charts");
}

/// What the page finds of itself in a window of this width.
fn findings(chromium: &Path, folder: &Path, file: &Path, width: u32) -> Value {
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--window-size={width},900"))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("Chromium starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text.split_once("FINDINGS").and_then(|(_, rest)| rest.split_once("END"));
    let (json, _) =
        json.unwrap_or_else(|| panic!("no findings: {}", String::from_utf8_lossy(&output.stderr)));
    let plain = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&plain).unwrap()
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let files: Vec<PathBuf> =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).collect();
    files.into_iter().find(|file| file.is_file())
}

#[test]
fn text_from_outside_is_escaped() {
    let mut report = Report::new("<b>&");
    report.table("a<b", &["<td>"], [vec!["x & y".to_string()]]);
    let page = report.to_html().unwrap();
    for escaped in ["&lt;b&gt;&amp;", "a&lt;b", "&lt;td&gt;", "x &amp; y"] {
        assert!(page.contains(escaped), "{escaped} in {page}");
    }
}

/// A class for each pixel, of images that are brighter on one side.
struct Halves;

impl Samples for Halves {
    fn len(&self) -> usize {
        20
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::real("images", [1, 8, 8]), Field::index("masks", [8, 8])]
    }

    fn write(&self, sample: usize, _: usize, _: Option<Draw>, out: Slot<'_>) -> Result<()> {
        let is_bright = |pixel: usize| pixel % 8 < sample % 8;
        match out {
            Slot::Real(image) => {
                image.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from(u8::from(is_bright(i))))
            }
            Slot::Index(mask) => {
                mask.iter_mut().enumerate().for_each(|(i, class)| *class = u32::from(is_bright(i)))
            }
        }
        Ok(())
    }
}

#[test]
fn an_objective_of_ones_own_has_a_section_with_what_fits_it() {
    let objective = objective(|inputs| {
        let h = nn::conv2d(inputs.get("images"), "conv", Filters::new(4, 3).padding(1)).relu();
        let h = nn::batch_norm(h, "norm", BatchNorm::default());
        let (logits, masks) = (nn::conv2d(h, "pixels", Filters::new(2, 1)), inputs.get("masks"));
        Goal::new(logits.cross_entropy(masks, CrossEntropy::new()))
            .judge(Metric::mean_iou(logits, masks))
            .judge(Metric::accuracy(logits, masks))
    });
    let mut learner = Learner::with_workspace(objective, &Halves, 0, Workspace::new(2).unwrap()).unwrap();
    let rule = Adam::new(0.02);
    let options = FitOptions { epochs: 8, batch: 5, progress: Progress::Quiet, ..FitOptions::default() };
    let epochs = fit(&mut learner, &rule, &Halves, &Halves, options).unwrap();
    let mut report = Report::new("Halves");
    report.run("halves", &epochs);
    report.objective("halves", &mut learner, &rule, &Halves).unwrap();
    let page = report.to_html().unwrap();
    let found = evaluate(&mut learner, &Halves).unwrap();
    let iou = format!("<td>mean IoU</td><td>{:.4}</td>", found.get("mean IoU").unwrap());
    let parts = [
        "Mean IoU",
        "Accuracy",
        &iou,
        "<h3>Layers</h3>",
        "pixels",
        "A training step on 20 samples took",
        "3×3",
    ];
    crate::common::assert_mentions(&page, &parts);
    assert!(!page.contains("Confusion"), "there are no classes of images");
    if let Some(folder) = std::env::var_os("DAGRAD_KEEP_REPORTS") {
        std::fs::write(std::path::Path::new(&folder).join("halves.html"), page).unwrap();
    }
}
