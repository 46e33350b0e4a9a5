//! Values and gradients where a convention decides, beside those of PyTorch 2.15: ties, infinities, zeros, weights, borders.
//!
//! The upstream gradient of element i is sin(1.19 i + 1.1).

use dagrad::{Conv2dOptions, CrossEntropy, Graph, Padding, Plan, Reduction, Store, Var, Workspace, vjp};
use ndarray::{ArrayD, IxDyn, arr1, arr2, array};

struct Row {
    name: &'static str,
    value: &'static [f64],
    gradient: &'static [f64],
}

/// sin(1.7 a i + b) for each element i.
fn wave(shape: &[usize], a: f64, b: f64) -> ArrayD<f64> {
    let mut i = -1.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        i += 1.0;
        f64::sin(1.7 * i * a + b)
    })
}

/// Compares what `record` makes of `x`, and its gradient, with the row of that name.
fn agrees(name: &str, x: ArrayD<f64>, record: impl for<'g> Fn(&'g Graph, Var<'g>) -> Var<'g>) {
    let row = TABLE.iter().find(|row| row.name == name).unwrap();
    let graph = Graph::new();
    let input = graph.input("x", x.shape());
    let y = record(&graph, input);
    graph.check().unwrap();
    let upstream = graph.constant(wave(&y.shape(), 0.7, 1.1));
    let gradient = vjp(&[(y, upstream)], &[input]).unwrap()[0].unwrap();
    let plan = Plan::<f64>::compile(&graph, &[y, gradient]).unwrap();
    let feeds = [input.feed(&x)];
    let mut feeds = feeds.to_vec();
    let labels = arr1(&[2_u32, 0, 3]);
    if plan.inputs().len() > 1 {
        feeds.push(dagrad::Feed::new("labels", &labels));
    }
    let (mut store, mut workspace) = (Store::new(0), Workspace::new(1).unwrap());
    let outputs = plan.run(&mut store, &mut workspace, &feeds).unwrap();
    for (what, found, expected) in [("value", 0, row.value), ("gradient", 1, row.gradient)] {
        let found: Vec<f64> = outputs.at(found).unwrap().iter().copied().collect();
        assert_eq!(found.len(), expected.len(), "{name} {what}");
        for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
            let is_same = a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * (1.0 + b.abs());
            assert!(is_same, "{name}: {what} {i} is {a} instead of {b}");
        }
    }
}

fn labels(graph: &Graph) -> Var<'_> {
    graph.labels("labels", [3])
}

#[test]
fn losses_of_classes() {
    let x = || wave(&[3, 4], 1.0, 0.3);
    let weights = || arr1(&[0.5, 2.0, 1.5, 0.25]);
    agrees("smoothed and weighted", x(), |g, x| {
        x.cross_entropy(labels(g), CrossEntropy::new().weights(g.constant(weights())).label_smoothing(0.3))
    });
    agrees("ignored", x(), |g, x| {
        let options = CrossEntropy::new().weights(g.constant(weights())).label_smoothing(0.3);
        x.cross_entropy(labels(g), options.ignore(0))
    });
    agrees("none", x(), |g, x| {
        x.cross_entropy(labels(g), CrossEntropy::new().ignore(3).reduction(Reduction::None))
    });
}

#[test]
fn losses_of_numbers() {
    let (x, none) = (|| wave(&[3, 4], 1.0, 0.3), Reduction::None);
    agrees("huber", x(), move |g, x| x.huber_loss(g.fill([3, 4], 0.0), 0.5, none));
    agrees("divergence", x(), move |g, x| {
        let target = arr2(&[[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0], [0.25; 4]]);
        x.log_softmax(1).kl_divergence(g.constant(target), none)
    });
    agrees("logits", x(), move |g, x| {
        let target = wave(&[3, 4], 1.0, 2.0).mapv(|t| if t > 0.0 { 1.0 } else { 0.0 });
        (x * 1e4).binary_cross_entropy_with_logits(g.constant(target), none)
    });
    agrees("cosine", x(), |g, x| x.cosine_similarity(g.constant(wave(&[3, 4], 1.0, 2.0)), 1, 1e-8));
}

#[test]
fn powers_and_the_larger_of_two() {
    let array = |values: &[f64]| arr1(values).into_dyn();
    let base = [0.0, 0.0, 0.0, -2.0, 2.0, -0.5, 4.0];
    agrees("base", array(&base), |g, x| x.pow(g.constant(arr1(&[0.0, 2.0, -1.0, 3.0, 0.0, 2.0, 0.5]))));
    agrees("exponent", array(&[0.0, 2.0, 1.5, 3.0, 0.0, 2.0, 0.5]), |g, x| g.constant(arr1(&base)).pow(x));
    let x = array(&[1.0, 2.0, f64::NAN, 0.0, -1.0, 5.0]);
    let other = arr1(&[1.0, 3.0, 0.0, 0.0, f64::NAN, 4.0]);
    agrees("maximum", x.clone(), |g, x| x.maximum(g.constant(other.clone())));
    agrees("minimum", x, |g, x| x.minimum(g.constant(other.clone())));
    agrees("product", array(&[2.0, 0.0, 3.0, -1.0]), |_, x| x.prod(&[0]));
    agrees("zeros", array(&[2.0, 0.0, 0.0, -1.0]), |_, x| x.prod(&[0]));
}

#[test]
fn sums_of_huge_exponentials() {
    let x = arr2(&[[1e4, 1e4 - 1.0], [f64::INFINITY, 0.0], [-1e4, -1e4]]).into_dyn();
    agrees("log sum exp", x, |_, x| x.log_sum_exp(&[1]));
}

#[test]
fn normalisation() {
    agrees("response", wave(&[1, 4, 1, 2], 1.0, 0.3), |_, x| x.local_response_norm(3, 0.7, 0.75, 1.5));
    agrees("even response", wave(&[1, 5, 1, 1], 1.0, 0.3), |_, x| x.local_response_norm(4, 0.7, 0.75, 1.5));
    // A window that is wider than the channels sees all of them.
    let x = wave(&[1, 2, 2, 1], 1.0, 0.3);
    for channels in [5, 1 << 40, usize::MAX] {
        let graph = Graph::new();
        let image = graph.input("x", [1, 2, 2, 1]);
        let found = image.local_response_norm(channels, 0.7 * channels as f64, 0.75, 1.5);
        let all = image / (image.powi(2).sum(&[1]).reshape([1, 1, 2, 1]) * 0.7 + 1.5).pow(0.75);
        let [found, all] = [found, all].map(|value| value.eval::<f64>(&[image.feed(&x)]).unwrap());
        assert!(
            found.iter().zip(&all).all(|(found, all)| (found - all).abs() < 1e-12),
            "{channels}: {found} {all}"
        );
    }
    // Of squares instead of distances from the mean, nothing would be left here.
    agrees("groups", wave(&[1, 4, 3, 1], 1.0, 0.3) + 1e4, |_, x| x.group_norm(2, 1e-3));
}

#[test]
fn images() {
    agrees("adaptive", wave(&[1, 1, 3, 5], 1.0, 0.3), |_, x| x.adaptive_avg_pool2d([2, 3]));
    agrees("transposed", wave(&[1, 2, 2, 3], 1.0, 0.3), |g, x| {
        let options = Conv2dOptions::new().stride([2, 1]).padding([0, 1]).groups(2).dilation([1, 2]);
        x.conv_transpose2d(g.constant(wave(&[2, 1, 2, 3], 1.0, 2.0)), options, [1, 0])
    });
}

#[test]
fn the_odd_row_of_an_even_window_is_added_below_and_the_odd_column_on_the_right() {
    let graph = Graph::new();
    let image = graph.constant(array![[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]);
    let filter = graph.constant(array![[[[1.0, 10.0], [100.0, 1000.0]]]]);
    let output = image.conv2d(filter, Conv2dOptions::new().padding(Padding::Same));
    let output = output.eval::<f64>(&[]).unwrap();
    assert_eq!(output.as_slice().unwrap(), [5421.0, 6532.0, 603.0, 54.0, 65.0, 6.0]);
}

/// What PyTorch computes.
const TABLE: &[Row] = &[
    Row {
        name: "smoothed and weighted",
        value: &[1.917357365443],
        gradient: &[
            0.13453764702061,
            0.21657074084544,
            -0.395012052476927,
            0.0439036646108771,
            -0.043261287850326,
            0.0360232061388286,
            -0.0224984334087578,
            0.0297365151202552,
            0.0829284314332354,
            -0.0182118770776639,
            -0.0309482908129608,
            -0.0337682635426106,
        ],
    },
    Row {
        name: "ignored",
        value: &[2.00270721256092],
        gradient: &[
            0.172976974740784,
            0.278448095372709,
            -0.507872638898906,
            0.0564475687854135,
            0.0,
            0.0,
            0.0,
            0.0,
            0.106622268985588,
            -0.023415270528425,
            -0.0397906596166639,
            -0.0434163388404994,
        ],
    },
    Row {
        name: "none",
        value: &[2.11433345414108, 0.876783423737947, 0.0],
        gradient: &[
            0.245574415925973,
            0.453673257286909,
            -0.783626400793247,
            0.0843787275803656,
            -0.439271348265651,
            0.271060095972773,
            0.0626602703324288,
            0.105550981960449,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    },
    Row {
        name: "huber",
        value: &[
            0.0436660962725804,
            0.329648713412841,
            0.139918070454246,
            0.261382243777994,
            0.239484520062938,
            0.167458596445881,
            0.314847879985835,
            0.0641641093259561,
            0.361003750697488,
            0.00580542479193474,
            0.374887215536506,
            0.0112315889881763,
        ],
        gradient: &[
            0.263369783223462,
            0.376165288197085,
            0.165992594110367,
            0.499550860843592,
            -0.205333424147171,
            0.346922472464882,
            -0.463207747748383,
            0.00187067886323056,
            -0.465148561360848,
            -0.0739498450137881,
            -0.21008351841332,
            0.149668079781934,
        ],
    },
    Row {
        name: "divergence",
        value: &[
            0.0,
            -0.00897364707651799,
            0.710593136790569,
            0.0,
            0.876783423737947,
            0.0,
            0.0,
            0.0,
            -0.173278193049442,
            0.0427852692244409,
            0.319667290067555,
            0.0322543798835638,
        ],
        gradient: &[
            0.0579136112502214,
            -0.269175899428445,
            0.191363322691727,
            0.0198989654864971,
            0.239780471242932,
            -0.147960748644594,
            -0.0342037085000888,
            -0.0576160140982492,
            0.207848677534456,
            0.16115302653712,
            -0.108483775181461,
            -0.260517928890114,
        ],
    },
    Row {
        name: "logits",
        value: &[
            0.0,
            9092.97426825682,
            0.0,
            7727.64487555988,
            0.0,
            5849.17192891762,
            0.0,
            3582.29282236827,
            0.0,
            1077.53652299444,
            9997.74431073011,
            0.0,
        ],
        gradient: &[
            0.0,
            7523.30576394171,
            -0.0,
            9991.01721687185,
            -0.0,
            6938.44944929763,
            0.0,
            52.2201549675062,
            -0.0,
            -6862.86204093424,
            -4201.67036826639,
            0.0,
        ],
    },
    Row {
        name: "cosine",
        value: &[-0.183307756191928, -0.0614884565416192, -0.00446186026540245],
        gradient: &[
            0.431761685604349,
            -0.15299172479542,
            -0.392337402779017,
            0.254092753303984,
            0.242184036031302,
            -0.320437652787147,
            -0.159610781378093,
            0.361567593608695,
            -0.0189058074249519,
            0.168581370457029,
            -0.024535755423413,
            -0.162258776457652,
        ],
    },
    Row {
        name: "base",
        value: &[1.0, 0.0, f64::INFINITY, -8.0, 1.0, 0.25, 2.0],
        gradient: &[0.0, 0.0, f64::INFINITY, -11.9892206602462, 0.0, -0.693844944929763, 0.231603873874192],
    },
    Row {
        name: "exponent",
        value: &[1.0, 0.0, 0.0, -8.0, 1.0, 0.25, 2.0],
        gradient: &[0.0, 0.0, -0.0, f64::NAN, -0.284652568044662, f64::NAN, 2.56856915492251],
    },
    Row {
        name: "maximum",
        value: &[1.0, 3.0, f64::NAN, 0.0, f64::NAN, 5.0],
        gradient: &[
            0.445603680030718,
            0.0,
            -0.331985188220734,
            -0.499550860843592,
            -0.410666848294342,
            0.693844944929763,
        ],
    },
    Row {
        name: "minimum",
        value: &[1.0, 2.0, f64::NAN, 0.0, f64::NAN, 4.0],
        gradient: &[
            0.445603680030718,
            0.752330576394171,
            -0.331985188220734,
            -0.499550860843592,
            -0.410666848294342,
            0.0,
        ],
    },
    Row {
        name: "log sum exp",
        value: &[10000.3132616875, f64::INFINITY, -9999.30685281944],
        gradient: &[
            0.65152478591053,
            0.239682574150109,
            f64::NAN,
            0.0,
            -0.165992594110338,
            -0.165992594110338,
        ],
    },
    Row {
        name: "response",
        value: &[
            0.209114608794043,
            0.57738433986197,
            -0.354338829944776,
            -0.475242548900377,
            0.455844587325029,
            0.384575169819192,
            -0.565007044706682,
            -0.250661465309588,
        ],
        gradient: &[
            0.611361242029367,
            0.323234045797082,
            -0.206035139290211,
            -0.441892309958516,
            -0.174808273376165,
            0.373959225132852,
            0.47488505245094,
            0.0155753538436456,
        ],
    },
    Row {
        name: "even response",
        value: &[
            0.202074093162629,
            0.608316480941004,
            -0.339026795723554,
            -0.47915227553323,
            0.47979893866908,
        ],
        gradient: &[
            0.575397116042015,
            0.338266229784396,
            -0.147039777728822,
            -0.578442785536781,
            -0.297144100877197,
        ],
    },
    Row {
        name: "groups",
        value: &[
            0.146025985039541,
            1.11146074148009,
            -1.15221004948832,
            -1.53432176930009,
            0.827815004276874,
            0.601230087989044,
            -1.05754535648735,
            -0.282660391166225,
            1.6940351932432,
            0.409777542020824,
            -1.23597898715259,
            0.472371999539436,
        ],
        gradient: &[
            1.13239246092417,
            0.165041606436716,
            0.21545019216137,
            -0.537472815994988,
            -1.44425422878521,
            0.468842785261586,
            0.442366642248089,
            -0.388738881423706,
            -0.351977509377321,
            -0.906368009906146,
            -0.437309723634826,
            1.64202748208481,
        ],
    },
    Row { name: "product", value: &[-0.0], gradient: &[-0.0, -5.34724416036861, -0.0, 0.0] },
    Row { name: "zeros", value: &[-0.0], gradient: &[-0.0, -0.0, -0.0, 0.0] },
    Row {
        name: "adaptive",
        value: &[
            0.227509766601778,
            -0.109870123742053,
            0.258991426566077,
            -0.286168947122492,
            0.0745927850383525,
            -0.0441253830092356,
        ],
        gradient: &[
            0.222801840015359,
            0.348190269414387,
            0.125388429399028,
            0.0423921323438449,
            -0.0829962970551835,
            -0.0269735904064373,
            0.0299703642768675,
            0.0569439546833048,
            0.147408893860562,
            0.0904649391772572,
            -0.249775430421796,
            -0.31821990513752,
            -0.0684444747157236,
            0.105016761516717,
            0.173461236232441,
        ],
    },
    Row {
        name: "transposed",
        value: &[
            0.826821810431806,
            -0.638355925425267,
            -0.481778639567342,
            0.0523588151497152,
            -0.702672760076926,
            0.662849672422046,
            -0.213379293338918,
            0.53186369840258,
            -0.569878141018732,
            -0.799905090931702,
            0.662849672422046,
            0.941302252320374,
            -0.386234143062063,
            0.287254684994868,
            -0.563321386737052,
            0.531395861462041,
            -0.0256167101722597,
            0.426386524655429,
            1.02192576570006,
            -0.641270973749351,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.128328218651913,
            -1.20327242719135,
            -0.348201549553534,
            0.850008151718822,
            -0.0386005135216265,
            0.358148476842017,
            -1.10363459256275,
            -0.0536904052412179,
            -0.699840204349193,
            -0.344313050618364,
            0.358148476842019,
            0.0510469530965475,
            -0.971788246705861,
            0.157292621664407,
            -0.107729346423716,
            0.999548913027363,
            -0.133693585283956,
            -0.149843402021589,
            0.126030894459017,
            -0.960935918313378,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
        gradient: &[
            1.73371318614127,
            2.41007916754012,
            1.34463389076363,
            1.06348698769488,
            2.19870578172804,
            1.71565761877892,
            1.06164162083422,
            1.34047632918966,
            -0.294847986363238,
            0.853682956674186,
            2.24155652825255,
            1.21769047520599,
        ],
    },
];
