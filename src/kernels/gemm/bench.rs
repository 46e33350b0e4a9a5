use super::*;
use std::time::Instant;

#[test]
#[ignore]
fn bench() {
    let threads: usize = std::env::var("T").ok().and_then(|t| t.parse().ok()).unwrap_or(1);
    let workers = Workers::new(threads).unwrap();
    let g = |m, n, k, transpose_a, transpose_b| Gemm { m, n, k, transpose_a, transpose_b };
    let mine: Vec<usize> = std::env::var("SHAPE").unwrap_or_default().split(',').filter_map(|s| s.parse().ok()).collect();
    let own = if let [m, n, k, ta, tb] = mine[..] { g(m, n, k, ta > 0, tb > 0) } else { g(9, 48, 192, false, false) };
    let shapes = [
        ("own", own),
        ("fwd", g(100, 100, 4320, false, false)),
        ("dW", g(4320, 100, 100, true, false)),
        ("dX", g(100, 4320, 100, false, true)),
        ("1 fwd", g(1, 100, 4320, false, false)),
        ("1 dX", g(1, 4320, 100, false, true)),
        ("1 dW", g(4320, 100, 1, true, false)),
        ("4 fwd", g(4, 100, 4320, false, false)),
        ("4 dX", g(4, 4320, 100, false, true)),
        ("4 dW", g(4320, 100, 4, true, false)),
        ("16 fwd", g(16, 100, 4320, false, false)),
        ("3136 fwd", g(100, 10, 3136, false, false)),
        ("3136 dW", g(3136, 10, 100, true, false)),
        ("3136 dX", g(100, 3136, 10, false, true)),
        ("1024x50", g(100, 50, 1024, false, false)),
        ("1024x50 dW", g(1024, 50, 100, true, false)),
        ("1024x50 dX", g(100, 1024, 50, false, true)),
        ("64x4096x10", g(64, 10, 4096, false, false)),
        ("4096x10 dW", g(4096, 10, 64, true, false)),
        ("4096x10 dX", g(64, 4096, 10, false, true)),
        ("100x100x10", g(100, 10, 100, false, false)),
        ("1024^3", g(1024, 1024, 1024, false, false)),
        ("1024^3 tn", g(1024, 1024, 1024, true, false)),
        ("1024^3 nt", g(1024, 1024, 1024, false, true)),
    ];
    let only = std::env::var("ONLY").unwrap_or_default();
    for (name, gemm) in shapes {
        if !name.contains(&only) { continue; }
        let a: Vec<f32> = (0..gemm.m * gemm.k).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
        let b: Vec<f32> = (0..gemm.n * gemm.k).map(|i| (i % 13) as f32 * 0.1 - 0.6).collect();
        let mut c = vec![0f32; gemm.m * gemm.n];
        let mut s = vec![0f32; gemm.scratch()];
        let flops = 2.0 * (gemm.m * gemm.n * gemm.k) as f64;
        let reps = ((4e8 / flops) as usize).clamp(1, 2000).min(300);
        let mut times: Vec<f64> = (0..15).map(|_| {
            let t = Instant::now();
            for _ in 0..reps { gemm.run(&a, &b, Epilogue::default(), &mut c, &mut s, &workers); }
            t.elapsed().as_secs_f64() / reps as f64
        }).collect();
        times.sort_by(f64::total_cmp);
        println!("{name:12} median {:9.5} ms best {:9.5} ms {:6.1} GF (best {:6.1})", times[7] * 1e3, times[0] * 1e3, flops / times[7] / 1e9, flops / times[0] / 1e9);
    }
}
