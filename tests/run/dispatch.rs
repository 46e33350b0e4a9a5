//! Every instruction set passes the checks of all operations, and computes the same bits.
//!
//! The instruction set is chosen once in a process. So a test here starts its own program once for each of them,
//! with the variable `DAGRAD_ISA`, and compares what the processes print: hashes of the bits of their results.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::{Child, Stdio};

use crate::common::{alone, numbers};
use dagrad::nn::{DeepConvNet, Network, SimpleConvNet};
use dagrad::ops::Example;
use dagrad::ops::example::{Sample, Values};
use dagrad::optim::{Adam, minimize};
use dagrad::{Feed, Graph, Outputs, Plan, Precision, Store, Value, Var, Workspace, check, gradients, ops};
use ndarray::{Array1, ArrayD};

/// Begins each line that is compared.
const MARK: &str = "bits of ";

#[test]
fn every_instruction_set_computes_the_same_bits() {
    let sets = available();
    let children: Vec<Child> = sets.iter().map(|set| start(set)).collect();
    let mut lines = sets.iter().zip(children).map(|(set, child)| (set, finish(set, child)));
    let (best, expected) = lines.next().expect("the portable set is always there");
    assert!(expected.len() > 100, "only {} results are compared", expected.len());
    for (set, found) in lines {
        assert_eq!(found.len(), expected.len());
        let differing = found.iter().zip(&expected).filter(|(found, expected)| found != expected);
        let differing: Vec<&str> = differing.map(|(found, _)| found.as_str()).collect();
        assert!(differing.is_empty(), "{set} differs from {best} in\n{}", differing.join("\n"));
    }
}

/// The instruction sets of this machine, the best first.
fn available() -> Vec<&'static str> {
    let mut sets = vec!["portable"];
    #[cfg(target_arch = "aarch64")]
    sets.push("neon");
    #[cfg(target_arch = "x86_64")]
    {
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        sets.extend(has_avx2.then_some("avx2"));
        sets.extend((has_avx2 && has_avx512).then_some("avx512"));
    }
    sets.reverse();
    sets
}

/// Starts this program with an instruction set, to run the test below.
fn start(set: &str) -> Child {
    let mut program = alone("dispatch::one_instruction_set");
    program.env("DAGRAD_ISA", set);
    program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("this program starts again")
}

/// The lines that a process prints to be compared.
fn finish(set: &str, child: Child) -> Vec<String> {
    let output = child.wait_with_output().expect("the output of a child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{set}: {text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.find(MARK).map(|at| line[at..].to_string())).collect()
}

#[test]
#[ignore = "every_instruction_set_computes_the_same_bits runs it, once for each set"]
fn one_instruction_set() {
    for (family, examples) in ops::families() {
        check::family(family, &examples).unwrap_or_else(|error| panic!("{family}: {error}"));
        for example in &examples {
            report(&format!("{family}, {}, f32", example.name), evaluate::<f32>(example));
            report(&format!("{family}, {}, f64", example.name), evaluate::<f64>(example));
        }
    }
    report("SimpleConvNet, f32", train::<f32>(SimpleConvNet::default()));
    report("SimpleConvNet, f64", train::<f64>(SimpleConvNet::default()));
    report("DeepConvNet, f32", train::<f32>(DeepConvNet::default()));
    report("DeepConvNet, f64", train::<f64>(DeepConvNet::default()));
}

/// Prints a line to be compared.
fn report(name: &str, bits: DefaultHasher) {
    println!("{MARK}{name}: {:016x}", bits.finish());
}

/// The bits of an example's result and of its gradients.
fn evaluate<T: Precision>(example: &Example) -> DefaultHasher {
    let graph = Graph::new();
    let operands: Vec<Operand> = example.operands.iter().enumerate().map(draw).collect();
    let inputs: Vec<Var<'_>> = operands.iter().map(|operand| operand.record(&graph)).collect();
    let result = (example.build)(&graph, &inputs);
    let real = operands.iter().zip(&inputs).filter(|(operand, _)| matches!(operand.value, Drawn::Real(_)));
    let real: Vec<Var<'_>> = real.map(|(_, input)| *input).collect();
    let upstream = graph.constant(numbers(&result.shape(), 100));
    let derivatives = dagrad::vjp(&[(result, upstream)], &real).unwrap();
    let outputs: Vec<Var<'_>> = [result].into_iter().chain(derivatives.into_iter().flatten()).collect();
    let plan = Plan::<T>::compile(&graph, &outputs).unwrap();
    let feeds: Vec<Feed<'_>> = operands.iter().map(Operand::feed).collect();
    let (mut store, mut workspace) = (Store::new(1), Workspace::new(2).unwrap());
    let mut bits = DefaultHasher::new();
    hash(&plan.run(&mut store, &mut workspace, &feeds).unwrap(), &mut bits);
    bits
}

/// A value for an operand of an example.
struct Operand {
    name: String,
    value: Drawn,
}

enum Drawn {
    Real(ArrayD<f64>),
    Index(ArrayD<u32>),
}

/// Draws a value of the kind that an operand asks for.
fn draw((position, sample): (usize, &Sample)) -> Operand {
    let drawn = numbers(&sample.shape, position as u64);
    let value = match sample.values {
        Values::Positive => Drawn::Real(drawn.mapv(|number| 1.25 + 0.75 * number)),
        Values::AwayFromZero => Drawn::Real(drawn.mapv(|number| number + 0.1_f64.copysign(number))),
        Values::Below(limit) => {
            Drawn::Index(drawn.mapv(|number| ((number + 1.0) / 2.0 * f64::from(limit)) as u32))
        }
        Values::Normal | Values::Distinct => Drawn::Real(drawn),
    };
    Operand { name: format!("operand {position}"), value }
}

impl Operand {
    fn record<'g>(&self, graph: &'g Graph) -> Var<'g> {
        match &self.value {
            Drawn::Real(array) => graph.input(&self.name, array.shape()),
            Drawn::Index(array) => graph.labels(&self.name, array.shape()),
        }
    }

    fn feed(&self) -> Feed<'_> {
        let value: Value<'_> = match &self.value {
            Drawn::Real(array) => array.into(),
            Drawn::Index(array) => array.into(),
        };
        Feed::new(&self.name, value)
    }
}

/// The bits of the loss and all gradients in a training step, then of all parameters.
fn train<T: Precision>(network: impl Network) -> DefaultHasher {
    const BATCH: usize = 16;
    let graph = Graph::new();
    let images = graph.input("images", [BATCH, 1, 28, 28]);
    let classes = graph.labels("classes", [BATCH]);
    let loss = network.logits(images).softmax_cross_entropy(classes);
    let derivatives = gradients(loss, &graph.parameters()).unwrap();
    minimize(loss, &Adam::new(1e-3)).unwrap();
    let outputs: Vec<Var<'_>> = [loss].into_iter().chain(derivatives).collect();
    let plan = Plan::<T>::compile(&graph, &outputs).unwrap();
    assert!(!plan.groups().is_empty(), "there is no group of steps in\n{plan}");

    let pixels = numbers(&[BATCH, 1, 28, 28], 3);
    let labels: Array1<u32> = (0..BATCH).map(|image| (image * 7 % 10) as u32).collect();
    let feeds = [images.feed(&pixels), classes.feed(&labels)];
    let (mut store, mut workspace) = (Store::new(4), Workspace::new(2).unwrap());
    let mut bits = DefaultHasher::new();
    hash(&plan.run(&mut store, &mut workspace, &feeds).unwrap(), &mut bits);
    for name in store.names() {
        hash_array(&store.get(name).unwrap(), &mut bits);
    }
    bits
}

/// Hashes all results of a run, real numbers and indices.
fn hash<T: Precision>(outputs: &Outputs<'_, T>, bits: &mut DefaultHasher) {
    for position in 0..outputs.len() {
        match outputs.at(position) {
            Some(array) => hash_array(&array, bits),
            None => outputs.indices(position).iter().flatten().for_each(|index| index.hash(bits)),
        }
    }
}

/// Hashes an array. Widening to `f64` keeps every bit apart.
fn hash_array<T: Precision>(array: &ndarray::ArrayViewD<'_, T>, bits: &mut DefaultHasher) {
    array.iter().for_each(|number| number.into_f64().to_bits().hash(bits));
}
