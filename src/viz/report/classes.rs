//! Predictions: the confusion matrix and the worst samples.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{grouped, part, table};
use crate::data::{Dataset, Samples};
use crate::error::Result;
use crate::nn::{Model, Network, argmax};
use crate::viz::saliency::at_once;

/// Samples that are predicted at once, at most.
const BATCH: usize = 500;
/// How many of the worst samples are shown.
const WORST: usize = 12;
/// The most rows of the confusion matrix. Of more classes several share a row,
const ROWS: usize = 32;
/// and so many pairs and classes are listed.
const LISTED: usize = 20;
/// The most letters of a class's name.
const NAME: usize = 24;

/// What a network predicts for each sample of a dataset.
pub struct Predictions {
    samples: Vec<Prediction>,
    classes: usize,
    /// What the classes are called, if they have names.
    names: Vec<String>,
}

/// How many samples have a label and a prediction.
type Counts = BTreeMap<(usize, Option<usize>), usize>;

/// What a network predicts for a sample.
struct Prediction {
    label: usize,
    /// The probability of the label.
    own: f64,
    /// The most probable class, if no logit is NaN,
    predicted: Option<usize>,
    /// and its probability.
    probability: f64,
}

impl Predictions {
    pub fn of<N: Network>(model: &mut Model<N>, data: &Dataset) -> Result<Self> {
        let order: Vec<usize> = (0..data.len()).collect();
        let mut samples = Vec::with_capacity(data.len());
        let mut classes = data.classes();
        for chunk in order.chunks(at_once(data.image_shape(), BATCH)) {
            let (images, labels) = data.batch(chunk)?;
            let logits = model.predict(&images)?;
            classes = classes.max(logits.dim().1);
            for (row, &label) in logits.outer_iter().zip(&labels) {
                let probabilities = softmax(row.iter().copied().map(f64::from));
                let of = |class: usize| probabilities.get(class).copied().unwrap_or(0.0);
                let (label, predicted) = (label as usize, argmax(row.iter()));
                let probability = predicted.map_or(f64::NAN, of);
                samples.push(Prediction { label, own: of(label), predicted, probability });
            }
        }
        Ok(Self { samples, classes, names: data.class_names().unwrap_or_default().to_vec() })
    }

    /// The number of a class, and its name if it has one, cut off where it is long.
    pub fn name(&self, class: usize) -> String {
        let name: String =
            self.names.get(class).into_iter().flat_map(|name| name.chars().take(NAME)).collect();
        format!("{class} {name}").trim_end().to_owned()
    }

    /// The same of a predicted class.
    fn predicted_name(&self, class: Option<usize>) -> String {
        class.map_or_else(|| "none".to_owned(), |class| self.name(class))
    }

    /// The most probable class, or the label where there is none.
    pub fn predicted(&self, sample: usize) -> usize {
        let Prediction { label, predicted, .. } = self.samples[sample];
        predicted.unwrap_or(label)
    }

    /// The samples whose label is least probable, worst first: those whose probabilities are NaN.
    pub fn worst(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        let own = |sample: usize| Some(self.samples[sample].own).filter(|own| !own.is_nan()).unwrap_or(-1.0);
        order.sort_by(|&a, &b| own(a).total_cmp(&own(b)));
        order.truncate(WORST);
        order
    }

    /// How often each class (row) was predicted as each (column). Of many classes neighbours share rows and columns, and the
    /// pairs and classes with the most errors are listed.
    pub fn confusion_part(&self) -> Markup {
        let mut counts = Counts::new();
        for sample in &self.samples {
            *counts.entry((sample.label, sample.predicted)).or_default() += 1;
        }
        let sum = |is: fn(usize, Option<usize>) -> bool| -> usize {
            counts
                .iter()
                .filter(|((label, predicted), _)| is(*label, *predicted))
                .map(|(_, count)| count)
                .sum()
        };
        let correct = sum(|label, predicted| predicted == Some(label));
        let no_number = match sum(|_, predicted| predicted.is_none()) {
            0 => String::new(),
            samples => format!(" {samples} have a NaN among their logits: they are wrong, and in no column."),
        };
        let together = self.classes.div_ceil(ROWS).max(1);
        let shared = match together {
            1 => String::new(),
            _ => format!(" Each row and column is of {together} classes and named by the first."),
        };
        let all = self.samples.len();
        let about =
            format!("Rows: labels; columns: predictions. {correct} of {all} are correct.{no_number}{shared}");
        let mut matrix = vec![vec![0; self.classes.div_ceil(together)]; self.classes.div_ceil(together)];
        for ((label, predicted), count) in &counts {
            predicted.iter().for_each(|predicted| matrix[label / together][predicted / together] += count);
        }
        let content = html! {
            (self.matrix_table(&matrix, together))
            @if together > 1 {
                div.columns { div { (self.most_confused(&counts)) } div { (self.least_correct(&counts)) } }
            }
        };
        part("Confusion", &about, content)
    }

    /// The pairs of label and prediction with the most errors.
    fn most_confused(&self, counts: &Counts) -> Markup {
        let wrong = counts.iter().filter(|((label, predicted), _)| *predicted != Some(*label));
        let mut pairs: Vec<_> = wrong.collect();
        pairs.sort_by_key(|(_, count)| Reverse(**count));
        let rows = html! {
            @for ((label, predicted), count) in pairs.iter().take(LISTED) {
                tr { td { (self.name(*label)) } td { (self.predicted_name(*predicted)) } td { (grouped(**count)) } }
            }
        };
        html! { h4 { "Most often confused" } (table("", &["label", "predicted", "samples"], &rows)) }
    }

    /// The classes of which the least part is correct.
    fn least_correct(&self, counts: &Counts) -> Markup {
        let mut classes: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        for (&(label, predicted), count) in counts {
            let [correct, all] = classes.entry(label).or_default();
            (*correct, *all) = (*correct + if predicted == Some(label) { *count } else { 0 }, *all + count);
        }
        let share = |[correct, all]: [usize; 2]| correct as f64 / all as f64; // a class is there if a sample is
        let mut classes: Vec<_> = classes.into_iter().collect();
        classes.sort_by(|(_, a), (_, b)| share(*a).total_cmp(&share(*b)).then(b[1].cmp(&a[1])));
        let rows = html! {
            @for (class, counts) in classes.into_iter().take(LISTED) {
                tr { td { (self.name(class)) } td { (grouped(counts[1])) } td { (percent(share(counts))) } }
            }
        };
        html! { h4 { "Least often correct" } (table("", &["label", "samples", "correct"], &rows)) }
    }

    /// The worst samples with their probabilities; `image` draws a sample.
    pub fn worst_part(&self, image: impl Fn(usize) -> Result<Markup>) -> Result<Markup> {
        let content = html! {
            div.gallery {
                @for (number, sample) in self.worst().into_iter().map(|number| (number, &self.samples[number])) {
                    figure {
                        (image(number)?)
                        figcaption {
                            "label " b { (self.name(sample.label)) } " (" (percent(sample.own)) ")" br;
                            "predicted " (self.predicted_name(sample.predicted)) " (" (percent(sample.probability)) ")"
                        }
                    }
                }
            }
        };
        Ok(part("Worst", "The images whose label is least probable.", content))
    }

    /// Counts of labels (rows) and predictions, of so many classes `together` in each.
    fn matrix_table(&self, matrix: &[Vec<usize>], together: usize) -> Markup {
        let shade = |row: &[usize], count: usize| count as f64 / row.iter().sum::<usize>().max(1) as f64;
        let name = |group: usize| self.name(group * together);
        html! {
            div.wide {
                table.matrix.large[matrix.len() > 12] {
                    thead { tr { th {} @for group in 0..matrix.len() { th { (group * together) } } } }
                    tbody {
                        @for (label, row) in matrix.iter().enumerate() {
                            tr {
                                th { (name(label)) }
                                @for (predicted, &count) in row.iter().enumerate() {
                                    td class=(if label == predicted { "correct" } else { "wrong" })
                                        style=(format!("--share: {:.3}", shade(row, count)))
                                        title=(format!("{} predicted as {}: {count}", name(label), name(predicted))) {
                                        @if count > 0 { (count) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn percent(probability: f64) -> String {
    format!("{:.1} %", 100.0 * probability)
}

/// e^x / Σ e^x, with the largest x subtracted first so that nothing overflows.
fn softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
