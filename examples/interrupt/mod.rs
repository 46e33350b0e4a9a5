//! Ctrl-C as a request to stop: the step that runs is finished first, so that nothing of it is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use dagrad::Result;
use dagrad::train::{Observer, TrainStep, Training};

/// Whether somebody wants the program to end.
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// Stops a training after the step during which Ctrl-C is pressed, or the system asks the program to end (`SIGTERM`). A second
/// time ends the program at once.
pub struct Interrupt;

impl Interrupt {
    /// From now on.
    pub fn listen() -> Self {
        #[cfg(unix)]
        signals::listen();
        Self
    }

    /// Whether that has happened.
    pub fn is_asked(&self) -> bool {
        IS_ASKED.load(Ordering::Relaxed)
    }
}

impl Observer for Interrupt {
    fn step(&mut self, _: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        if self.is_asked() {
            training.stop();
        }
        Ok(())
    }
}

#[cfg(unix)]
mod signals {
    use super::{IS_ASKED, Ordering};

    unsafe extern "C" {
        /// Of the C library that the standard library is linked with: what happens at a signal.
        fn signal(number: i32, handler: usize) -> usize;
    }

    const INTERRUPT: i32 = 2;
    const TERMINATE: i32 = 15;
    /// What happens if nobody says otherwise: the program ends.
    const USUAL: usize = 0;

    extern "C" fn ask(number: i32) {
        IS_ASKED.store(true, Ordering::Relaxed);
        // SAFETY: POSIX allows `signal` inside of a handler.
        unsafe { signal(number, USUAL) };
    }

    pub fn listen() {
        for number in [INTERRUPT, TERMINATE] {
            // SAFETY: the handler takes the number of a signal, lives as long as the program, and does only what is allowed
            // in a handler: it stores to an atomic number and calls `signal`.
            unsafe { signal(number, ask as extern "C" fn(i32) as usize) };
        }
    }
}
