//! Equations of Einstein sums, with their definitions as loops.

use ndarray::{ArrayD, IxDyn};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// The axes of a term as numbers: those below `LETTERS` have letters, the others are in `...`, in this order.
type Term = Vec<usize>;

const LETTERS: usize = 4;
const UNNAMED: usize = 2;

#[derive(Debug, Clone)]
pub struct Equation {
    pub text: String,
    pub shapes: Vec<Vec<usize>>,
    terms: Vec<Term>,
    result: Term,
    sizes: Vec<usize>,
}

/// Letters with repetitions, and the last so many unnamed axes in their midst.
fn terms() -> impl Strategy<Value = (Term, usize, Option<usize>)> {
    let letters = vec(0..LETTERS, 0..4);
    (letters, any::<prop::sample::Index>(), proptest::option::of(0..=UNNAMED)).prop_map(
        |(letters, position, unnamed)| {
            let position = position.index(letters.len() + 1);
            (letters, position, unnamed)
        },
    )
}

/// One to three operands. Some axes have size 1 where others repeat them, some are empty.
pub fn equations() -> impl Strategy<Value = Equation> {
    let sizes = vec(select(vec![0, 1, 2, 2, 3, 3, 4]), LETTERS + UNNAMED);
    (vec(terms(), 1..4), sizes, any::<u64>()).prop_flat_map(|(terms, sizes, thin)| {
        let mut axes: Term = terms.iter().flat_map(|(letters, ..)| letters.clone()).collect();
        axes.sort_unstable();
        axes.dedup();
        let kept = subsequence(axes.clone(), 0..=axes.len()).prop_shuffle();
        (Just((terms, sizes, thin)), kept, any::<prop::sample::Index>()).prop_map(
            |((terms, sizes, thin), kept, position)| {
                let position = position.index(kept.len() + 1);
                equation(&terms, sizes, thin, (kept, position))
            },
        )
    })
}

fn equation(
    terms: &[(Term, usize, Option<usize>)],
    sizes: Vec<usize>,
    thin: u64,
    result: (Term, usize),
) -> Equation {
    let expand = |letters: &Term, position: usize, unnamed: usize| -> Term {
        let unnamed: Term = (LETTERS + UNNAMED - unnamed..LETTERS + UNNAMED).collect();
        [&letters[..position], &unnamed, &letters[position..]].concat()
    };
    let write = |letters: &Term, position: usize, dots: &str| -> String {
        let letter = |&axis: &usize| char::from(b'i' + axis as u8);
        letters[..position]
            .iter()
            .map(letter)
            .chain(dots.chars())
            .chain(letters[position..].iter().map(letter))
            .collect()
    };
    let full: Vec<Term> = terms
        .iter()
        .map(|(letters, position, unnamed)| expand(letters, *position, unnamed.unwrap_or(0)))
        .collect();
    let most = terms.iter().filter_map(|(.., unnamed)| *unnamed).max();
    let written: Vec<String> = terms
        .iter()
        .map(|(letters, position, unnamed)| {
            write(letters, *position, if unnamed.is_some() { "..." } else { "" })
        })
        .collect();
    let right = write(&result.0, result.1, if most.is_some() { "..." } else { "" });
    let mut at = 0;
    let mut size = |&axis: &usize| {
        at += 1;
        if thin >> (3 * at % 60) & 7 == 0 { 1 } else { sizes[axis] }
    };
    let shapes: Vec<Vec<usize>> = full.iter().map(|term| term.iter().map(&mut size).collect()).collect();
    // The size of an axis is what some operand has that is not 1.
    let found = |axis: usize| {
        let all = full.iter().flatten().zip(shapes.iter().flatten());
        all.filter(|(other, _)| **other == axis).map(|(_, &size)| size).find(|&size| size != 1).unwrap_or(1)
    };
    Equation {
        text: format!("{}->{right}", written.join(",")),
        sizes: (0..LETTERS + UNNAMED).map(found).collect(),
        result: expand(&result.0, result.1, most.unwrap_or(0)),
        terms: full,
        shapes,
    }
}

impl Equation {
    /// The sum over every position of all axes.
    pub fn defined(&self, operands: &[ArrayD<f64>]) -> ArrayD<f64> {
        let mut result = ArrayD::zeros(self.result.iter().map(|&axis| self.sizes[axis]).collect::<Vec<_>>());
        // Axes that no operand has are not there.
        let used = |axis: &usize| self.terms.iter().flatten().any(|other| other == axis);
        let counts: Vec<usize> =
            (0..self.sizes.len()).map(|axis| if used(&axis) { self.sizes[axis] } else { 1 }).collect();
        for position in ndarray::indices(IxDyn(&counts)) {
            let at = |term: &Term, shape: &[usize]| -> Vec<usize> {
                term.iter()
                    .zip(shape)
                    .map(|(&axis, &size)| if size == 1 { 0 } else { position[axis] })
                    .collect()
            };
            let factors = self.terms.iter().zip(operands);
            let product: f64 =
                factors.map(|(term, operand)| operand[&at(term, operand.shape())[..]]).product();
            let shape = result.shape().to_vec();
            result[&at(&self.result, &shape)[..]] += product;
        }
        result
    }
}
