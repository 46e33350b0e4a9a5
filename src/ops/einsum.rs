//! Products and sums of arrays as Einstein wrote them: by naming axes. Composed of matrix products.

use std::collections::{BTreeMap, BTreeSet};

use super::example::{Example, normal};
use crate::error::Problem;
use crate::graph::{Attributes, Dtype, Graph, TensorType, Var};

/// What stands for an axis in an equation. In the order of the result if the equation does not name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// An axis that `...` stands for, given as how many of these come after it, negated.
    Rest(isize),
    Letter(char),
}

/// An equation, read for operands of known ranks.
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
}

/// How many terms, the first ones, a pair is sought among.
const MOST_TERMS: usize = 32;

/// An array whose axes have labels, each once. None has size 1: such an axis would only repeat, and is left out.
#[derive(Clone)]
struct Labelled<'g> {
    value: Var<'g>,
    labels: Vec<Label>,
}

impl Graph {
    /// Sums of products of elements of arrays, by the name of each axis: in `ij,jk->ik`, the matrix product, j is in no
    /// result and so is summed over.
    ///
    /// A letter that an operand has twice takes its diagonal. `...` stands for axes without names, which are aligned at
    /// the last one. Axes of size 1 broadcast. Without `->`, the result has the axes of `...` and then the letters that
    /// occur once, by the alphabet (NumPy's rules). Operands are multiplied in pairs, as matrices wherever they share a
    /// summed axis, and next always the pair whose product grows least; listings print this `path`, in which a product
    /// is the last term.
    ///
    /// ```
    /// use dagrad::Graph;
    ///
    /// let graph = Graph::new();
    /// let (queries, keys) = (graph.input("queries", [8, 20, 4, 16]), graph.input("keys", [8, 30, 4, 16]));
    /// let scores = graph.einsum("bqhd,bkhd->bhqk", &[queries, keys]);
    /// assert_eq!(scores.shape(), [8, 4, 20, 30].into());
    /// ```
    ///
    /// # Errors
    /// Recorded: an equation that is none or does not fit the operands, sizes that differ, indices.
    #[track_caller]
    pub fn einsum<'g>(&'g self, equation: &str, operands: &[Var<'g>]) -> Var<'g> {
        let types: Vec<_> = operands.iter().map(|operand| operand.ty()).collect();
        let read = Equation::read(equation, &types).and_then(|read| Ok((read.sizes(&types)?, read)));
        let (sizes, Equation { operands: labels, result }) = match read {
            Ok(read) => read,
            Err(problem) => {
                return self.refuse("einsum", &[], operands, problem).or_rank(likely_rank(equation));
            }
        };
        let path = path(&labels, &result, &sizes);
        let order: Vec<String> = path.iter().map(|[left, right]| format!("{left}·{right}")).collect();
        let attributes =
            Attributes::new().with("equation", equation.to_owned()).with("path", order.join(", "));
        let _composite = self.composed("einsum", attributes);
        let mut terms = Vec::with_capacity(operands.len());
        for (&operand, own) in operands.iter().zip(&labels) {
            terms.push(Labelled::new(operand, own)); // a closure would not know whose line it is
        }
        for [left, right] in path {
            let (right, left) = (terms.remove(right), terms.remove(left));
            let needed: Vec<Label> =
                terms.iter().flat_map(|term| &term.labels).chain(&result).copied().collect();
            terms.push(left.times(right, &needed, &sizes));
        }
        let product = terms.pop().unwrap_or(Labelled { value: self.fill([], 1.0), labels: Vec::new() });
        let present: Vec<Label> =
            result.iter().filter(|label| product.labels.contains(label)).copied().collect();
        let size = |label: &Label| if present.contains(label) { sizes[label] } else { 1 };
        let found = product.arranged(&present).reshape(result.iter().map(size).collect::<Vec<_>>());
        found.broadcast_to(result.iter().map(|label| sizes[label]).collect::<Vec<_>>())
    }
}

/// How many axes the result of a refused equation is taken to have: more than anybody reads where it does not say.
fn likely_rank(equation: &str) -> usize {
    let result = equation.split_once("->").map(|(_, result)| result).filter(|result| !result.contains('.'));
    result.map_or(8, |result| result.chars().filter(char::is_ascii_alphabetic).count())
}

/// Which two of the remaining terms are multiplied in each step; their product becomes the last term. It is the pair that
/// makes least of most: whose product has the fewest elements more than the two have (the greedy order of
/// Smith and Gray, *opt_einsum*, 2018).
fn path(terms: &[Vec<Label>], result: &[Label], sizes: &BTreeMap<Label, usize>) -> Vec<[usize; 2]> {
    type Labels = BTreeSet<Label>;
    let count = |labels: &Labels| labels.iter().map(|label| sizes[label] as f64).product::<f64>();
    let mut terms: Vec<Labels> = terms.iter().map(|term| term.iter().copied().collect()).collect();
    // How many terms have a label; the result counts as one.
    let mut times: BTreeMap<Label, usize> = BTreeMap::new();
    terms.iter().flatten().chain(result).for_each(|label| *times.entry(*label).or_default() += 1);
    let mut path = Vec::new();
    while terms.len() > 1 {
        let product = |left: &Labels, right: &Labels| -> Labels {
            let own = |label: &Label| usize::from(left.contains(label)) + usize::from(right.contains(label));
            left.union(right).filter(|label| times[*label] > own(label)).copied().collect()
        };
        let growth = |[left, right]: [usize; 2]| {
            let (left, right) = (&terms[left], &terms[right]);
            count(&product(left, right)) - count(left) - count(right)
        };
        let near = terms.len().min(MOST_TERMS);
        let pairs = (1..near).flat_map(|right| (0..right).map(move |left| [left, right]));
        let pairs = pairs.map(|pair| (growth(pair), pair));
        let Some((_, [left, right])) = pairs.min_by(|a, b| a.0.total_cmp(&b.0)) else { break };
        let next = product(&terms[left], &terms[right]);
        let gone = [terms.remove(right), terms.remove(left)];
        gone.iter().flatten().for_each(|label| *times.entry(*label).or_default() -= 1);
        next.iter().for_each(|label| *times.entry(*label).or_default() += 1);
        terms.push(next);
        path.push([left, right]);
    }
    path
}

impl Equation {
    fn read(text: &str, operands: &[TensorType]) -> Result<Self, Problem> {
        let (left, right) = text.split_once("->").map_or((text, None), |(left, right)| (left, Some(right)));
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != operands.len() {
            let text = format!("`{text}` is of {} arrays, but {} are given", terms.len(), operands.len());
            return Err(Problem::new(text).hint("terms are separated by commas"));
        }
        let mut most = 0;
        let mut read = Vec::with_capacity(terms.len());
        for (term, ty) in terms.iter().zip(operands) {
            if ty.dtype == Dtype::Index {
                return Err(Problem::new(format!("`{term}` of `{text}` is an array of indices"))
                    .hint("it takes real numbers; `one_hot` makes some of indices"));
            }
            let (rank, named) = (ty.shape.len(), labels(term, 0)?.len());
            let rest = if term.contains("...") { rank.saturating_sub(named) } else { 0 };
            if named + rest != rank {
                let problem =
                    Problem::new(format!("`{term}` of `{text}` names {named} axes of {}", ty.shape));
                return Err(problem.hint("one letter for each axis; `...` stands for any number of axes"));
            }
            most = rest.max(most);
            read.push(labels(term, rest)?);
        }
        let result = match right {
            Some(right) => labels(right, most)?,
            None => {
                let mut times = BTreeMap::new();
                read.iter().flatten().for_each(|label| *times.entry(*label).or_insert(0) += 1);
                let once =
                    times.into_iter().filter(|(label, times)| *times == 1 || matches!(label, Label::Rest(_)));
                once.map(|(label, _)| label).collect()
            }
        };
        for (at, label) in result.iter().enumerate() {
            if !read.iter().flatten().any(|other| other == label) {
                let text = format!("{} of the result of `{text}` is in no operand", label.name());
                return Err(
                    Problem::new(text).hint("`broadcast_to` or `tile` repeat an array along a new axis")
                );
            }
            if result[..at].contains(label) {
                return Err(Problem::new(format!("{} is twice in the result of `{text}`", label.name()))
                    .hint("a result has a name for each axis"));
            }
        }
        Ok(Self { operands: read, result })
    }

    /// The size of each axis: what is not 1 agrees.
    fn sizes(&self, operands: &[TensorType]) -> Result<BTreeMap<Label, usize>, Problem> {
        let mut sizes = BTreeMap::new();
        for (labels, ty) in self.operands.iter().zip(operands) {
            for (&label, &size) in labels.iter().zip(ty.shape.iter()) {
                let known = sizes.entry(label).or_insert(size);
                if *known == 1 {
                    *known = size;
                } else if size != 1 && size != *known {
                    let text = format!("{} has sizes {known} and {size}", label.name());
                    return Err(Problem::new(text).hint("axes of one name have one size, or 1"));
                }
            }
        }
        Ok(sizes)
    }
}

/// The labels of a term in which `...` stands for `rest` axes.
fn labels(term: &str, rest: usize) -> Result<Vec<Label>, Problem> {
    let letters = |part: &str| -> Result<Vec<Label>, Problem> {
        let visible = part.chars().filter(|letter| !letter.is_whitespace());
        let read = visible.map(|letter| match letter {
            _ if letter.is_alphabetic() => Ok(Label::Letter(letter)),
            _ => Err(Problem::new(format!("`{letter}` in `{term}` does not name an axis"))
                .hint("axes are letters, as in `bij,bjk->bik`, or `...` once in a term")),
        });
        read.collect()
    };
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let unnamed = (0..rest as isize).rev().map(|later| Label::Rest(-later)).collect();
    Ok([letters(before)?, unnamed, letters(after)?].concat())
}

impl Label {
    fn name(self) -> String {
        match self {
            Self::Rest(_) => "an axis of `...`".to_owned(),
            Self::Letter(letter) => format!("axis `{letter}`"),
        }
    }
}

impl<'g> Labelled<'g> {
    /// Takes the diagonal of axes with one label, and leaves out axes of size 1.
    #[track_caller]
    fn new(value: Var<'g>, labels: &[Label]) -> Self {
        let shape = value.shape();
        let (sizes, labels): (Vec<usize>, Vec<Label>) = shape
            .iter()
            .zip(labels)
            .filter(|(size, _)| **size != 1)
            .map(|(&size, &label)| (size, label))
            .unzip();
        let mut found = Self { value: value.reshape(&sizes[..]), labels };
        let repeated = |labels: &[Label]| (1..labels.len()).find(|&at| labels[..at].contains(&labels[at]));
        while let Some(second) = repeated(&found.labels) {
            let label = found.labels[second];
            let mut order: Vec<Label> = found.labels.clone();
            order.retain(|other| *other != label);
            let times = found.labels.len() - order.len();
            order.push(label);
            found = found.diagonal(label, times, order);
        }
        found
    }

    /// The diagonal of the axes that have a label, which comes last in the order of the result.
    #[track_caller]
    fn diagonal(self, label: Label, times: usize, order: Vec<Label>) -> Self {
        let all = 0..self.labels.len();
        let (on, off): (Vec<usize>, Vec<usize>) = all.partition(|&axis| self.labels[axis] == label);
        let axes: Vec<isize> = off.iter().chain(&on).map(|&axis| axis as isize).collect();
        let moved = self.value.permute(&axes);
        let (shape, size) = (moved.shape(), self.value.shape()[on[0]]);
        let mut sizes = shape[..off.len()].to_vec();
        sizes.push(shape[off.len()..].iter().product());
        // One step along each of the axes at once is this far: 1 + n + n² + …
        let step = (0..times as u32).map(|power| size.pow(power)).sum::<usize>() as isize;
        Self { value: moved.reshape(sizes).slice_step(-1, .., step), labels: order }
    }

    /// The axes in the order of some of the labels; the others are summed over.
    #[track_caller]
    fn arranged(self, order: &[Label]) -> Var<'g> {
        let Self { value, labels } = self.sum_but(order);
        let axis_of = |label: &Label| labels.iter().position(|own| own == label).map(|axis| axis as isize);
        value.permute(&order.iter().filter_map(axis_of).collect::<Vec<_>>())
    }

    /// Sums over all axes but those with the labels.
    #[track_caller]
    fn sum_but(self, kept: &[Label]) -> Self {
        let labels = self.labels.iter().enumerate();
        let gone: Vec<isize> =
            labels.filter(|(_, label)| !kept.contains(label)).map(|(axis, _)| axis as isize).collect();
        let value = if gone.is_empty() { self.value } else { self.value.sum(&gone) };
        Self { value, labels: self.labels.into_iter().filter(|label| kept.contains(label)).collect() }
    }

    /// The product with another array, summed over what nobody needs: a batch of matrix products.
    #[track_caller]
    fn times(self, other: Self, needed: &[Label], sizes: &BTreeMap<Label, usize>) -> Self {
        let _at = self.value.graph().at_caller(); // for the closure below
        let left = self.clone().sum_but(&[&other.labels, needed].concat());
        let right = other.clone().sum_but(&[&self.labels, needed].concat());
        let (both, rows): (Vec<Label>, Vec<Label>) =
            left.labels.iter().partition(|label| right.labels.contains(label));
        let (batch, inner): (Vec<Label>, Vec<Label>) =
            both.into_iter().partition(|label| needed.contains(label));
        let columns: Vec<Label> =
            right.labels.iter().filter(|label| !left.labels.contains(label)).copied().collect();
        // What overflows is refused with its shape where it is recorded.
        let size = |labels: &Vec<Label>| {
            labels.iter().fold(1_usize, |count, label| count.saturating_mul(sizes[label]))
        };
        let matrices = |value: Self, order: [&Vec<Label>; 3]| {
            value.arranged(&order.map(|labels| &labels[..]).concat()).reshape(order.map(size))
        };
        let (left, right) =
            (matrices(left, [&batch, &rows, &inner]), matrices(right, [&batch, &inner, &columns]));
        // One column by one row is no sum, and faster without the matrices.
        let product = if inner.is_empty() { left * right } else { left.matmul(right) };
        let labels = [batch, rows, columns].concat();
        let shape: Vec<usize> = labels.iter().map(|label| sizes[label]).collect();
        Self { value: product.reshape(shape), labels }
    }
}

/// What the family's checks are made from.
pub fn examples() -> Vec<Example> {
    fn einsum(name: &'static str, operands: &[&[usize]], equation: &'static str) -> Example {
        let operands: Vec<_> = operands.iter().map(|shape| normal(*shape)).collect();
        Example::boxed(name, operands, Box::new(move |graph, v| graph.einsum(equation, v))).smooth()
    }
    vec![
        einsum("product", &[&[2, 3], &[3, 4]], "ij,jk->ik"),
        einsum("batches in another order", &[&[2, 4, 3], &[3, 5, 2]], "bij,jkb->kbi"),
        einsum("outer product", &[&[2], &[3]], "i,j"),
        einsum("weights of rows", &[&[2, 3], &[2]], "ij,i->ij"),
        einsum("inner product of itself", &[&[3, 2], &[3, 2]], "ab,ab->"),
        einsum("three", &[&[2, 3], &[3, 4], &[4, 2]], "ij,jk,ki->j"),
        einsum("transposed", &[&[2, 3, 4]], "abc->cab"),
        einsum("sum", &[&[2, 3, 4]], "abc->b"),
        einsum("the second and the last first", &[&[2, 3], &[3, 4], &[4, 2], &[3, 4]], "ij,jk,kl,jk->il"),
        einsum("trace", &[&[3, 3]], "ii"),
        einsum("diagonal of three axes", &[&[2, 3, 2, 2]], "ijii->ji"),
        einsum("unnamed axes", &[&[2, 1, 3, 4], &[5, 4, 2]], "...ij,...jk->...ik"),
        einsum("repeated", &[&[2, 1], &[4, 3]], "ab,cb->abc"),
    ]
}
