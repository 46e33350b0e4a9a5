use super::super::has_avx512;
use super::*;

type Lanes = [f32; 16];

/// Patterns of bits of sixteen quotients and of sixteen square roots, by the method and by the instruction.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn both(a: &Lanes, b: &Lanes) -> [[[u32; 16]; 2]; 2] {
    // SAFETY: the caller vouches for the instruction set; sixteen numbers fill a register.
    unsafe {
        let (a, b) = (_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr()));
        let quotients = [patterns(divide(a, b)), patterns(_mm512_div_ps(a, b))];
        [quotients, [patterns(sqrt(a)), patterns(_mm512_sqrt_ps(a))]]
    }
}

#[inline(always)]
unsafe fn patterns(register: __m512) -> [u32; 16] {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(register) }
}

/// Asserts that the method and the instruction agree to the bit.
fn check(a: &Lanes, b: &Lanes) {
    // SAFETY: the tests return early on other machines.
    let [quotients, roots] = unsafe { both(a, b) };
    assert_eq!(quotients[0], quotients[1], "{a:?} / {b:?}");
    assert_eq!(roots[0], roots[1], "roots of {a:?}");
}

/// Sixteen approximations spread over ±2⁻¹⁴ about one value: machines may differ in which one they give.
fn approximations(value: f64) -> Lanes {
    std::array::from_fn(|lane| (value * (1.0 + (lane as f64 / 7.5 - 1.0) / 16384.0)) as f32)
}

/// The number in [1, 2) with such a mantissa.
fn number(mantissa: u32) -> f32 {
    f32::from_bits(0x3f80_0000 | mantissa)
}

fn random(state: &mut u64) -> u32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 32) as u32
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn assert_root(x: f32, spread: bool) {
    // SAFETY: the caller vouches for the instruction set; sixteen numbers fill a register.
    unsafe {
        let exact = 1.0 / f64::from(x).sqrt();
        let given = _mm512_loadu_ps(approximations(exact).as_ptr());
        let x = _mm512_set1_ps(x);
        let roots = if spread { refine_root(x, given) } else { sqrt(x) };
        assert_eq!(patterns(roots), patterns(_mm512_sqrt_ps(x)));
    }
}

#[test]
fn every_root_is_correctly_rounded_whatever_the_approximation() {
    if !has_avx512() {
        return;
    }
    for mantissa in 0..1 << 23 {
        for x in [number(mantissa), 2.0 * number(mantissa)] {
            // SAFETY: the instruction set exists.
            unsafe { assert_root(x, false) };
            // Roots near a middle: 2²⁵ X − M² with M twice the root rounded down, plus 1, is small.
            let middle = 2 * (f64::from(x).sqrt() * 8_388_608.0) as i64 + 1;
            let distance = ((f64::from(x) * 8_388_608.0) as i64) * (1 << 25) - middle * middle;
            if distance.abs() < 1 << 12 {
                // SAFETY: the instruction set exists.
                unsafe { assert_root(x, true) };
            }
        }
    }
}

/// Dividends A (with A · 2⁻²³ in [1, 2)) whose quotient by B is as close to a middle as a quotient can be. That is
/// where A · 2ˢ = B M ± 1 for an odd M of 25 bits; s is 24 where A ≥ B, else 25.
fn hardest_dividends(divisor: u32) -> impl Iterator<Item = u32> {
    let halve = |x: u32| if x.is_multiple_of(2) { x / 2 } else { (x + divisor) / 2 };
    let inverse_24 = (0..24).fold(1, |x, _| halve(x));
    let inverse_25 = halve(inverse_24);
    [(24, inverse_24), (25, inverse_25)].into_iter().flat_map(move |(shift, inverse)| {
        let residues = [inverse, divisor - inverse];
        let dividends = residues.into_iter().flat_map(move |residue| [residue, residue + divisor]);
        dividends.filter(move |&a| (1 << 23..1 << 24).contains(&a) && (a >= divisor) == (shift == 24))
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn assert_quotient(a: f32, b: f32) {
    // SAFETY: the caller vouches for the instruction set; sixteen numbers fill a register.
    unsafe {
        let given = _mm512_loadu_ps(approximations(1.0 / f64::from(b)).as_ptr());
        let (a, b) = (_mm512_set1_ps(a), _mm512_set1_ps(b));
        let quotient = patterns(_mm512_div_ps(a, b));
        assert_eq!(patterns(divide(a, b)), quotient);
        if can_divide(a, b) {
            assert_eq!(patterns(refine_quotient(a, b, given)), quotient);
        }
    }
}

/// The correction errs by less than 2⁻²⁴ / b units in the last place for other quotients, which is how close the
/// second-closest can be, so that these are all that can go wrong. Even divisors have no such quotients.
#[test]
fn the_hardest_quotients_of_every_divisor_are_correctly_rounded_whatever_the_approximation() {
    if !has_avx512() {
        return;
    }
    for divisor in (1 << 23..1 << 24).skip(1).step_by(2) {
        for dividend in hardest_dividends(divisor) {
            // SAFETY: the instruction set exists.
            unsafe { assert_quotient(number(dividend & 0x7f_ffff), number(divisor & 0x7f_ffff)) };
        }
    }
}

#[test]
fn hardest_dividends_are_next_to_a_middle() {
    let mut found = 0;
    for divisor in [(1_u32 << 23) + 1, 12_345_677, (1 << 24) - 3, (1 << 24) - 1] {
        for dividend in hardest_dividends(divisor) {
            let shift = if dividend >= divisor { 24 } else { 25 };
            let rest = (u64::from(dividend) << shift) % u64::from(divisor);
            assert!(rest == 1 || rest == u64::from(divisor) - 1);
            found += 1;
        }
    }
    assert!(found >= 4);
}

#[test]
fn arbitrary_numbers_agree_with_the_instructions() {
    if !has_avx512() {
        return;
    }
    let mut state = 1;
    for round in 0..1 << 18 {
        let any: [Lanes; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| f32::from_bits(random(&mut state))));
        check(&any[0], &any[1]);
        // Within the fast path, some dividends zero.
        let inside = |state: &mut u64, reach: u32| {
            let pattern = random(state);
            let exponent = 127 - reach + (pattern >> 24) % (2 * reach);
            f32::from_bits(exponent << 23 | pattern & 0x7f_ffff)
        };
        let a = std::array::from_fn(|lane| match (round + lane) % 5 {
            0 => [0.0, -0.0][lane % 2],
            odd => inside(&mut state, 85) * [1.0, -1.0][odd % 2],
        });
        let b = std::array::from_fn(|_| inside(&mut state, 40));
        check(&a, &b);
        check(&a.map(f32::abs), &b);
        // Quotients that are exact, or next to it.
        let product = std::array::from_fn(|lane| a[lane] * b[lane]);
        check(&product, &b);
        check(&product.map(f32::next_up), &b);
        check(&product.map(f32::next_down), &b);
    }
}

#[test]
fn edges_agree_with_the_instructions() {
    if !has_avx512() {
        return;
    }
    let special = [0.0, 1.0, f32::MIN_POSITIVE, 1e-45, 1e-40, f32::MAX, f32::INFINITY, f32::NAN, 3.0];
    let bounds = [DIVIDENDS, DIVISORS, RADICANDS].concat();
    let ones = (0..48).map(|low| number(0x7f_ffff - 4 * low));
    let positive = special.into_iter().chain(bounds).chain(ones);
    let near = positive.flat_map(|x| [x.next_down(), x, x.next_up()]);
    let edges: Vec<f32> = near.flat_map(|x| [x, -x]).collect();
    for &a in &edges {
        for &b in &edges {
            // Alone in all lanes, and as the odd one among harmless numbers.
            check(&[a; 16], &[b; 16]);
            let (mut many_a, mut many_b) = ([1.0; 16], [7.0; 16]);
            (many_a[5], many_b[5]) = (a, b);
            check(&many_a, &many_b);
        }
    }
}
