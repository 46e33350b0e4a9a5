//! Predictions: the confusion matrix and the worst samples.

use maud::{Markup, html};

use super::part;
use crate::data::Dataset;
use crate::error::Result;
use crate::nn::{Model, Network, argmax};

/// Samples that are predicted at once.
const BATCH: usize = 500;
/// How many of the worst samples are shown.
const WORST: usize = 12;

/// What a network predicts for each sample of a dataset.
pub struct Predictions {
    /// For each sample, the probability of each class.
    probabilities: Vec<Vec<f64>>,
    labels: Vec<usize>,
    classes: usize,
}

impl Predictions {
    pub fn of<N: Network>(model: &mut Model<N>, data: &Dataset) -> Result<Self> {
        let order: Vec<usize> = (0..data.len()).collect();
        let mut probabilities = Vec::with_capacity(data.len());
        for samples in order.chunks(BATCH) {
            let (images, _) = data.batch(samples)?;
            let logits = model.predict(&images)?;
            probabilities.extend(logits.outer_iter().map(|row| softmax(row.iter().copied().map(f64::from))));
        }
        let classes = probabilities.first().map_or(0, Vec::len).max(data.classes());
        Ok(Self {
            probabilities,
            labels: data.labels().iter().map(|&label| label as usize).collect(),
            classes,
        })
    }

    /// The predicted probability of the sample's label.
    fn own(&self, sample: usize) -> f64 {
        self.probabilities[sample].get(self.labels[sample]).copied().unwrap_or(0.0)
    }

    /// The most probable class.
    pub fn predicted(&self, sample: usize) -> usize {
        argmax(self.probabilities[sample].iter()).unwrap_or(0)
    }

    /// The samples whose label is least probable, worst first.
    pub fn worst(&self) -> Vec<usize> {
        let mut samples: Vec<usize> = (0..self.labels.len()).collect();
        samples.sort_by(|&a, &b| self.own(a).total_cmp(&self.own(b)));
        samples.truncate(WORST);
        samples
    }

    /// How often each class (row) was predicted as each (column).
    pub fn confusion_part(&self) -> Markup {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for (sample, &label) in self.labels.iter().enumerate() {
            counts[label][self.predicted(sample)] += 1;
        }
        let correct: usize = (0..self.classes).map(|class| counts[class][class]).sum();
        let about =
            format!("Rows: labels; columns: predictions. {correct} of {} are correct.", self.labels.len());
        let shade = |row: &[usize], count: usize| count as f64 / row.iter().sum::<usize>().max(1) as f64;
        let content = html! {
            div.wide {
                table.matrix {
                    thead { tr { th {} @for class in 0..self.classes { th { (class) } } } }
                    tbody {
                        @for (label, row) in counts.iter().enumerate() {
                            tr {
                                th { (label) }
                                @for (predicted, &count) in row.iter().enumerate() {
                                    td class=(if label == predicted { "correct" } else { "wrong" })
                                        style=(format!("--share: {:.3}", shade(row, count)))
                                        title=(format!("{label} predicted as {predicted}: {count}")) {
                                        @if count > 0 { (count) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        };
        part("Confusion", &about, content)
    }

    /// The worst samples with their probabilities; `image` yields the `data:` URL of a sample's image.
    pub fn worst_part(&self, image: impl Fn(usize) -> Result<String>) -> Result<Markup> {
        let content = html! {
            div.gallery {
                @for sample in self.worst() {
                    figure {
                        img src=(image(sample)?) alt=(format!("test image {sample}")) width="84";
                        figcaption {
                            "label " b { (self.labels[sample]) } " (" (percent(self.own(sample))) ")" br;
                            "predicted " (self.predicted(sample)) " ("
                            (percent(self.probabilities[sample][self.predicted(sample)])) ")"
                        }
                    }
                }
            }
        };
        Ok(part("Worst", "The images whose label is least probable.", content))
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
