use super::*;
use crate::shape::Window;
use std::time::Instant;
fn time(mut f: impl FnMut()) -> f64 {
    f();
    let mut v: Vec<f64> = (0..15)
        .map(|_| {
            let t = Instant::now();
            f();
            t.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}
#[test]
#[ignore]
fn bench() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let workers = Workers::new(1).unwrap();
    for (name, n, c, f, i, k, s, p, every) in [
        ("1->30k5", 100, 1, 30, 28, 5, 1, 0, 10),
        ("1->16k3", 100, 1, 16, 28, 3, 1, 1, 10),
        ("3->64k3", 64, 3, 64, 32, 3, 1, 1, 8),
        ("16->16k3", 100, 16, 16, 28, 3, 1, 1, 10),
        ("64->64k1", 64, 64, 64, 32, 1, 1, 0, 8),
        ("32->64k3s2", 64, 32, 64, 32, 3, 2, 1, 8),
        ("64->64k3", 16, 64, 64, 32, 3, 1, 1, 8),
        ("256->256k3", 16, 256, 256, 8, 3, 1, 1, 8),
        ("8->8k3", 100, 8, 8, 28, 3, 1, 1, 10),
    ] {
        if !name.contains(&only) {
            continue;
        }
        let window = Window { kernel: [k, k], stride: [s, s], padding: [p, p], exact: false };
        let sizes = Convolution {
            batch: n,
            channels: c,
            filters: f,
            image: [i, i],
            output: window.places([i, i]).unwrap(),
            window,
        };
        let o = sizes.output[0] * sizes.output[1];
        let flops = 2e-6 * (n * o * f * c * k * k) as f64;
        let d = Direct::new(&sizes).unwrap();
        let num =
            |l: usize| -> Vec<f32> { (0..l).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect() };
        let (x, w, u, b) = (num(n * c * i * i), num(f * c * k * k), num(n * f * o), num(f));
        let (mut y, mut dx) = (vec![0.0; u.len()], vec![0.0; x.len()]);
        let (mut pw, mut pa) = (vec![0.0; d.prepared()], vec![0.0; d.prepared_adjoint()]);
        let tp = time(|| d.prepare(&w, &mut pw, &workers));
        let ta = time(|| d.prepare_adjoint(&w, &mut pa, &workers));
        let t = |name: &str, ms: f64| print!(" {name} {ms:.3} ms {:.0} GF |", flops / ms);
        print!("{name:12} prep {tp:.3} {ta:.3} |");
        t("fwd", time(|| d.forward(&x, &pw, Epilogue { bias: Some(&b), relu: true }, &mut y, &workers)));
        t("dx", time(|| d.image_adjoint(&pa, &u, None, &mut dx, &workers)));
        t("dxg", time(|| d.image_adjoint(&pa, &u, Some(&x), &mut dx, &workers)));
        let rows = n.div_ceil(every);
        let mut sums = vec![0.0; rows * w.len()];
        t("dw", time(|| d.weight_sums(&x, &u, every, &mut sums, &workers)));
        let mut dw = vec![0.0; w.len()];
        t("fin", time(|| finish_weight_sums(&sizes, rows, &sums, &mut dw, &workers)));
        if k == 3 || k == 5 {
            let mut scratch = vec![
                0.0f32;
                sizes
                    .forward_scratch()
                    .max(sizes.weight_adjoint_scratch())
                    .max(sizes.image_adjoint_scratch())
            ];
            t(
                "nchw fwd",
                time(|| {
                    sizes.forward(
                        &x,
                        &w,
                        Epilogue { bias: Some(&b), relu: true },
                        &mut y,
                        &mut scratch,
                        &workers,
                    )
                }),
            );
            t("dx", time(|| sizes.image_adjoint(&w, &u, &mut dx, &mut scratch, &workers)));
            t("dw", time(|| sizes.weight_adjoint(&x, &u, &mut dw, &mut scratch, &workers)));
        }
        println!();
    }
    for (b, c, p) in [(100, 30, 576), (64, 64, 1024), (64, 3, 1024), (100, 16, 784)] {
        if !"layout".contains(&only) {
            continue;
        }
        let x = vec![1.0f32; b * c * p];
        let mut y = vec![0.0f32; b * c * p];
        let mut s = vec![0.0f32; b * c];
        let t1 = time(|| to_channels_last(b, c, p, &x, &mut y, &workers));
        let t2 = time(|| to_channels_first(b, c, p, &x, &mut y, &workers));
        let t3 = time(|| y.copy_from_slice(&x));
        let t4 = time(|| channel_sums(b, p, c, &x, &mut s, &workers));
        println!("{b} {c} {p}: last {t1:.3} first {t2:.3} copy {t3:.3} sums {t4:.3} ms");
    }
    if "pool".contains(&only) {
        let (c, w) = (30, 24);
        let window = Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0], exact: false };
        let pooling = crate::kernels::pool::Pooling { plane: [w, w], places: [w / 2, w / 2], window };
        let x: Vec<f32> = (0..c * w * w).map(|i| ((i * 7919) % 1000) as f32 / 1000.0 - 0.5).collect();
        let (mut i, mut v, mut y) = (vec![0u32; x.len() / 4], vec![0.0f32; x.len() / 4], x.clone());
        let a = time(|| {
            for _ in 0..100 {
                pooling.argmax_last(c, &x, &mut i, &workers)
            }
        });
        let b = time(|| {
            for _ in 0..100 {
                pooling.take_last(c, &x, &i, &mut v, &workers)
            }
        });
        let d = time(|| {
            for _ in 0..100 {
                pooling.put_last(c, &v, &i, &mut y, &workers)
            }
        });
        let m = time(|| {
            for _ in 0..100 {
                pooling.max_last(c, &x, &mut v, &mut i, &workers)
            }
        });
        println!("pool: argmax {a:.3} take {b:.3} put {d:.3} max {m:.3} ms");
    }
}
