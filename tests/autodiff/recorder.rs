//! Recording: listings, names, and errors that wait for the first use of the graph.

use crate::common::{array, assert_mentions, message, value};
use dagrad::{Conv2dOptions, Error, Graph, Init, Mode, Plan, TensorType, Var, gradients, vjp};

/// How many nodes and edges a text in Graphviz's language has: one statement a line, outside of quoted names. Fails if a
/// quote or a bracket stays open.
fn drawn(dot: &str) -> [usize; 2] {
    let (mut quoted, mut escaped, mut depth) = (false, false, [0_i32; 2]);
    let (mut statement, mut counts) = (String::new(), [0, 0]);
    for letter in dot.strip_prefix("digraph {").expect("a directed graph").chars() {
        if quoted {
            quoted = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            '"' => quoted = true,
            '[' => depth[0] += 1,
            ']' => depth[0] -= 1,
            '{' => depth[1] += 1,
            '}' => depth[1] -= 1,
            _ => {}
        }
        assert!(depth[0] >= 0 && depth[1] >= -1, "brackets do not pair in\n{dot}");
        if letter != '\n' {
            statement.push(letter);
            continue;
        }
        if let Some((names, _)) = statement.split_once('[') {
            let ends: Vec<&str> = names.split("->").map(str::trim).collect();
            assert!(ends.iter().all(|end| end.parse::<usize>().is_ok()), "{statement:?} in\n{dot}");
            counts[ends.len() - 1] += 1;
        }
        statement.clear();
    }
    assert!(!quoted && depth == [0, -1], "something stays open in\n{dot}");
    counts
}

/// The expected text with `@n` replaced by this file and the n-th line after `line`.
fn sited(text: &str, line: u32) -> String {
    (1..20).rev().fold(text.to_string(), |text, n| {
        text.replace(&format!("@{n}"), &format!("{}:{}", file!(), line + n))
    })
}

#[test]
fn a_graph_prints_one_typed_line_for_each_value() {
    let graph = Graph::new();
    let line = line!();
    let x = graph.input("x", [2, 3]);
    let w = graph.param("w", [3, 1], Init::Constant(0.5));
    let labels = graph.labels("digits", [2]);
    let scores = x.matmul(w).relu().named("scores");
    let loss = scores.softmax_cross_entropy(labels);
    let gradient = gradients(loss, &[w]).unwrap()[0];
    w.assign(w - gradient * 0.1);
    let listing = graph.to_string();
    let expected = sited(
        r#"%0 = input "x" : [2, 3]  # @1
%1 = param "w" from 0.5 : [3, 1]  # @2
%2 = input "digits" : index [2]  # @3
%3 = matmul %0 %1 : [2, 1]  # @4
%4 = relu %3 as "scores" : [2, 1]  # @4
%5 = log_softmax %4 (axis 1) : [2, 1]  # @5, in softmax_cross_entropy
%6 = reshape %2 : index [2, 1]  # @5
%7 = gather %5 %6 (axis 1) : [2, 1]  # @5
"#,
        line,
    );
    assert!(listing.starts_with(&expected), "{listing}");
    let tail = format!("w <- %{}\n", graph.len() - 1);
    assert!(listing.ends_with(&tail), "{listing}");
    let gradient = sited("# @4, gradient of %4", line);
    assert!(listing.lines().any(|text| text.contains("= gate ") && text.ends_with(&gradient)), "{listing}");
    assert_eq!(listing.lines().count(), graph.len() + 1);
}

#[test]
fn a_drawing_has_the_same_nodes_and_edges() {
    let graph = Graph::new();
    let x = graph.input("x", [1, 2, 4, 4]);
    let w = graph.param("w", [3, 2, 3, 3], Init::he(18));
    let loss = x.conv2d(w, Conv2dOptions::new().padding(1)).relu().max_pool2d(2).powi(2).mean_all();
    gradients(loss, &[w]).unwrap();
    let dot = graph.to_dot();
    let read = |line: &str| line.split("  #").next().unwrap().matches(" %").count();
    assert_eq!(drawn(&dot), [graph.len(), graph.to_string().lines().map(read).sum()]);
    assert!(dot.contains("%0 input") && dot.contains("[1, 2, 4, 4]"), "{dot}");
}

#[test]
fn names_hostile_to_dot_stay_inside_their_labels() {
    for name in ["say \"x\"", "two\nlines", "back\\slash", "ends in \\", "} ] ; -> {", "é ∞ \t \u{7}", ""]
    {
        let graph = Graph::new();
        let x = graph.input(name, [2]);
        let hidden = (x * 2.0).named(name);
        hidden.sum_all();
        let dot = graph.to_dot();
        assert_eq!(drawn(&dot)[0], graph.len(), "{name:?}");
        // A listing keeps one line for each value whatever it is called.
        assert_eq!(graph.to_string().lines().count(), graph.len(), "{name:?}");
    }
}

#[test]
fn a_parameter_is_recorded_once_and_found_again_by_name() {
    let graph = Graph::new();
    let first = graph.param("w", [2, 3], Init::ZEROS);
    let state = graph.state("momentum", [2, 3], Init::ZEROS);
    let again = graph.param("w", [2, 3], Init::ZEROS);
    assert_eq!(first.id(), again.id());
    assert_eq!(graph.len(), 2);
    let trainable: Vec<String> = graph.parameters().into_iter().map(Var::name).collect();
    assert_eq!(trainable, ["w"], "state {} is not learned", state.name());
    graph.check().unwrap();
}

#[test]
fn a_name_is_not_shared_by_different_things() {
    let refused = |second: fn(&Graph) -> Var<'_>| {
        let graph = Graph::new();
        graph.param("w", [2], Init::ZEROS);
        second(&graph);
        assert_mentions(&message(graph.check()), &["\"w\" is taken", "param \"w\"", "[2]", file!()]);
    };
    refused(|graph| graph.param("w", [3], Init::ZEROS));
    refused(|graph| graph.param("w", [2], Init::ONES));
    refused(|graph| graph.state("w", [2], Init::ZEROS));
    refused(|graph| graph.input("w", [2]));
    refused(|graph| graph.labels("w", [2]));
    let graph = Graph::new();
    graph.input("x", [2]);
    graph.input("x", [2]);
    assert_mentions(&message(graph.check()), &["\"x\" is taken"]);
}

#[test]
fn the_first_misuse_is_reported_with_operands_lines_and_a_hint() {
    let graph = Graph::new();
    let line = line!();
    let image = graph.input("image", [100, 3, 28, 28]);
    let weight = graph.param("conv1.weight", [30, 1, 5, 5], Init::he(25));
    let h = image.conv2d(weight, Conv2dOptions::new()).relu().max_pool2d(2).flatten();
    let y = h.matmul(h).sum(&[7]);
    image.reshape([7]); // a second misuse, which has nothing to do with the first
    let expected = "conv2d at @3: image has 3 channels but weight expects 1\n  \
                    image [100, 3, 28, 28] input \"image\" at @1\n  \
                    weight [30, 1, 5, 5] param \"conv1.weight\" at @2\n  \
                    hint: a weight is [filters, channels of the image, height, width]";
    let expected = sited(expected, line);
    assert_eq!(message(graph.check()), expected);
    assert_eq!(message(gradients(y, &[weight])), expected);
    assert_eq!(message(vjp(&[(y, y)], &[weight])), expected);
    assert_eq!(message(Plan::<f32>::compile(&graph, &[y])), expected);
    assert_eq!(message(y.eval::<f64>(&[])), expected);
}

#[test]
fn an_error_keeps_the_roles_and_the_hint_of_its_operation() {
    let graph = Graph::new();
    let line = line!();
    let a = graph.input("a", [2, 3]);
    let b = (a * a).named("square");
    a.matmul(b);
    let expected = "matmul at @3: left has 3 columns but right has 2 rows\n  \
                    left [2, 3] input \"a\" at @1\n  \
                    right [2, 3] mul at @2\n  \
                    hint: the columns of the left matrix meet the rows of the right one";
    assert_eq!(message(graph.check()), sited(expected, line));
    let Err(Error::Op(error)) = graph.check() else { panic!("another kind of error") };
    assert_eq!((error.op.as_str(), error.site.line, error.operands.len()), ("matmul", line + 3, 2));
    assert_eq!(error.operands[1].role, "right");
}

#[test]
fn a_misused_result_has_the_shape_that_was_asked_for_and_adds_no_errors() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let bad = x.reshape([7]);
    let first = message(graph.check());
    assert_eq!(bad.shape(), [7].into());
    let _ = (bad + x).relu().sum(&[3]).max_pool2d(0).transpose().dropout(7.0).softmax(9).mean(&[4]);
    assert_eq!(message(graph.check()), first);
}

#[test]
fn values_of_two_graphs_do_not_mix() {
    let (one, other) = (Graph::new(), Graph::new());
    let (x, y) = (one.input("x", [2]), other.input("y", [2]));
    let line = line!() + 1;
    let _ = x + y;
    assert_mentions(
        &message(one.check()),
        &["add", "different graphs", &format!("{}:{line}", file!()), "hint: "],
    );
    other.check().expect("the other graph is untouched");

    let (one, other) = (Graph::new(), Graph::new());
    let (x, y) = (one.input("x", [2]), other.input("y", [2]));
    assert_mentions(&message(gradients(x.sum_all(), &[y])), &["belongs to another graph"]);
    assert_mentions(&message(Plan::<f64>::compile(&one, &[y])), &["y", "another graph"]);
    assert_mentions(&message(vjp(&[(x, y)], &[x])), &["another graph"]);
}

#[test]
fn only_parameters_are_assigned_to_once_and_in_their_shape() {
    let case = |record: fn(&Graph), parts: &[&str]| {
        let graph = Graph::new();
        record(&graph);
        let text = message(graph.check());
        assert_mentions(&text, parts);
        assert_mentions(&text, &["assign at", file!()]);
    };
    case(|g| g.input("x", [2]).assign(g.fill([2], 1.0)), &["only parameters", "input \"x\""]);
    let param = |g: &Graph| g.param("w", [2], Init::ZEROS).id();
    case(|g| g.param("w", [2], Init::ZEROS).assign(g.fill([3], 1.0)), &["[3]", "[2]", "param \"w\""]);
    case(|g| g.param("w", [2], Init::ZEROS).assign(g.labels("l", [2])), &["index [2]", "param \"w\""]);
    case(
        |g| {
            let w = g.param("w", [2], Init::ZEROS);
            w.assign(w + 1.0);
            w.assign(w + 2.0);
        },
        &["assigned to twice", "hint: ", "`update`"],
    );
    case(
        |g| {
            let w = g.param("w", [2], Init::ZEROS);
            w.update(|w| w + 1.0);
            w.assign(w + 2.0); // forgets the update
        },
        &["assigned to twice"],
    );
    let (one, other) = (Graph::new(), Graph::new());
    one.param("w", [2], Init::ZEROS).assign(other.param("w", [2], Init::ZEROS));
    assert_mentions(&message(one.check()), &["another graph"]);
    assert_eq!(param(&other).index(), 0);
}

#[test]
fn a_second_assignment_names_both_lines() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ZEROS);
    let line = line!();
    w.assign(w + 1.0);
    w.assign(w + 2.0);
    let text = message(graph.check());
    let at = |number: u32| format!("at {}:{}", file!(), line + number);
    assert_mentions(&text, &[&format!("assign {}", at(2)), &format!("earlier value [2] add {}", at(1))]);
}

#[test]
fn an_update_builds_on_what_was_assigned_before() {
    let graph = Graph::new();
    let w = graph.param("w", [2], Init::ZEROS);
    w.assign(w + 1.0);
    let first = graph.updates()[0].value;
    let second = w.update(|w| {
        assert_eq!(w.id(), first);
        w * 3.0
    });
    assert_eq!(graph.updates().iter().map(|update| update.value).collect::<Vec<_>>(), [second.id()]);
    graph.check().unwrap();
    // Its misuses are those of an assignment, under its name.
    let case = |record: fn(&Graph), parts: &[&str]| {
        let graph = Graph::new();
        record(&graph);
        assert_mentions(&message(graph.check()), &[parts, &["update at", file!()]].concat());
    };
    case(|g| _ = g.input("x", [2]).update(|x| x + 1.0), &["only parameters", "input \"x\""]);
    case(|g| _ = g.param("w", [2], Init::ZEROS).update(|w| w.sum_all()), &["does not fit", "[2]"]);
    case(|g| _ = g.param("w", [2], Init::ZEROS).update(|_| g.labels("l", [2])), &["index [2]"]);
}

#[test]
fn numbers_stand_on_both_sides_of_every_operator() {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    let given = array(&[2], &[2.0, -4.0]);
    let cases: [(Var<'_>, [f64; 2]); 9] = [
        (x + 1.0, [3.0, -3.0]),
        (1.0 + x, [3.0, -3.0]),
        (x - 1.0, [1.0, -5.0]),
        (1.0 - x, [-1.0, 5.0]),
        (x * 3.0, [6.0, -12.0]),
        (3.0 * x, [6.0, -12.0]),
        (x / 4.0, [0.5, -1.0]),
        (4.0 / x, [2.0, -1.0]),
        (-x, [-2.0, 4.0]),
    ];
    for (number, (y, expected)) in cases.into_iter().enumerate() {
        assert_eq!(value(y, &[x.feed(&given)]), array(&[2], &expected), "case {number}");
    }
}

#[test]
fn a_graph_knows_what_it_is_recorded_for() {
    assert_eq!(Graph::new().mode(), Mode::Train);
    let graph = Graph::with_mode(Mode::Evaluate);
    assert_eq!(graph.mode(), Mode::Evaluate);
    let x = graph.input("x", [2]);
    assert_eq!(x.dropout(0.5).id(), x.id());
    assert_ne!(Graph::new().identity(), graph.identity());
}

#[test]
fn parameters_that_a_loss_does_not_reach_are_named() {
    let graph = Graph::new();
    let used = graph.param("used", [2], Init::ZEROS);
    let lost = graph.param("lost", [2], Init::ZEROS);
    let forgotten = graph.param("forgotten", [3], Init::ZEROS);
    let loss = (used * used).sum_all().named("loss");
    let error = gradients(loss, &[used, lost, forgotten]).unwrap_err();
    assert!(
        matches!(&error, Error::Unreached { names, .. } if names[..] == ["lost", "forgotten"]),
        "{error}"
    );
    assert_mentions(
        &error.to_string(),
        &["loss does not depend on lost, forgotten", "silent zero", "hint: "],
    );
    // A path on which nothing changes is no path.
    let constant = lost.sum_all().powi(0);
    assert_mentions(&message(gradients(constant, &[lost])), &["does not depend on lost"]);
    // `vjp` returns each of them separately.
    let found = vjp(&[(loss, graph.fill([], 1.0))], &[used, lost]).unwrap();
    assert!(found[0].is_some() && found[1].is_none());
}

#[test]
fn a_gradient_is_taken_of_one_number() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3]);
    let line = line!() + 1;
    let text = message(gradients(x * x, &[x]));
    assert_mentions(&text, &["gradients at", "[2, 3]", "sum_all", "vjp", &format!("{}:{line}", file!())]);
    let other = graph.input("other", [3]);
    assert_mentions(&message(vjp(&[(x * x, other)], &[x])), &["y [2, 3]", "upstream [3] input \"other\""]);
    // One element is one number, whatever its shape.
    assert_eq!(gradients(x.sum_keep(&[0, 1]), &[x]).unwrap()[0].shape(), [2, 3].into());
}

#[test]
fn every_value_remembers_the_line_that_recorded_it() {
    let graph = Graph::new();
    let x = graph.input("x", [2, 3, 4, 4]);
    let rows = graph.input("rows", [2, 3]);
    let classes = graph.labels("classes", [2]);
    let w = graph.param("w", [3, 3, 3, 3], Init::he(27));
    let pooled = x.conv2d(w, Conv2dOptions::new().padding(1)).max_pool2d(2).avg_pool2d(2).flatten();
    let _ = (rows.sum_keep(&[1]) + rows.mean(&[0]) - rows.mean_all()).softmax(1).log_softmax(0).dropout(0.5);
    let _ = (1.0 - rows * 2.0 / 3.0).exp().ln().sqrt().powi(2).sigmoid().tanh().relu().gate(rows);
    let _ = x.im2col(2).col2im([2, 3, 4, 4], 2).permute(&[0, 2, 3, 1]).transpose().broadcast_to([2, 4, 3, 4]);
    let loss = rows.softmax_cross_entropy(classes) + pooled.softmax_cross_entropy(rows.softmax(1));
    let found = gradients(loss, &[w, rows, x]).unwrap();
    let _ = vjp(&[(found[0], w), (found[0], w)], &[w]).unwrap();
    graph.check().unwrap();
    let listing = graph.to_string();
    let here = format!("  # {}:", file!());
    let lost: Vec<&str> = listing.lines().filter(|line| !line.contains(&here)).collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn gradients_carry_the_line_of_what_they_differentiate() {
    let graph = Graph::new();
    let x = graph.input("x", [2]);
    let line = line!() + 1;
    let y = x.exp();
    let loss = y.sum_all();
    gradients(loss, &[x]).unwrap();
    let listing = graph.to_string();
    let of_exp: Vec<&str> = listing.lines().filter(|line| line.ends_with(", gradient of %1")).collect();
    assert_eq!(of_exp.len(), 1, "{listing}");
    assert!(
        of_exp[0].ends_with(&format!("{}:{line}, gradient of %{}", file!(), y.id().index())),
        "{listing}"
    );
    assert_eq!(x.ty(), TensorType::real([2]));
}
