//! How long a caller waits for the logits of a single image, alone and beside others.

use std::thread;
use std::time::{Duration, Instant};

use dagrad::nn::{Model, Network, Predictor, ResNet, SimpleConvNet};
use dagrad::{Result, data};
use ndarray::Array4;

use crate::report::{Report, Row};

/// For how long callers ask.
const TIME: Duration = Duration::from_secs(3);
/// How often each asks before that counts.
const WARM_UP: usize = 100;
/// How many callers there are.
const CALLERS: [usize; 3] = [1, 2, 4];

/// A row for each network and number of callers, who ask again as soon as they have their answer.
pub fn measure(report: &mut Report) -> Result<()> {
    network("SimpleConvNet", SimpleConvNet::default(), [1, 28, 28], report)?;
    network("ResNet-20", ResNet::twenty(), [3, 32, 32], report)
}

fn network<N: Network>(name: &str, network: N, shape: [usize; 3], report: &mut Report) -> Result<()> {
    let predictor = Model::new(network, shape, 0)?.into_predictor(&[1], 1)?;
    let pixels = data::mnist_5k()?.test.batch(&[0])?.0;
    let [channels, height, width] = shape;
    let image = Array4::from_shape_fn((1, channels, height, width), |(_, _, row, column)| {
        pixels.get((0, 0, row, column)).copied().unwrap_or(0.0)
    });
    for callers in CALLERS {
        let times = asked(&predictor, &image, callers)?;
        let quantile = |share: f64| 1e6 * times[((times.len() - 1) as f64 * share) as usize].as_secs_f64();
        let row = Row::default().text("network", name, 13).count("callers", callers);
        let row = row.number("answers_per_s", times.len() as f64 / TIME.as_secs_f64(), 0);
        let row = row.number("p50_us", quantile(0.5), 1).number("p99_us", quantile(0.99), 1);
        report.row(&row.number("p99_to_p50", quantile(0.99) / quantile(0.5), 2));
    }
    Ok(())
}

/// How long each answer took, the shortest first.
fn asked(predictor: &Predictor, image: &Array4<f32>, callers: usize) -> Result<Vec<Duration>> {
    let caller = || -> Result<Vec<Duration>> {
        for _ in 0..WARM_UP {
            predictor.predict(image)?;
        }
        let (begin, mut times) = (Instant::now(), Vec::new());
        while begin.elapsed() < TIME {
            let start = Instant::now();
            predictor.predict(image)?;
            times.push(start.elapsed());
        }
        Ok(times)
    };
    let times: Result<Vec<_>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap_or_else(|_| Ok(Vec::new()))).collect()
    });
    let mut times = times?.concat();
    times.sort_unstable();
    Ok(times)
}
