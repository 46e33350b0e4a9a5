//! Every operation of every register.

use dagrad_kernels::real::Real;
use dagrad_kernels::simd::{Isa, Kernel, MAX_LANES, Vector, vectorize};

/// Puts every operation of a register through its paces on small numbers.
struct Operations;

impl<T: Real> Kernel<T> for Operations {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T>>(self) {
        let number = |i: usize| T::of(i as f64 - 2.0);
        let source: [T; 2 * MAX_LANES] = std::array::from_fn(number);
        let lanes = |register: V| {
            let mut all = [T::nan(); MAX_LANES];
            // SAFETY: no register has more lanes than the array.
            unsafe { register.store(all.as_mut_ptr()) };
            all.into_iter().take(V::LANES).collect::<Vec<_>>()
        };
        let expected = |f: &dyn Fn(usize) -> T| (0..V::LANES).map(f).collect::<Vec<_>>();
        // SAFETY: `dispatch` vouches for the instruction set; `source` holds two registers.
        unsafe {
            let (a, b) = (V::load(source.as_ptr()), V::load(source.as_ptr().add(V::LANES)));
            assert_eq!(lanes(a), expected(&number));
            assert_eq!(lanes(V::splat(number(9))), expected(&|_| number(9)));
            assert_eq!(lanes(a.add(b)), expected(&|i| number(i) + number(i + V::LANES)));
            assert_eq!(lanes(a.subtract(b)), expected(&|i| number(i) - number(i + V::LANES)));
            assert_eq!(lanes(a.multiply(b)), expected(&|i| number(i) * number(i + V::LANES)));
            assert_eq!(lanes(b.divide(V::splat(number(5)))), expected(&|i| number(i + V::LANES) / number(5)));
            let root = |i| (number(i) * number(i) + T::one()).sqrt();
            assert_eq!(lanes(a.mul_add(a, V::splat(T::one())).sqrt()), expected(&root));
            assert_eq!(lanes(a.mul_add(b, a)), expected(&|i| number(i) * number(i + V::LANES) + number(i)));
            assert_eq!(lanes(a.relu()), expected(&|i| number(i).max(T::zero())));
            let open = |i| if i > 2 { number(i + V::LANES) } else { T::zero() };
            assert_eq!(lanes(b.gate(a)), expected(&open));
            assert_eq!(lanes(b.gate(V::splat(T::nan()))), lanes(b));
            assert!(lanes(V::splat(T::neg_zero()).relu())[0].is_sign_positive());
            assert!(lanes(V::splat(T::nan()).relu())[0].is_nan());
            assert_eq!(lanes(a.at_least(V::splat(number(4)))), expected(&|i| number(i).max(number(4))));
            assert!(lanes(V::splat(T::nan()).at_least(b))[0].is_nan());
            for (value, best, is_larger) in [
                (number(3), number(4), false),
                (number(4), number(3), true),
                (number(3), number(3), false),
                (T::zero(), T::neg_zero(), false),
                (T::nan(), T::infinity(), true),
                (T::infinity(), T::nan(), false),
            ] {
                let [larger, companion] =
                    V::splat(value).larger(V::splat(best), [V::splat(number(7)), V::splat(number(8))]);
                assert_eq!(lanes(companion), expected(&|_| number(if is_larger { 7 } else { 8 })));
                let larger_one = if is_larger { value } else { best };
                assert!(
                    lanes(larger)
                        .iter()
                        .all(|&lane| lane == larger_one || lane.is_nan() && larger_one.is_nan())
                );
            }
            assert_eq!(lanes(a.larger(b, [a, b])[0]), lanes(b));
            let truth = |is| if is { T::one() } else { T::zero() };
            let third = V::splat(number(3));
            assert_eq!(lanes(a.greater(third)), expected(&|i| truth(i > 3)));
            assert_eq!(lanes(a.greater_equal(third)), expected(&|i| truth(i >= 3)));
            let (infinity, nan) = (V::splat(T::infinity()), V::splat(T::nan()));
            for (x, y, is_greater, is_equal) in [
                (V::splat(T::neg_zero()), V::splat(T::zero()), false, true),
                (infinity, infinity, false, true),
                (infinity, third, true, false),
                (nan, third, false, false),
                (infinity, nan, false, false),
                (nan, nan, false, false),
            ] {
                assert_eq!(lanes(x.greater(y)), expected(&|_| truth(is_greater)));
                assert_eq!(lanes(x.greater_equal(y)), expected(&|_| truth(is_greater || is_equal)));
            }
            let carried = lanes(V::splat(T::from_index(u32::MAX - 5)));
            assert!(carried.into_iter().all(|lane| lane.to_index() == u32::MAX - 5));
            assert!(lanes(V::splat(T::nan()).flush())[0].is_nan());
            assert!(lanes(V::splat(T::neg_zero()).flush())[0].is_sign_positive());
            let smallest = T::min_positive_value();
            for number in [smallest, -smallest, T::infinity(), T::one()] {
                assert_eq!(lanes(V::splat(number).flush()), expected(&|_| number));
                let tiny = number.signum() * smallest * T::of(0.75);
                assert_eq!(lanes(V::splat(tiny).flush()), expected(&|_| T::zero()));
            }
            assert!(V::splat(T::zero()).is_zero() && V::splat(T::neg_zero()).is_zero());
            assert!(!a.is_zero() && !V::splat(T::nan()).is_zero());
            assert!(
                !V::load_first(source.as_ptr(), 1).is_zero() && V::load_first(source.as_ptr(), 0).is_zero()
            );
            let (low, high) = a.interleave(b);
            let woven: Vec<T> = (0..V::LANES).flat_map(|i| [number(i), number(i + V::LANES)]).collect();
            assert_eq!([lanes(low), lanes(high)].concat(), woven);
            for count in 0..=V::LANES {
                let part = V::load_first(source.as_ptr(), count);
                assert_eq!(lanes(part), expected(&|i| if i < count { number(i) } else { T::zero() }));
                let mut target = [T::of(99.0); MAX_LANES];
                b.store_first(target.as_mut_ptr(), count);
                let kept = |i| if i < count { number(i + V::LANES) } else { T::of(99.0) };
                assert_eq!(target[..V::LANES], expected(&kept));
            }
        }
    }
}

#[test]
fn every_register_computes_what_its_name_says() {
    for isa in Isa::available() {
        isa.dispatch::<f32, _>(Operations);
        isa.dispatch::<f64, _>(Operations);
    }
}

#[test]
fn the_portable_set_exists_everywhere_and_the_best_is_chosen() {
    let all: Vec<_> = Isa::available().collect();
    assert_eq!(all.last().map(|isa| isa.name()), Some("portable"));
    if std::env::var_os("DAGRAD_ISA").is_none() {
        assert_eq!(Isa::detect(), all[0]);
    }
}

/// The choice is made once in a process, so the test starts itself once for each.
#[test]
fn the_variable_chooses_the_instruction_set() {
    if let Ok(wanted) = std::env::var("DAGRAD_ISA") {
        assert!(Isa::available().all(|isa| isa.name() != wanted) || Isa::detect().name() == wanted);
        return;
    }
    for isa in Isa::available() {
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "simd::the_variable_chooses_the_instruction_set"])
            .env("DAGRAD_ISA", isa.name());
        let output = program.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(" 1 passed"), "{text}");
    }
}

#[test]
fn vectorize_returns_what_the_closure_returns() {
    let squares: Vec<f32> = (0..100).map(|i| i as f32 * i as f32).collect();
    let sum = vectorize(|| squares.iter().sum::<f32>());
    assert_eq!(sum, squares.iter().sum::<f32>());
}
