//! The flags of a program: read with `lexopt`, with errors that name the flag, its value, and what is allowed.
#![allow(dead_code, unused_imports, reason = "each program uses a part of it")]

/// Prints a line to standard output. Whether somebody reads it is not the program's business: `println!` would end it when
/// nobody does, as behind `| head -1`.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
pub(crate) use say;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// The flags of the command line, one after the other.
pub struct Flags {
    parser: lexopt::Parser,
    /// The flag that was read last, with its dashes.
    last: String,
}

/// Reads the flags, or prints `help` if they ask for it, and then runs the program.
pub fn start<A, E: Display>(
    help: &str,
    read: impl FnOnce(&mut Flags) -> Result<A, String>,
    run: impl FnOnce(&A) -> Result<(), E>,
) -> ExitCode {
    if std::env::args_os().any(|argument| argument == "--help" || argument == "-h") {
        say!("{help}");
        return ExitCode::SUCCESS;
    }
    match read(&mut Flags::of(std::env::args_os().skip(1))) {
        Err(error) => {
            complain(&format!("{error}\n`--help` lists the flags"));
            ExitCode::from(2)
        }
        Ok(arguments) => match run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&error);
                ExitCode::FAILURE
            }
        },
    }
}

/// Prints an error, if somebody reads it.
fn complain(error: &dyn Display) {
    _ = writeln!(std::io::stderr(), "error: {error}");
}

impl Flags {
    /// The flags among these arguments.
    pub fn of(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let parser = lexopt::Parser::from_args(arguments.into_iter().map(Into::into));
        Self { parser, last: String::new() }
    }

    /// The next flag, as `--epochs`; none at the end.
    pub fn next(&mut self) -> Result<Option<String>, String> {
        let flag = match self.parser.next().map_err(|error| error.to_string())? {
            None => return Ok(None),
            Some(lexopt::Arg::Long(name)) => format!("--{name}"),
            Some(lexopt::Arg::Short(letter)) => format!("-{letter}"),
            Some(lexopt::Arg::Value(value)) => return Err(format!("{value:?} belongs to no flag")),
        };
        self.last.clone_from(&flag);
        Ok(Some(flag))
    }

    /// Why the last flag cannot be taken.
    pub fn unknown<T>(&self) -> Result<T, String> {
        Err(format!("there is no flag {}", self.last))
    }

    fn value(&mut self) -> Result<OsString, String> {
        self.parser.value().map_err(|_| format!("{} needs a value", self.last))
    }

    /// The value of the last flag: a file or folder.
    pub fn path(&mut self) -> Result<PathBuf, String> {
        self.value().map(PathBuf::from)
    }

    /// The value of the last flag: text.
    pub fn text(&mut self) -> Result<String, String> {
        self.value().map(|value| value.to_string_lossy().into_owned())
    }

    /// The value of the last flag: a number in a range. `allowed` says which: "a whole number from 1 on".
    pub fn number<T: FromStr>(
        &mut self,
        allowed: &str,
        is_allowed: impl Fn(&T) -> bool,
    ) -> Result<T, String> {
        let text = self.text()?;
        let number = text.parse().ok().filter(is_allowed);
        number.ok_or_else(|| format!("{} {text}: this is not {allowed}", self.last))
    }

    /// The value of the last flag: a whole number from 0 on.
    pub fn count<T: FromStr>(&mut self) -> Result<T, String> {
        self.number("a whole number", |_| true)
    }

    /// The value of the last flag: one of these names.
    pub fn one_of<T: Copy>(&mut self, all: &[(&str, T)]) -> Result<T, String> {
        let text = self.text()?;
        self.find(&text, all)
    }

    /// The value of the last flag: some of these names, separated by commas.
    pub fn some_of<T: Copy>(&mut self, all: &[(&str, T)]) -> Result<Vec<T>, String> {
        let text = self.text()?;
        text.split(',').map(|name| self.find(name, all)).collect()
    }

    fn find<T: Copy>(&self, text: &str, all: &[(&str, T)]) -> Result<T, String> {
        let found = all.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            format!("{} {text}: this is none of {}", self.last, names.join(", "))
        })
    }

    /// The value of the last flag: numbers from 1 on, separated by commas.
    pub fn counts(&mut self) -> Result<Vec<usize>, String> {
        let text = self.text()?;
        let number = |text: &str| text.parse().ok().filter(|&number| number > 0);
        let numbers: Option<Vec<usize>> = text.split(',').map(number).collect();
        numbers.ok_or_else(|| format!("{} {text}: these are not whole numbers from 1 on", self.last))
    }
}
