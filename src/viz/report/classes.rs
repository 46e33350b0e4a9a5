//! What a network takes for what.

use maud::{Markup, html};

use super::part;
use crate::data::Dataset;
use crate::error::Result;
use crate::nn::{Model, Network};

/// Samples that are answered at once.
const BATCH: usize = 500;
/// How many of the worst samples are shown.
const WORST: usize = 12;

/// What a network says of each sample of a dataset.
pub struct Answers {
    /// For each sample, the probability of each class.
    probabilities: Vec<Vec<f64>>,
    labels: Vec<usize>,
    classes: usize,
}

impl Answers {
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

    /// The probability that the network gives to the sample's own class.
    fn own(&self, sample: usize) -> f64 {
        self.probabilities[sample].get(self.labels[sample]).copied().unwrap_or(0.0)
    }

    /// The class that the network holds most probable.
    pub fn answer(&self, sample: usize) -> usize {
        let mut best = 0;
        for (class, probability) in self.probabilities[sample].iter().enumerate() {
            if *probability > self.probabilities[sample][best] {
                best = class;
            }
        }
        best
    }

    /// The samples whose own class it holds least probable, worst first.
    pub fn worst(&self) -> Vec<usize> {
        let mut samples: Vec<usize> = (0..self.labels.len()).collect();
        samples.sort_by(|&a, &b| self.own(a).total_cmp(&self.own(b)));
        samples.truncate(WORST);
        samples
    }

    /// How often each class (row) was taken for each (column).
    fn confusion(&self) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.classes]; self.classes];
        for (sample, &label) in self.labels.iter().enumerate() {
            counts[label][self.answer(sample)] += 1;
        }
        counts
    }

    pub fn confusion_part(&self) -> Markup {
        let counts = self.confusion();
        let right: usize = (0..self.classes).map(|class| counts[class][class]).sum();
        let about = format!(
            "Rows: what it is; columns: what the network says. {right} of {} are right.",
            self.labels.len()
        );
        let shade = |row: &[usize], count: usize| count as f64 / row.iter().sum::<usize>().max(1) as f64;
        part(
            "Confusion",
            &about,
            html! {
                div.wide {
                    table.matrix {
                        thead { tr { th {} @for class in 0..self.classes { th { (class) } } } }
                        tbody {
                            @for (label, row) in counts.iter().enumerate() {
                                tr {
                                    th { (label) }
                                    @for (answer, &count) in row.iter().enumerate() {
                                        td class=(if label == answer { "right" } else { "wrong" })
                                            style=(format!("--share: {:.3}", shade(row, count)))
                                            title=(format!("{label} taken for {answer}: {count}")) {
                                            @if count > 0 { (count) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            },
        )
    }

    /// The worst samples with their probabilities; `image` yields the address of a sample's picture.
    pub fn worst_part(&self, image: impl Fn(usize) -> Result<String>) -> Result<Markup> {
        let worst = self.worst().into_iter().map(|sample| Ok((sample, image(sample)?)));
        let worst = worst.collect::<Result<Vec<_>>>()?;
        Ok(part(
            "Worst",
            "The images whose own class the network holds least probable.",
            html! {
                div.gallery {
                    @for (sample, address) in &worst {
                        figure {
                            img src=(address) alt=(format!("test image {sample}")) width="84";
                            figcaption {
                                b { (self.labels[*sample]) } (format!(" at {}", percent(self.own(*sample)))) br;
                                "says " (self.answer(*sample)) " at "
                                (percent(self.probabilities[*sample][self.answer(*sample)]))
                            }
                        }
                    }
                }
            },
        ))
    }
}

fn percent(probability: f64) -> String {
    format!("{:.1} %", 100.0 * probability)
}

/// e^x / Σ e^x, with the largest x taken off first so that nothing overflows.
fn softmax(logits: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let largest = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
