//! A training that is killed at random moments, also while it saves, ends as if it had not been.
//!
//! `DAGRAD_KILLS=200 cargo test --test train kills -- --nocapture` kills more often and says how it went.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Figures, Folder, StopAfter, figures, fresh, name, rule, state, train};
use crate::common::alone;
use dagrad::train::{Checkpoints, Epoch, Observer, Training, read_checkpoint};
use dagrad::{Result, Store};

#[path = "../../../../examples/interrupt/mod.rs"]
mod interrupt;

const EPOCHS: usize = 8;

/// Notes the figures of epochs in a file, as a terminal would show them.
struct Notes(PathBuf);

impl Observer for Notes {
    fn epoch(&mut self, epoch: &Epoch, _: &mut Training<'_>) -> Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        let line = format!("{:?}\n", figures(epoch));
        file.write_all(line.as_bytes()).unwrap(); // at once, so that no half line is there
        Ok(())
    }
}

#[test]
#[ignore = "it is killed by the next test"]
fn a_training_that_is_killed() {
    let folder = PathBuf::from(std::env::var("DAGRAD_FOLDER").unwrap());
    let mut checkpoints = Checkpoints::new(&folder).unwrap().every_steps(1).keep(2);
    let mut model = fresh();
    let resumed = checkpoints.resume(&mut model).unwrap();
    let step = resumed.map_or(0, |resumed| resumed.step);
    fs::write(folder.join("resumed"), step.to_string()).unwrap();
    // First the notes: an epoch that is saved has been printed.
    train(&mut model, &rule(), EPOCHS, &mut (Notes(folder.join("figures")), checkpoints)).unwrap();
}

#[test]
fn a_training_that_is_killed_at_random_ends_with_the_same_bits() {
    let kills: usize = std::env::var("DAGRAD_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let mut whole = fresh();
    let expected: Vec<Figures> = train(&mut whole, &rule(), EPOCHS, &mut ()).unwrap();
    let lines = |figures: &[Figures]| -> BTreeMap<usize, String> {
        figures.iter().map(|figures| (figures.0, format!("{figures:?}"))).collect()
    };
    let child = |folder: &Folder| {
        let mut command = alone("fit::checkpoints::kills::a_training_that_is_killed");
        command.env("DAGRAD_FOLDER", &folder.0).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let (mut killed, mut rounds, mut while_saving, mut went_on) = (0, 0, 0, 0);
    let mut random = 88172645463325252u64;
    let mut longest = Duration::from_millis(300);
    while killed < kills {
        rounds += 1;
        let folder = Folder::new(&format!("kills-{rounds}"));
        loop {
            let (mut process, start) = (child(&folder), Instant::now());
            if killed < kills {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                std::thread::sleep(longest.mul_f64((random % 1000) as f64 / 1000.0));
                _ = process.kill(); // SIGKILL
            }
            if process.wait().unwrap().success() {
                longest = start.elapsed(); // so that moments up to the very end have their turn
                break;
            }
            assert!(killed < kills, "a process that nobody kills fails");
            killed += 1;
            while_saving += usize::from(folder.names().iter().any(|name| name.ends_with(".tmp")));
            let resumed = fs::read_to_string(folder.file("resumed")).unwrap_or_default();
            went_on += usize::from(!matches!(&*resumed, "" | "0"));
        }
        let last: Store<f32> = read_checkpoint(folder.file(&name(5 * EPOCHS as u64))).unwrap();
        assert!(state(&last) == state(whole.store()), "after {killed} kills the weights differ");
        // An epoch may have been printed twice, the same both times.
        let printed = fs::read_to_string(folder.file("figures")).unwrap();
        let mut found = BTreeMap::new();
        for line in printed.lines() {
            let number = line[1..].split(',').next().unwrap().parse().unwrap();
            assert!(found.insert(number, line.to_string()).is_none_or(|before| before == line), "{printed}");
        }
        assert_eq!(found, lines(&expected));
        let others = folder.names().into_iter().filter(|name| name.ends_with(".tmp")).count();
        assert_eq!(others, 0, "what was being written is cleared away");
    }
    println!(
        "{killed} kills in {rounds} trainings: {while_saving} while saving, {went_on} of processes that went on"
    );
    assert!(went_on > 0, "no process went on from a checkpoint");
}

#[test]
#[ignore = "the next test presses Ctrl-C"]
fn a_training_that_is_interrupted() {
    let folder = PathBuf::from(std::env::var("DAGRAD_FOLDER").unwrap());
    let checkpoints = Checkpoints::new(&folder).unwrap().every_epochs(0);
    let mut interrupt = interrupt::Interrupt::listen();
    fs::write(folder.join("started"), "").unwrap();
    train(&mut fresh(), &rule(), 1_000_000, &mut (checkpoints, &mut interrupt)).unwrap();
    assert!(interrupt.is_asked());
}

/// The signal that Ctrl-C sends. One that asks the program to end does the same.
#[test]
#[cfg(unix)]
fn ctrl_c_saves_what_has_been_reached() {
    for signal in ["-INT", "-TERM"] {
        let folder = Folder::new(&format!("interrupted{signal}"));
        let mut command = alone("fit::checkpoints::kills::a_training_that_is_interrupted");
        let mut process = command.env("DAGRAD_FOLDER", &folder.0).stdout(Stdio::null()).spawn().unwrap();
        while !folder.file("started").exists() {
            assert!(process.try_wait().unwrap().is_none(), "it ends before it has begun");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        let pid = process.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(process.wait().unwrap().success());
        fs::remove_file(folder.file("started")).unwrap();
        assert_eq!(folder.names().len(), 1);
        let saved: Store<f32> = read_checkpoint(folder.file(&folder.names()[0])).unwrap();
        let mut model = fresh();
        train(&mut model, &rule(), saved.epochs() as usize + 1, &mut StopAfter(saved.step())).unwrap();
        assert!(state(&saved) == state(model.store()), "after {} steps", saved.step());
    }
}
