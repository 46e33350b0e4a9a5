//! What the crate reports of a network: its layers, the time of its steps, and what is wrong with it.

use crate::common::{array, assert_mentions, message};
use dagrad::inspect::{Layer, Origin, Phase, Profile, Summary, diagnose, receptive_field};
use dagrad::nn::{self, BatchNorm, Filters, Model, Network, ResNet, SimpleConvNet};
use dagrad::optim::{Adam, minimize};
use dagrad::{Error, Graph, Init, Mode, Options, Plan, Reduction, Store, Var, Workspace, gradients};
use ndarray::{Array1, Array2, Array4};

/// Layer by layer: name, operations, output, parameters, MACs, kept numbers, field.
fn rows(summary: &Summary) -> Vec<String> {
    let row = |layer: &Layer| {
        let Layer { name, operations, output, parameters, macs, kept, receptive_field: field, .. } = layer;
        let field =
            field.as_ref().map_or("-".to_string(), |field| format!("{}x{}", field.size[0], field.size[1]));
        format!("{name}|{operations}|{output}|{parameters}|{macs}|{}|{field}", kept / 4)
    };
    summary.layers.iter().map(row).collect()
}

#[test]
fn a_summary_lists_layers_with_numbers_counted_by_hand() {
    let graph = Graph::new();
    let image = graph.input("image", [2, 1, 8, 8]);
    let h = nn::conv2d(image, "conv", Filters::new(3, 3).stride(2).padding(1)).relu().max_pool2d(2);
    let logits = nn::linear(h.flatten(), "fc", 5);
    logits.softmax_cross_entropy(graph.labels("label", [2]));
    let summary = graph.summary();
    let expected = [
        // 4×4 output positions of 9 weights for 2 samples and 3 filters; of its result nothing is needed but that of relu
        "conv|conv2d add|[2, 3, 4, 4]|30|864|0|3x3",
        // relu's gradient asks where its result is positive
        "|relu|[2, 3, 4, 4]|0|0|96|3x3",
        // the indices of the maxima, and the maxima, which the product reads under another shape
        "max_pool2d|max_pool2d_argmax max_pool2d_take|[2, 3, 2, 2]|0|0|48|5x5",
        "|reshape|[2, 12]|0|0|0|-",
        "fc|matmul add|[2, 5]|65|120|0|-",
        // the logarithms of the probabilities
        "softmax_cross_entropy|log_softmax reshape gather sum div neg|[]|0|0|10|-",
    ];
    assert_eq!(rows(&summary), expected);
    assert_eq!((summary.parameters, summary.macs, summary.kept), (95, 984, 4 * (96 + 48 + 10)));
    let text = summary.to_string();
    assert_eq!(text.lines().count(), 8);
    assert_mentions(&text, &["kept, bytes", "max_pool2d_argmax", "5×5", "984", "616"]);
}

#[test]
fn a_receptive_field_passes_every_operation_that_reads_pixels_in_order() {
    let graph = Graph::new();
    let image = graph.input("image", [2, 3, 9, 8]);
    let size = |value: Var<'_>| {
        receptive_field(value, image).ok().map(|field| (field.size, field.stride, field.start))
    };
    let conv = nn::conv2d(image, "conv", Filters::new(4, 3).padding(1));
    let expected = Some(([3, 3], [1, 1], [-1, -1]));
    for value in [
        conv,
        conv.softmax(1),
        conv.index_select(1, graph.indices(ndarray::array![2, 0])),
        conv.stop_gradient(),
    ] {
        assert_eq!(size(value), expected);
    }
    // A skip connection keeps the larger field; what is cropped begins later.
    assert_eq!(size(graph.concat(&[image, conv], 1)), expected);
    assert_eq!(size(conv.slice(2, 3..).slice(3, 1..)), Some(([3, 3], [1, 1], [2, 0])));
    // An image turned on its head is gone through backwards; a mean has no pixels.
    assert_eq!(size(conv.flip(&[2])), Some(([3, 3], [1, 1], [7, -1])));
    assert_eq!(size(conv.mean(&[2, 3])), None);
}

#[test]
fn gradients_and_updates_change_nothing_in_a_summary() {
    let record = |graph: &Graph, trains: bool| {
        let image = graph.input("image", [3, 1, 28, 28]);
        let loss = SimpleConvNet::default().logits(image).softmax_cross_entropy(graph.labels("label", [3]));
        if trains {
            minimize(loss, &Adam::new(1e-3)).unwrap();
        }
        graph.summary()
    };
    assert_eq!(record(&Graph::new(), true), record(&Graph::new(), false));
}

#[test]
fn each_layer_of_a_network_is_one_row_and_shared_weights_count_once() {
    let graph = Graph::with_mode(Mode::Train);
    let logits = ResNet::twenty().logits(graph.input("image", [2, 3, 32, 32]));
    let summary = Summary::of(logits);
    let names: Vec<&str> = summary.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".conv")).count(), 19);
    assert_eq!(names.iter().filter(|name| name.ends_with(".norm")).count(), 19);
    assert_eq!(summary.parameters, 269_722);

    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    nn::linear(nn::linear(x, "fc", 3), "fc", 3);
    let summary = graph.summary();
    assert_eq!((summary.layers.len(), summary.parameters, summary.macs), (1, 12, 2 * 2 * 9));
}

#[test]
fn a_layer_for_two_images_keeps_its_field_in_the_first() {
    for swapped in [false, true] {
        let graph = Graph::new();
        let images = ["first", "second"].map(|name| graph.input(name, [1, 1, 8, 8]));
        let [one, other] = if swapped { [images[1], images[0]] } else { images };
        let codes = [one, other].map(|image| nn::conv2d(image, "code", Filters::new(2, 3)));
        let summary = Summary::of((codes[0] - codes[1]).abs().sum_all());
        let code = &summary.layers[0];
        assert_eq!((code.name.as_str(), code.parameters), ("code", 2 * 9 + 2));
        assert_eq!(code.receptive_field.as_ref().map(|field| field.size), Ok([3, 3]), "swapped: {swapped}");
    }
}

#[test]
fn a_summary_knows_what_each_layer_reads() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let a = nn::linear(x, "a", 3);
    let b = nn::linear(a.relu(), "b", 3) + a;
    nn::linear(b, "a", 3).mse_loss(graph.input("target", [2, 3]), Reduction::Mean);
    let summary = graph.summary();
    let reads = summary.layers.iter().map(|layer| &layer.reads[..]).collect::<Vec<_>>();
    let (x, target) = (Origin::Input("x".into()), Origin::Input("target".into()));
    // a (first, and again at the end), relu, b, b + a, and the loss
    let expected: [&[Origin]; 5] = [
        &[x, Origin::Layer(3)],
        &[Origin::Layer(0)],
        &[Origin::Layer(1)],
        &[Origin::Layer(2), Origin::Layer(0)],
        &[Origin::Layer(0), target],
    ];
    assert_eq!(reads, expected);
}

#[test]
fn layers_nest_and_end() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let inner = {
        let _block = graph.layer("block");
        nn::linear(x, "fc", 3)
    };
    let name = |var: Var<'_>| var.layer().map(|layer| layer.to_string());
    assert_eq!(name(inner).as_deref(), Some("block/fc"));
    assert_eq!(name(inner.relu()), None);
    let loss = inner.sum_all();
    let gradient = gradients(loss, &graph.parameters()).unwrap()[0];
    assert_eq!(name(gradient).as_deref(), Some("block/fc"), "a gradient belongs to the layer that it is of");
    // Of several pools each is one of its own.
    let image = graph.input("image", [1, 1, 8, 8]);
    let pools = [image.max_pool2d(2), image.max_pool2d(2)].map(name);
    assert_eq!(pools.each_ref().map(|name| name.as_deref()), [Some("max_pool2d"), Some("max_pool2d 2")]);
}

/// A training step of the book's network on three images.
fn profile(threads: usize) -> (Profile, Plan<f32>) {
    let graph = Graph::new();
    let images = graph.input("images", [3, 1, 28, 28]);
    let labels = graph.labels("labels", [3]);
    let loss = SimpleConvNet::default().logits(images).softmax_cross_entropy(labels);
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let plan = Plan::<f32>::compile(&graph, &[loss]).unwrap();
    let mut store = Store::new(0);
    store.prepare(&plan).unwrap();
    let before = store.get("W1").unwrap().to_owned();
    let (pixels, classes) = (Array4::<f32>::ones((3, 1, 28, 28)), Array1::from_vec(vec![0u32, 1, 2]));
    let mut workspace = Workspace::new(threads).unwrap();
    let profile =
        plan.profile(&store, &mut workspace, &[images.feed(&pixels), labels.feed(&classes)]).unwrap();
    assert_eq!(store.get("W1").unwrap(), before, "a profile moves no parameter");
    assert_eq!(store.step(), 0);
    (profile, plan)
}

#[test]
fn a_profile_counts_what_the_plan_does() {
    for threads in [1, 2] {
        let (profile, plan) = profile(threads);
        assert_eq!((profile.steps.len(), profile.threads), (plan.steps().len(), threads));
        assert!(profile.peak_gflops > 0.1 && profile.steps.iter().all(|step| step.microseconds > 0.0));
        let parts: f64 =
            [Phase::Forward, Phase::Backward, Phase::Update].map(|phase| profile.phase(phase)).iter().sum();
        let families: f64 = profile.families().iter().map(|family| family.total()).sum();
        assert!((parts - profile.total()).abs() < 1e-6 && (families - profile.total()).abs() < 1e-6);
        // Forward once; backward once for each operand of a product that needs a gradient (not for the image).
        let (conv, affine) = (3 * 30 * 25 * 24 * 24, 3 * (4320 * 100 + 1000));
        let macs = |phase| {
            profile.steps.iter().filter(|step| step.phase == phase).map(|step| step.macs).sum::<usize>()
        };
        assert_eq!((macs(Phase::Forward), macs(Phase::Backward)), (conv + affine, conv + 2 * affine));
        // The update of W2 reads the weight, two moments and the gradient, and writes three of them.
        let update =
            profile.steps.iter().filter(|step| step.phase == Phase::Update).max_by_key(|step| step.bytes);
        let bytes = update.unwrap().bytes / (4 * 4320 * 100);
        assert!((4..=7).contains(&bytes), "{bytes}");
        let conv = profile.steps.iter().find(|step| step.operation == "conv2d").unwrap();
        assert_eq!((conv.layer.as_deref(), conv.phase), (Some("conv1"), Phase::Forward));
        assert!(conv.line.contains("inspect.rs:"), "{}", conv.line);
        let text = profile.to_string();
        assert_mentions(
            &text,
            &["% of peak", "conv2d", "matmul", "conv1", "affine1", &format!("{threads} threads")],
        );
    }
}

#[test]
fn a_profile_is_written_as_json_and_as_a_trace() {
    let (profile, plan) = profile(2);
    let json: serde_json::Value = serde_json::from_str(&profile.to_json()).unwrap();
    assert_eq!(json["steps"].as_array().unwrap().len(), plan.steps().len());
    assert_eq!(json["threads"], 2);
    let product =
        json["families"].as_array().unwrap().iter().find(|family| family["name"] == "matmul").unwrap();
    let share = product["gflops"].as_f64().unwrap() / json["peak_gflops"].as_f64().unwrap();
    assert!((share - product["share_of_peak"].as_f64().unwrap()).abs() < 1e-9);
    assert!(json["steps"][0].get("gigabytes_per_second").is_some() && json["steps"][0].get("line").is_some());
    let phases: Vec<&str> =
        json["steps"].as_array().unwrap().iter().filter_map(|step| step["phase"].as_str()).collect();
    assert!(["forward", "backward", "update"].iter().all(|phase| phases.contains(phase)));
    let trace: serde_json::Value = serde_json::from_str(&profile.to_chrome_trace()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.len(), profile.calls.len());
    let steps: std::collections::BTreeSet<u64> =
        events.iter().map(|event| event["args"]["step"].as_u64().unwrap()).collect();
    assert_eq!(steps.len(), plan.steps().len(), "every step is called");
    assert!(events.iter().all(|event| event["ph"] == "X" && event["dur"].as_f64().unwrap() >= 0.0));
    // On one thread one call ends before the next begins.
    let mut ends = std::collections::HashMap::new();
    for event in events {
        let (start, time) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        let end = ends.entry(event["tid"].as_u64().unwrap()).or_insert(0.0);
        assert!(start >= *end - 1e-3, "{start} before {end}");
        *end = start + time;
    }
}

#[test]
fn a_checked_run_names_the_layer_forward_and_backward() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let line = line!() + 1;
    let h = nn::linear(x, "fc1", 2).ln();
    let h = nn::linear(h.exp(), "fc2", 2);
    let loss = h.sum_all();
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let mut workspace = Workspace::new(2).unwrap();
    workspace.check_values(true);
    let mut run = |weight: f32, given: [f64; 4], options: Options| {
        let plan = options.compile::<f32>(&graph, &[loss]).unwrap();
        let mut store = Store::new(0);
        store.prepare(&plan).unwrap();
        store.get_mut("fc1.weight").unwrap().fill(weight);
        plan.run(&mut store, &mut workspace, &[x.feed(&array(&[2, 2], &given))]).map(drop)
    };
    run(1.0, [1.0; 4], Options::new()).unwrap();
    // x · w is beyond f32.
    let text = message(run(3e38, [10.0; 4], Options::new()));
    assert_mentions(&text, &["matmul", "of layer fc1", &format!("inspect.rs:{line}"), "inf"]);
    // ln 0 is −∞, outside of any layer.
    let Err(Error::NotFinite(found)) = run(0.0, [1.0; 4], Options::plain()) else { panic!("unseen") };
    assert_eq!((found.op.as_str(), found.layer.as_deref(), found.is_gradient), ("ln", None, false));
    // Inputs and parameters are looked at before the first step.
    let text = message(run(1.0, [1.0, f64::NAN, 1.0, 1.0], Options::new()));
    assert_mentions(&text, &["input x", "NaN at position 1", "before the run"]);
    let text = message(run(f32::INFINITY, [1.0; 4], Options::new()));
    assert_mentions(&text, &["parameter fc1.weight", "inf at position 0"]);
}

#[test]
fn a_fault_of_the_backward_pass_is_named_with_its_layer() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 2]);
    let roots = {
        let _layer = graph.layer("roots");
        (x * graph.param("w", [2], Init::ONES)).sqrt()
    };
    let derivatives = gradients(roots.sum_all(), &graph.parameters()).unwrap();
    let plan = Options::plain().compile::<f64>(&graph, &derivatives).unwrap();
    let mut workspace = Workspace::new(1).unwrap();
    workspace.check_values(true);
    let run = plan.run(&mut Store::new(0), &mut workspace, &[x.feed(&array(&[1, 2], &[1.0, 0.0]))]);
    let Err(Error::NotFinite(found)) = run.map(drop) else { panic!("1/√0 went unseen") };
    assert_eq!((found.layer.as_deref(), found.is_gradient), (Some("roots"), true));
    assert_mentions(&found.to_string(), &["of layer roots", "its gradient", "inf"]);
}

#[test]
fn a_plan_hands_out_any_value_that_it_is_asked_to_watch() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let w = graph.param("w", [3, 2], Init::Constant(0.5));
    let hidden = x.matmul(w);
    let loss = (hidden.relu() * 2.0).sum_all();
    let gradient = gradients(loss, &[hidden]).unwrap()[0];
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let plan = Plan::<f64>::compile(&graph, &[loss]).unwrap();
    let given = array(&[2, 3], &[1.0, 2.0, 3.0, -1.0, -2.0, -3.0]);
    let watched = plan.watch(hidden).unwrap().watch(gradient).unwrap();
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let outputs = watched.run(&mut store, &mut workspace, &[x.feed(&given)]).unwrap();
    assert_eq!(outputs.get(loss).unwrap().sum(), 12.0);
    assert_eq!(outputs.get(hidden).unwrap(), array(&[2, 2], &[3.0, 3.0, -3.0, -3.0]));
    assert_eq!(outputs.get(gradient).unwrap(), array(&[2, 2], &[2.0, 2.0, 0.0, 0.0]));
    assert!(watched.trains(), "it still trains");
    let stranger = Graph::new();
    assert_mentions(&message(plan.watch(stranger.input("y", [1]))), &["watch", "y", "not on the graph"]);
}

#[test]
fn a_diagnosis_finds_each_fault_and_no_other() {
    let graph = Graph::new();
    let x = graph.input("x", [4, 3]);
    let healthy = nn::linear(x, "healthy", 2);
    graph.param("unused", [5], Init::ONES);
    let line = line!() + 1;
    let dead = (nn::linear(x, "dead", 4) - 1e4).relu();
    let exploding = nn::linear(x, "exploding", 1) * 1e5;
    let loss = healthy.sum_all() + dead.sum_all() + exploding.sum_all();
    let xs = Array2::from_shape_fn((4, 3), |(i, j)| (i * 3 + j) as f64 / 5.0 + 0.1);
    let (mut store, mut workspace) = (Store::<f64>::new(1), Workspace::new(2).unwrap());
    let diagnosis = diagnose(loss, &mut store, &mut workspace, &[x.feed(&xs)]).unwrap();
    let findings = diagnosis.findings();
    let expected: [&[&str]; 6] = [
        &["unused", "does not depend"],
        &["dead.weight", "is zero"],
        &["dead.bias", "is zero"],
        &["exploding.weight", "explodes"],
        &["exploding.bias", "explodes"],
        &["4 of 4 units of relu", &format!("inspect.rs:{line}")],
    ];
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
    for words in expected {
        let said = findings.iter().any(|finding| words.iter().all(|word| finding.contains(word)));
        assert!(said, "{words:?} in {findings:#?}");
    }
    assert_mentions(&diagnosis.to_string(), &["! ", "no path", "healthy.weight", "[3, 2]"]);
    // ∂/∂b of a sum over four rows is 4 for each unit.
    let bias = diagnosis.parameters.iter().find(|found| found.name == "healthy.bias").unwrap();
    assert!((bias.gradient.unwrap() - (2.0f64 * 16.0).sqrt()).abs() < 1e-12);

    assert_eq!(store.names().count(), 0, "looking starts nothing");
    store.prepare(&Plan::compile(&graph, &graph.parameters()).unwrap()).unwrap();
    store.get_mut("healthy.weight").unwrap()[[0, 0]] = f64::NAN;
    let findings = diagnose(loss, &mut store, &mut workspace, &[x.feed(&xs)]).unwrap().findings();
    assert!(findings.iter().any(|finding| finding.contains("loss is NaN")), "{findings:#?}");
    assert!(findings.iter().any(|finding| finding.contains("healthy.weight holds")), "{findings:#?}");
    let text = message(diagnose(x, &mut store, &mut workspace, &[x.feed(&xs)]));
    assert_mentions(&text, &["[4, 3]", "single"]);
}

#[test]
fn a_healthy_model_has_no_findings_and_stays_as_it_is() {
    let digits = dagrad::data::mnist_5k().unwrap().train;
    let network = nn::network(|images| {
        let h = nn::conv2d(images, "conv", Filters::new(4, 5).stride(2));
        let h = nn::batch_norm(h, "norm", BatchNorm::default()).tanh();
        nn::linear(h.flatten(), "fc", 10)
    });
    let mut model = Model::new(network, digits.image_shape(), 0).unwrap();
    let (images, labels) = digits.batch(&(0..50).collect::<Vec<_>>()).unwrap();
    let before = model.store().get("fc.weight").unwrap().to_owned();
    let diagnosis = model.diagnose(&images, &labels).unwrap();
    assert!(diagnosis.findings().is_empty(), "{diagnosis}");
    assert_mentions(&diagnosis.to_string(), &["nothing is wrong"]);
    let tanh = diagnosis.units.iter().find(|units| units.operation == "tanh").unwrap();
    assert_eq!((tanh.dead, tanh.of, tanh.after.as_str()), (0, 4, "norm"));
    assert_eq!(model.store().get("fc.weight").unwrap(), before);
    let mean = model.store().get("norm.running_mean").unwrap();
    assert!(mean.iter().all(|mean| *mean == 0.0), "running statistics do not move");
}

#[test]
fn in_tables_words_stand_left_and_numbers_right_with_thousands_apart() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 1]);
    let h = nn::linear(x, "größe", 999).relu();
    let h = nn::linear(h, "b", 1234);
    h.reshape([2, 617]);
    let text = graph.summary().to_string();
    let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let row = |start: &str| {
        let row = text
            .lines()
            .position(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("{start}\n{text}"));
        &rows[row]
    };
    // The column of parameters ends where its name ends; the names of layers begin where the lines begin.
    let heading: String = row("layer").iter().collect();
    let end = heading.chars().count() - heading.rsplit_once("parameters").unwrap().1.chars().count();
    let parameters = |start: &str| {
        let cells: String = row(start)[..end].iter().collect();
        cells.rsplit_once(' ').unwrap().1.to_string()
    };
    let weights = 999 * 1234 + 1234;
    assert_eq!((999 + 999, weights), (1998, 1_234_000));
    assert_eq!(
        [parameters("größe"), parameters("b "), parameters("total")],
        ["1,998", "1,234,000", "1,235,998"]
    );
    let macs = |start: &str| {
        let cells: String = row(start)[end..].iter().collect();
        cells.split_whitespace().next().unwrap_or_default().to_string()
    };
    assert_eq!([macs("größe"), macs("b ")], ["999", "1,232,766"]);
    // Nothing stands for 0, and no line ends with a space.
    let last = rows.iter().rev().nth(1).unwrap();
    assert!(last.len() <= end - "parameters".len(), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
}

#[test]
fn names_are_escaped_in_json() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 2]);
    let y = {
        let _layer = graph.layer("a \"b\" \\ \n \u{7} é");
        x.exp()
    };
    let plan = Plan::<f32>::compile(&graph, &[y]).unwrap();
    let given = Array2::<f32>::ones([2, 2]);
    let mut workspace = Workspace::new(1).unwrap();
    let profile = plan.profile(&Store::new(0), &mut workspace, &[x.feed(&given)]).unwrap();
    for text in [profile.to_json(), profile.to_chrome_trace()] {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let layer = json["steps"][0].get("layer").unwrap_or(&json["traceEvents"][0]["args"]["layer"]);
        assert_eq!(layer, "a \"b\" \\ \n \u{7} é", "{text}");
    }
}

#[test]
fn a_summary_says_which_misuse_it_ends_at() {
    let graph = Graph::new();
    let image = graph.input("image", [1, 1, 8, 8]);
    let rows = nn::conv2d(image, "conv", Filters::new(3, 3)).relu().mean(&[2, 3]);
    let line = format!("inspect.rs:{}", line!() + 1);
    let norm = nn::batch_norm(rows, "norm", BatchNorm::default());
    let logits = nn::linear(norm, "classes", 10);
    for summary in [graph.summary(), Summary::of(logits)] {
        assert_eq!(summary.error, graph.check().err());
        let text = summary.to_string();
        assert_mentions(&text, &["batch_norm", &line, "total before the error"]);
    }
    assert_mentions(&graph.summary().to_string(), &["conv"]);
    assert_mentions(&graph.to_string(), &["poisoned", "\n! batch_norm", &line]);
    // What is computed beside it is complete.
    let beside = Summary::of(rows);
    assert!(beside.error.is_none() && !beside.to_string().contains("error"));
}

#[test]
fn a_summary_follows_shared_nodes_once() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 1]);
    // 2⁷⁰ paths lead to the parameter.
    let weight = (0..70).fold(graph.param("w", [1, 1], Init::ONES), |weight, _| weight + weight);
    x.matmul(weight);
    assert_eq!(graph.summary().parameters, 1);
}
