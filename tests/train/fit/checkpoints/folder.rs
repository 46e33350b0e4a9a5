//! The folder: what is kept, who may use it, and what cannot be written.

use std::fs;
use std::process::Command;

use super::{Folder, StopAfter, data, fresh, go_on, name, rule, state, train};
use crate::common::{alone, assert_mentions, message};
use dagrad::data::Split;
use dagrad::train::{
    Checkpoints, Epoch, FitOptions, Observer, TrainStep, Training, fit_observed, read_checkpoint,
    save_checkpoint,
};
use dagrad::{Error, Result, Store};

#[test]
fn the_newest_and_the_best_are_kept() {
    for (newest, figure, kept, best) in [
        (1, (|epoch: &Epoch| -(epoch.number as f64)) as fn(&Epoch) -> f64, vec![5, 20], Some(5)),
        (2, |epoch| epoch.number as f64, vec![15, 20], Some(20)),
        (2, |epoch| -(epoch.number as f64 - 2.0).abs(), vec![10, 15, 20], Some(10)),
        (0, |epoch| if epoch.number == 2 { 1.0 } else { f64::NAN }, vec![10, 20], Some(10)),
        (9, |_| 0.5, vec![5, 10, 15, 20], Some(5)),
    ] {
        let folder = Folder::new("kept");
        let mut checkpoints = folder.checkpoints().keep(newest).keep_best(figure);
        assert_eq!(checkpoints.best(), None);
        let (mut whole, expected) = (fresh(), kept.into_iter().map(name).collect::<Vec<_>>());
        train(&mut whole, &rule(), 4, &mut checkpoints).unwrap();
        assert_eq!(folder.names(), expected);
        let best = best.map(|step| folder.file(&name(step)));
        assert_eq!(checkpoints.best(), best);
        // Another process knows the best one.
        drop(checkpoints);
        let mut checkpoints = folder.checkpoints();
        checkpoints.resume(&mut fresh()).unwrap().unwrap();
        assert_eq!(checkpoints.best(), best);
    }
}

#[test]
fn the_best_outlives_a_resumption() {
    let folder = Folder::new("best");
    let with = |until| {
        let first = |epoch: &Epoch| f64::from(u8::from(epoch.number == 1));
        let mut checkpoints = folder.checkpoints().keep(1).keep_best(first);
        let mut model = fresh();
        checkpoints.resume(&mut model).unwrap();
        train(&mut model, &rule(), until, &mut checkpoints).unwrap();
    };
    (1..=4).for_each(with);
    assert_eq!(folder.names(), [name(5), name(20)]);
}

#[test]
fn steps_and_epochs_say_when() {
    for (steps, epochs, expected) in [
        (0, 1, &[5, 10, 15][..]),
        (0, 2, &[10, 15]),
        (4, 0, &[4, 8, 12, 15]),
        (7, 2, &[7, 10, 14, 15]),
        (0, 0, &[15]),
    ] {
        let folder = Folder::new("when");
        let mut checkpoints = folder.checkpoints().every_steps(steps).every_epochs(epochs).keep(99);
        train(&mut fresh(), &rule(), 3, &mut checkpoints).unwrap();
        assert_eq!(folder.names(), expected.iter().copied().map(name).collect::<Vec<_>>());
    }
}

#[test]
fn a_new_training_begins_where_there_is_nothing() {
    let folder = Folder::new("nothing");
    let deep = folder.file("a").join("b");
    let mut model = fresh();
    let before = state(model.store());
    assert_eq!(Checkpoints::new(&deep).unwrap().resume(&mut model).unwrap(), None);
    assert!(state(model.store()) == before);
    fs::write(deep.join("notes.txt"), "of somebody").unwrap();
    fs::write(deep.join("step-x.checkpoint"), "of somebody").unwrap();
    assert_eq!(Checkpoints::new(&deep).unwrap().resume(&mut model).unwrap(), None);
    assert!(deep.join("notes.txt").is_file() && deep.join("step-x.checkpoint").is_file());
}

#[test]
fn two_trainings_have_two_folders() {
    let folder = Folder::new("two");
    let first = folder.checkpoints();
    assert_mentions(&message(Checkpoints::new(&folder.0)), &["another training keeps its checkpoints here"]);
    drop(first);
    let lock = fs::metadata(folder.file("lock")).unwrap();
    assert!(lock.is_file(), "it stays, as a killed process leaves it, and is no obstacle");
    folder.checkpoints();
}

#[test]
fn what_a_killed_process_was_writing_is_cleared_away() {
    let folder = Folder::new("stale");
    let stale = folder.file(&format!(".{}.4711.0.tmp", name(5)));
    fs::write(&stale, "half a file").unwrap();
    fs::write(folder.file(".other.tmp"), "of somebody").unwrap();
    drop(folder.checkpoints());
    assert_eq!(folder.names(), [".other.tmp"]);
}

#[test]
fn what_cannot_be_a_folder_is_found_at_once() {
    let folder = Folder::new("unfit");
    fs::write(folder.file("file"), "").unwrap();
    assert_mentions(&message(Checkpoints::new(folder.file("file"))), &["file: ", "cannot be made"]);
    // Not even for root.
    #[cfg(target_os = "linux")]
    assert_mentions(&message(Checkpoints::new("/proc/self")), &["/proc/self: ", "no file can be"]);
}

#[test]
#[cfg(unix)]
fn a_read_only_folder_is_found_at_once() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("read-only");
    drop(folder.checkpoints()); // the lock is there
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(folder.file("trial"), "").is_ok();
    let outcome = Checkpoints::new(&folder.0).map(drop);
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    if !is_root {
        assert_mentions(&message(outcome), &["no file can be", "ermission denied"]);
    }
}

#[test]
#[cfg(unix)]
fn a_link_keeps_pointing_where_it_does() {
    let folder = Folder::new("link");
    fs::create_dir(folder.file("real")).unwrap();
    std::os::unix::fs::symlink("real", folder.file("linked")).unwrap();
    let mut model = fresh();
    train(&mut model, &rule(), 1, &mut Checkpoints::new(folder.file("linked")).unwrap()).unwrap();
    assert!(fs::symlink_metadata(folder.file("linked")).unwrap().is_symlink());
    std::os::unix::fs::symlink(folder.file("real").join(name(5)), folder.file("latest")).unwrap();
    let mut store = model.store().copy().unwrap();
    store.set_step(77);
    save_checkpoint(folder.file("latest"), &store).unwrap();
    assert!(fs::symlink_metadata(folder.file("latest")).unwrap().is_symlink());
    let found: Store<f32> = read_checkpoint(folder.file("real").join(name(5))).unwrap();
    assert_eq!(found.step(), 77);
}

#[test]
#[ignore = "runs in a process whose files may not grow"]
fn trains_on_a_full_disk() {
    let folder = std::path::PathBuf::from(std::env::var("DAGRAD_FOLDER").unwrap());
    let (resumed, figures, found) = go_on(&folder, &rule(), 3);
    assert_eq!(resumed.unwrap().step, 7);
    let mut whole = fresh();
    let expected = train(&mut whole, &rule(), 3, &mut ()).unwrap();
    assert_eq!(figures, expected[1..], "as if nothing were the matter");
    assert!(found == state(whole.store()));
}

/// The shell ignores the signal that a file at its limit raises, so that writing fails as on a full disk.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_a_warning_and_nothing_is_lost() {
    let folder = Folder::new("full");
    train(&mut fresh(), &rule(), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact fit::checkpoints::folder::trains_on_a_full_disk \
                   --ignored --nocapture";
    let mut shell = Command::new("bash");
    shell.args(["-c", limited]).arg(std::env::current_exe().unwrap()).env("DAGRAD_FOLDER", &folder.0);
    let output = shell.output().unwrap();
    let [out, text] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success() && out.contains("1 passed"), "{out}{text}");
    assert_mentions(&text, &["warning: ", &name(10), "cannot be written", "File too large", "unchanged"]);
    assert_eq!(folder.names(), [name(5), name(7)], "no half file, and all that was there");
    assert_eq!(go_on(&folder.0, &rule(), 3).0.unwrap().step, 7);
}

#[test]
#[ignore = "it is a part of the next test"]
fn a_run_with_a_damaged_checkpoint() {
    let folder = std::path::PathBuf::from(std::env::var("DAGRAD_FOLDER").unwrap());
    let (resumed, ..) = go_on(&folder, &rule(), 2);
    let resumed = resumed.unwrap();
    assert_eq!((resumed.step, resumed.passed_over.len()), (5, 1));
    assert_mentions(&resumed.passed_over[0].to_string(), &[&name(7), "checksum"]);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let folder = Folder::new("damaged");
    train(&mut fresh(), &rule(), 3, &mut (folder.checkpoints(), StopAfter(7))).unwrap();
    let mut bytes = fs::read(folder.file(&name(7))).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(folder.file(&name(7)), &bytes).unwrap();
    let mut command = alone("fit::checkpoints::folder::a_run_with_a_damaged_checkpoint");
    let output = command.env("DAGRAD_FOLDER", &folder.0).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert_mentions(&text, &["warning: ", &name(7), "checksum", "an older checkpoint is looked for"]);
    assert_eq!(folder.names(), [name(5), name(10)], "once a new one is safe, the damaged one is deleted");

    for name in folder.names() {
        fs::write(folder.file(&name), "no checkpoint").unwrap();
    }
    let mut model = fresh();
    let outcome = folder.checkpoints().resume(&mut model);
    assert_mentions(&message(outcome), &["none of its 2 checkpoints is whole", &name(10), "cut off"]);
    // A training in spite of them deletes them once it has saved something.
    let mut checkpoints = folder.checkpoints();
    checkpoints.resume(&mut model).unwrap_err();
    train(&mut model, &rule(), 1, &mut checkpoints).unwrap();
    assert_eq!(folder.names(), [name(5)]);
}

/// Loses a weight after the seventh step.
struct Loser;

impl Observer for Loser {
    fn step(&mut self, step: &TrainStep, training: &mut Training<'_>) -> Result<()> {
        if step.number == 7 {
            training.store_mut().get_mut("fc.bias").unwrap().fill(f32::NAN);
        }
        Ok(())
    }
}

#[test]
fn a_training_that_diverges_does_not_push_out_what_is_good() {
    let folder = Folder::new("diverges");
    let mut checkpoints = folder.checkpoints().every_steps(1).keep(1);
    let mut model = fresh();
    let outcome = train(&mut model, &rule(), 3, &mut (Loser, &mut checkpoints));
    assert!(matches!(outcome, Err(Error::Diverged { step: 8, .. })), "{outcome:?}");
    assert_eq!(folder.names(), [name(6)]);
    let Split { train, test } = data();
    let with = FitOptions { allow_nan: true, ..super::by(3) };
    fit_observed(&mut model, &rule(), &train, &test, with, &mut checkpoints).unwrap();
    assert_eq!(folder.names(), [name(6)]);
}

#[test]
fn checkpoints_cost_no_figure_and_stop_nothing() {
    let Split { train, test } = data();
    let folder = Folder::new("gone");
    let mut checkpoints = folder.checkpoints().every_steps(1);
    fs::remove_dir_all(&folder.0).unwrap(); // somebody deletes it
    let mut model = fresh();
    let with = FitOptions { epochs: 2, ..super::by(2) };
    let outcome = fit_observed(&mut model, &rule(), &train, &test, with, &mut checkpoints);
    assert_mentions(&message(outcome), &["cannot be read", "No such file"]);
    assert_eq!(model.store().step(), 0, "it is found before the first step");
}
