//! The pool under stress.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dagrad_kernels::simd::Isa;
use dagrad_kernels::workers::{Local, Workers, even_part};

fn pools() -> impl Iterator<Item = Workers> {
    [1, 2, 3, 5].into_iter().map(|threads| Workers::new(threads).unwrap())
}

#[test]
fn every_task_runs_exactly_once() {
    for workers in pools() {
        for tasks in [0, 1, 2, 3, 7, 100] {
            let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            workers.run(tasks, &|index, _| {
                counts[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.into_iter().all(|count| count.into_inner() == 1));
        }
    }
}

#[test]
fn many_short_runs_lose_no_task() {
    for workers in pools() {
        let total = AtomicUsize::new(0);
        for _ in 0..3_000 {
            workers.run(4, &|index, _| {
                total.fetch_add(index, Ordering::Relaxed);
            });
        }
        assert_eq!(total.into_inner(), 18_000);
    }
}

#[test]
fn sleeping_threads_do_not_stop_a_run() {
    let workers = Workers::new(3).unwrap();
    for _ in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(30));
        let mut out = [0; 64];
        workers.chunks(&mut out, 1, &|index, chunk, _| chunk[0] = index);
        assert!(out.iter().enumerate().all(|(index, &value)| index == value));
    }
}

#[test]
fn chunks_cover_the_slice() {
    for workers in pools() {
        let mut out = vec![0; 103];
        workers.chunks(&mut out, 10, &|index, chunk, _| {
            assert_eq!(chunk.len(), if index == 10 { 3 } else { 10 });
            chunk.fill(index + 1);
        });
        assert!(out.iter().enumerate().all(|(at, &value)| value == at / 10 + 1));
        workers.chunks(&mut out[..0], 10, &|_, _, _| unreachable!());
    }
}

#[test]
fn a_panic_arrives_after_all_tasks_and_the_pool_goes_on() {
    for workers in pools() {
        for _ in 0..20 {
            let done = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                workers.run(8, &|index, _| {
                    done.fetch_add(1, Ordering::Relaxed);
                    // Unlike `panic!`, this does not print a message.
                    if index == 3 {
                        resume_unwind(Box::new("task 3"));
                    }
                });
            }));
            assert_eq!(result.unwrap_err().downcast_ref(), Some(&"task 3"));
            assert_eq!(done.into_inner(), 8);
        }
        workers.run(2, &|_, _| ());
    }
}

#[test]
fn a_run_inside_a_task_is_done_on_the_spot() {
    for workers in pools() {
        let count = AtomicUsize::new(0);
        workers.run(4, &|_, local| {
            local.slice::<f32>(8).fill(1.0);
            workers.run(5, &|_, inner| {
                inner.slice::<f32>(8).fill(2.0);
                workers.run(2, &|_, _| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            });
            assert_eq!(local.slice::<f32>(8), [1.0; 8]);
        });
        assert_eq!(count.into_inner(), 40);
    }
}

#[test]
fn callers_on_several_threads_take_turns() {
    let workers = Workers::new(2).unwrap();
    let running = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let sum = AtomicUsize::new(0);
                    workers.run(3, &|index, _| {
                        running.store(true, Ordering::Relaxed);
                        sum.fetch_add(index + 1, Ordering::Relaxed);
                    });
                    assert_eq!(sum.into_inner(), 6);
                }
            });
        }
    });
    assert!(running.into_inner());
}

#[test]
fn scratch_is_aligned_and_slices_are_apart() {
    Workers::alone().run(1, &|_, local| {
        let mut split = local.split();
        let (a, b, c) = (split.take::<f32>(3), split.take::<usize>(5), split.take::<f64>(1));
        a.fill(1.0);
        b.fill(2);
        c.fill(3.0);
        assert_eq!((a[2], b[4], c[0]), (1.0, 2, 3.0));
        for address in [a.as_ptr().addr(), b.as_ptr().addr(), c.as_ptr().addr()] {
            assert_eq!(address % 64, 0);
        }
        let all = local.slice::<f64>(Local::BYTES / 8);
        assert_eq!(all.len() * 8, Local::BYTES);
    });
}

#[test]
fn shares_are_even_and_complete() {
    for (total, parts) in [(100, 8), (7, 3), (3, 3), (0, 1)] {
        let all: Vec<_> = (0..parts).map(|index| even_part(total, parts, index)).collect();
        assert!(
            all.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].len() - pair[1].len() <= 1)
        );
        assert_eq!((all[0].start, all[parts - 1].end), (0, total));
    }
}

#[test]
fn workers_know_their_instruction_set() {
    assert_eq!(Workers::alone().isa(), Isa::detect());
    for isa in Isa::available() {
        assert_eq!(Workers::on(2, isa).unwrap().isa(), isa);
    }
}
