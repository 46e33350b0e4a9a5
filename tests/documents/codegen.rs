//! The machine code of the hot loops: sums stay in registers.
//!
//! A tile has as many sums as there are registers to hold them. One more value that is alive in its loop, or a branch
//! behind it that reads the sums, can make the compiler keep sums in memory instead: every result is still right, but
//! the loop takes up to three times as long. So this reads the loops of a release build, as `objdump` prints them.
//! Elementwise programs are loops over functions, with a choice in each, and their registers must not be an array that
//! the loop counts through. Exponentials and the like are plain loops over numbers, and every product in them must be one of
//! whole registers.
//! An operation on registers that is a function of its own is a fault, too: a closure somewhere between it and the
//! kernel was not inlined, and every use of it costs a call and two ways through memory.
//!
//! It builds for that, and so is left out unless asked for: `cargo test --test documents codegen -- --ignored`.

use std::process::{Command, Stdio};

use crate::common::root;

/// A kernel whose hot loop is read.
struct Kernel {
    /// Its name. The numbers that it is compiled for follow in angle brackets.
    name: &'static str,
    /// How many of these numbers, the last ones, multiply to the registers of sums.
    sizes: usize,
    /// Whether the sums stay in registers through two loops, one within the other.
    is_nested: bool,
    /// For how many output positions at once a loop may add products; each has its own for every register of sums.
    positions: usize,
    /// The registers of sums in the largest tile, for each of [`SETS`].
    largest: [usize; 3],
}

const KERNELS: [Kernel; 5] = [
    Kernel { name: "gemm::tile::Multiply<", sizes: 2, is_nested: false, positions: 1, largest: [16, 12, 4] },
    Kernel { name: SWEEP, sizes: 2, is_nested: true, positions: 1, largest: [16, 12, 4] },
    Kernel {
        name: "nhwc::weight_grad::tile::Multiply<",
        sizes: 3,
        is_nested: true,
        positions: 2,
        largest: [16, 12, 4],
    },
    Kernel {
        name: "winograd::multiply::ForwardTiles<",
        sizes: 2,
        is_nested: true,
        positions: 1,
        largest: [16, 12, 0],
    },
    Kernel {
        name: "winograd::multiply::WeightGradTile<",
        sizes: 2,
        is_nested: false,
        positions: 1,
        largest: [16, 8, 0],
    },
];

/// Direct convolution. Its tiles of depthwise convolutions, of blocks of 0 numbers, wait for memory, and may fetch their bias
/// anew for each tile: of these only the innermost loop is read.
const SWEEP: &str = "nhwc::sweep::Sweep<";

/// How many functions there may be of kernels.
const MOST_FUNCTIONS: usize = 1200;

/// So few sums leave registers to spare on every machine.
const FEW: usize = 4;

/// Elementwise programs, which hand on registers from function to function.
const PROGRAMS: &str = "elementwise::chunk::ProgramTile<";

/// Exponentials and the like, loops over numbers that the compiler makes loops over registers.
const TRANSCENDENTAL: &str = "transcendental::Single";

/// Each instruction set and type of number as the names of functions have them, and its registers.
/// (Double precision has those of AVX2 on every machine.)
const SETS: [(&str, &str); 3] =
    [("run_avx512::<f32,", "%zmm"), ("run_avx2::<f32,", "%ymm"), ("run_avx2::<f64,", "%ymm")];

#[test]
#[ignore = "builds an example in release; `.ci/run` asks for it"]
fn sums_stay_in_registers() {
    let Some(listing) = listing() else { return };
    let (read, faults) = faults(&listing);
    assert!(faults.is_empty(), "of {read} kernels, {} are wrong:\n{}", faults.len(), faults.join("\n"));
    println!("{read} kernels keep their sums in registers");
    let compiled = kernel_functions(&listing);
    println!("{compiled} functions are compiled for kernels");
    assert!((1..=MOST_FUNCTIONS).contains(&compiled), "{compiled} functions are compiled for kernels");
}

/// How many functions of kernels are in a listing. Each size of tile, for each register and type of number, is one, and is
/// compiled by everybody who builds the crate.
fn kernel_functions(listing: &str) -> usize {
    listing.lines().filter(|line| line.ends_with(">:") && line.contains("dagrad_kernels")).count()
}

/// The machine code of an example, disassembled. Where that cannot be done, it says why, and there is `None`.
fn listing() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: not for x86-64");
        return None;
    }
    if Command::new("objdump").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no objdump");
        return None;
    }
    Some(output(Command::new("objdump").args(["-d", "-C", "--no-show-raw-insn"]).arg(example())))
}

/// Builds an example in which the names of functions tell what they are compiled for, and returns its path.
fn example() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let messages = output(
        Command::new(cargo)
            .current_dir(root())
            .args(["build", "--release", "--locked", "--example", "simple_conv_net"])
            .args(["--message-format", "json-render-diagnostics"])
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-C symbol-mangling-version=v0"),
    );
    let path = messages.split("\"executable\":\"").nth(1).and_then(|rest| rest.split('"').next());
    path.expect("cargo names the program that it has built").replace("\\\\", "\\")
}

/// What a program prints.
fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().expect("the program starts");
    assert!(output.status.success(), "{command:?} fails");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many kernels are read in a listing, and what is wrong with them.
fn faults(listing: &str) -> (usize, Vec<String>) {
    let functions = functions(listing);
    let mut read = 0;
    let mut faults: Vec<String> = operations(listing).map(|name| format!("{name} is not inlined")).collect();
    for (set, _) in SETS {
        let mut programs =
            functions.iter().filter(|f| f.name.contains(set) && f.name.contains(PROGRAMS)).peekable();
        if programs.peek().is_none() {
            faults.push(format!("{set} {PROGRAMS}: there is none"));
        }
        for program in programs {
            read += 1;
            faults.extend(program.check_array().err());
        }
    }
    for (set, register) in SETS.into_iter().filter(|(set, _)| set.contains("f32")) {
        match functions.iter().find(|f| f.name.contains(set) && f.name.contains(TRANSCENDENTAL)) {
            Some(function) => {
                read += 1;
                faults.extend(function.check_width(register).err());
            }
            None => faults.push(format!("{set} {TRANSCENDENTAL}: there is none")),
        }
    }
    for kernel in &KERNELS {
        for ((set, register), expected) in SETS.into_iter().zip(kernel.largest) {
            let mut largest = 0;
            let are_it = |f: &&Function<'_>| f.name.contains(set) && f.name.contains(kernel.name);
            for function in functions.iter().filter(are_it).filter(|f| f.multiplies()) {
                let sums: usize = function.numbers().take(kernel.sizes).product();
                largest = largest.max(sums);
                if 2 * sums <= expected || sums <= FEW {
                    continue; // has registers to spare, and may be unrolled
                }
                read += 1;
                let is_depthwise = kernel.name == SWEEP && function.numbers().nth(3) == Some(0);
                let is_nested = kernel.is_nested && !is_depthwise;
                if let Err(fault) = function.check(register, sums, kernel.positions, is_nested) {
                    faults.push(format!("{}: {fault}", function.name.replace("dagrad_kernels::", "")));
                }
            }
            if largest != expected {
                let name = kernel.name;
                faults.push(format!("{set} {name}: {largest} registers in the largest tile, not {expected}"));
            }
        }
    }
    (read, faults)
}

/// Operations on registers that are functions of their own.
fn operations(listing: &str) -> impl Iterator<Item = &str> {
    let names = listing.lines().filter_map(|line| line.strip_suffix(">:")?.split_once(" <"));
    names.map(|(_, name)| name).filter(|name| name.contains("::core_arch::") && name.contains("::_mm"))
}

/// A function of the listing.
struct Function<'a> {
    name: &'a str,
    code: Vec<Instruction<'a>>,
}

struct Instruction<'a> {
    address: u64,
    /// What it does, and with what.
    text: &'a str,
}

/// All functions that are compiled for an instruction set of their own.
fn functions(listing: &str) -> Vec<Function<'_>> {
    let mut functions: Vec<Function<'_>> = Vec::new();
    for line in listing.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            functions.push(Function { name, code: Vec::new() });
        } else if let (Some(function), Some((address, text))) = (functions.last_mut(), line.split_once(':'))
            && let Some(address) = hexadecimal(address)
        {
            function.code.push(Instruction { address, text: text.trim() });
        }
    }
    functions.retain(|f| SETS.iter().any(|set| f.name.contains(set.0)));
    functions
}

fn hexadecimal(text: &str) -> Option<u64> {
    let text = text.trim();
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

impl Function<'_> {
    /// The numbers that it is compiled for, the last one first.
    fn numbers(&self) -> impl Iterator<Item = usize> {
        self.name.trim_end_matches('>').rsplit(", ").map_while(|number| number.parse().ok())
    }

    /// Whether it does anything: a size that the instruction set does not have is an empty function.
    fn multiplies(&self) -> bool {
        self.code.iter().any(|instruction| instruction.text.starts_with("vfmadd"))
    }

    /// Finds out whether its loops have one product for each register of sums, or as many for each of some output positions, and
    /// whether the loop, and if it is nested the one around it, leave vectors where they are.
    fn check(&self, register: &str, sums: usize, positions: usize, is_nested: bool) -> Result<(), String> {
        let loops = self.loops();
        let products = |&(from, to): &(u64, u64)| {
            let products = |text: &str| text.starts_with("vfmadd") && text.contains(register);
            self.between(from, to).filter(|instruction| products(instruction.text)).count()
        };
        let contains = |outer: &(u64, u64), inner: &(u64, u64)| {
            outer != inner && outer.0 <= inner.0 && inner.1 <= outer.1
        };
        let hot: Vec<&(u64, u64)> = loops.iter().filter(|range| products(range) > 0).collect();
        let innermost = hot.iter().filter(|outer| !hot.iter().any(|inner| contains(outer, inner)));
        let innermost: Vec<&(u64, u64)> = innermost.copied().collect();
        if innermost.is_empty() {
            return Err(format!("no loop has a product in {register} registers"));
        }
        for range in innermost {
            let found = products(range);
            if !(1..=positions).any(|positions| found == positions * sums) {
                return Err(format!("{found} products in the loop at {:x}, not {sums}", range.0));
            }
            let around =
                loops.iter().filter(|outer| contains(outer, range)).min_by_key(|range| range.1 - range.0);
            for range in [range].into_iter().chain(around.filter(|_| is_nested)) {
                self.check_stack(*range)?;
            }
        }
        Ok(())
    }

    /// Fails if a loop stores vectors, or uses any that lie on the stack.
    fn check_stack(&self, (from, to): (u64, u64)) -> Result<(), String> {
        // Unless it points to the function's frame, `rbp` is a register like any other.
        let has_frame = self.code.iter().any(|instruction| {
            instruction.text.starts_with("mov ") && instruction.text.ends_with("%rsp,%rbp")
        });
        let on_stack = |text: &str| text.contains("(%rsp") || (has_frame && text.contains("(%rbp"));
        let stores = |text: &str| text.starts_with("vmov") && text.ends_with(')');
        let is_vector = |text: &str| ["%xmm", "%ymm", "%zmm"].iter().any(|name| text.contains(name));
        let found = self.between(from, to).map(|instruction| instruction.text);
        let found: Vec<&str> =
            found.filter(|text| is_vector(text) && (on_stack(text) || stores(text))).collect();
        match found.first() {
            None => Ok(()),
            Some(first) => Err(format!("the loop at {from:x} goes to memory {} times: {first}", found.len())),
        }
    }

    /// Fails if a vector goes to a location on the stack that depends on a count.
    fn check_array(&self) -> Result<(), String> {
        let is_vector = |text: &str| ["%ymm", "%zmm"].iter().any(|name| text.contains(name));
        let is_counted = |text: &str| is_vector(text) && text.contains("(%rsp,");
        match self.code.iter().find(|instruction| is_counted(instruction.text)) {
            None => Ok(()),
            Some(found) => Err(format!("{} counts through registers: {}", self.name, found.text)),
        }
    }

    /// Fails if it multiplies and adds nothing, or anything but full registers.
    fn check_width(&self, register: &str) -> Result<(), String> {
        let fused = |text: &&str| text.starts_with("vfmadd") || text.starts_with("vfmsub");
        let products = self.code.iter().map(|instruction| instruction.text).filter(fused);
        let (wide, narrow): (Vec<&str>, Vec<&str>) = products.partition(|text| text.contains(register));
        match narrow.first() {
            None if !wide.is_empty() => Ok(()),
            found => Err(format!("{} computes number by number: {found:?}", self.name)),
        }
    }

    /// All loops, as the addresses of their first and last instructions: a loop ends with a jump back.
    fn loops(&self) -> Vec<(u64, u64)> {
        let start = self.code.first().map_or(0, |instruction| instruction.address);
        let jump = |instruction: &Instruction<'_>| {
            let (name, target) = instruction.text.split_once(' ')?;
            let target = hexadecimal(target.trim().split(' ').next()?)?;
            let is_back = name.starts_with('j') && (start..=instruction.address).contains(&target);
            is_back.then_some((target, instruction.address))
        };
        self.code.iter().filter_map(jump).collect()
    }

    fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Instruction<'_>> {
        self.code.iter().filter(move |instruction| (from..=to).contains(&instruction.address))
    }
}

/// The reader itself is held to account, on a loop of two sums in another.
mod reader {
    use super::*;

    const HEAD: &str = "0000000000001000 <run_avx512::<f32, Sweep<f32, 16, 1, 2>>>:\n";

    /// A listing of one function, with an instruction more in each of its loops and behind them.
    fn listing(inner: &str, outer: &str, behind: &str) -> String {
        let lines = [
            "vxorps %xmm1,%xmm1,%xmm1",
            outer,
            "vmovups (%rbp),%zmm0",
            "vfmadd231ps (%rax){1to16},%zmm0,%zmm1",
            inner,
            "vfmadd231ps 0x40(%rax){1to16},%zmm0,%zmm2",
            "jne    1003 <f+0x3>",
            "jmp    1002 <f+0x2>",
            behind,
            "ret",
        ];
        let lines = lines.iter().zip(0x1001..).map(|(line, address)| format!("    {address:x}:\t{line}\n"));
        format!("{HEAD}{}\n", lines.collect::<String>())
    }

    fn check(listing: &str, sums: usize, is_nested: bool) -> Result<(), String> {
        check_positions(listing, sums, 1, is_nested)
    }

    fn check_positions(listing: &str, sums: usize, positions: usize, is_nested: bool) -> Result<(), String> {
        let functions = functions(listing);
        assert_eq!(functions.len(), 1);
        assert_eq!(functions[0].numbers().collect::<Vec<_>>(), [2, 1, 16]);
        functions[0].check("%zmm", sums, positions, is_nested)
    }

    #[test]
    fn a_loop_in_registers_passes() {
        assert_eq!(check(&listing("nop", "nop", "nop"), 2, true), Ok(()));
        assert_eq!(check(&listing("nop", "nop", "vmovaps %zmm1,0x40(%rsp)"), 2, true), Ok(()));
        assert_eq!(check(&listing("mov    0x8(%rsp),%rax", "nop", "nop"), 2, true), Ok(()));
    }

    #[test]
    fn memory_in_a_loop_is_a_fault() {
        let spill = "vmovaps %zmm1,0x40(%rsp)";
        let fault = check(&listing(spill, "nop", "nop"), 2, false).unwrap_err();
        assert_eq!(fault, format!("the loop at 1003 goes to memory 1 times: {spill}"));
        let fault = check(&listing("nop", spill, "nop"), 2, true).unwrap_err();
        assert_eq!(fault, format!("the loop at 1002 goes to memory 1 times: {spill}"));
        assert_eq!(check(&listing("nop", spill, "nop"), 2, false), Ok(()));
        let fault = check(&listing("vmovups %ymm1,(%rax)", "nop", "nop"), 2, false).unwrap_err();
        assert!(fault.contains("%ymm1,(%rax)"), "{fault}");
        let frame =
            listing("nop", "nop", "nop").replace(HEAD, &format!("{HEAD}    1000:\tmov    %rsp,%rbp\n"));
        let fault = check(&frame, 2, false).unwrap_err();
        assert!(fault.contains("(%rbp)"), "{fault}");
    }

    #[test]
    fn registers_as_an_array_are_a_fault() {
        let check = |inner: &str| functions(&listing(inner, "nop", "nop"))[0].check_array();
        assert_eq!(check("vmovaps %zmm1,0x40(%rsp)"), Ok(()));
        assert!(check("vmovaps %zmm1,0x40(%rsp,%rax,8)").unwrap_err().contains("counts"));
        assert!(check("vaddps (%rsp,%rax,1),%ymm1,%ymm2").unwrap_err().contains("counts"));
    }

    #[test]
    fn numbers_that_are_computed_one_by_one_are_a_fault() {
        let check = |inner: &str| functions(&listing(inner, "nop", "nop"))[0].check_width("%zmm");
        assert_eq!(check("vmulsd %xmm1,%xmm2,%xmm3"), Ok(()));
        assert!(check("vfmadd213sd %xmm1,%xmm2,%xmm3").unwrap_err().contains("number by number"));
        let nothing = listing("nop", "nop", "nop").replace("vfmadd", "vadd");
        assert!(functions(&nothing)[0].check_width("%zmm").unwrap_err().contains("None"));
    }

    #[test]
    fn other_products_than_expected_are_a_fault() {
        assert!(check(&listing("nop", "nop", "nop"), 4, true).unwrap_err().contains("2 products"));
        assert!(check(&listing("nop", "nop", "nop"), 1, true).unwrap_err().contains("2 products"));
        assert_eq!(check_positions(&listing("nop", "nop", "nop"), 1, 2, true), Ok(()));
        assert!(
            check_positions(&listing("nop", "nop", "nop"), 3, 2, true).unwrap_err().contains("2 products")
        );
        let narrow = listing("nop", "nop", "nop").replace("zmm", "xmm");
        assert!(check(&narrow, 2, true).unwrap_err().contains("no loop has a product"));
    }

    #[test]
    fn an_operation_that_is_called_is_a_fault() {
        let called = "0000000000001000 <core::core_arch::x86::avx512f::_mm512_add_ps>:\n    1000:\tret\n";
        assert_eq!(operations(called).collect::<Vec<_>>(), ["core::core_arch::x86::avx512f::_mm512_add_ps"]);
        assert_eq!(faults(called).1.len(), faults("").1.len() + 1);
    }

    #[test]
    fn a_kernel_that_is_not_there_is_a_fault() {
        let (read, faults) = faults("");
        let expected =
            KERNELS.iter().flat_map(|kernel| kernel.largest).filter(|&largest| largest > 0).count();
        // Programs for each set, transcendental functions for those of single precision, and all other kernels.
        assert_eq!((read, faults.len()), (0, SETS.len() + 2 + expected));
        assert!(faults[0].contains("Tile<: there is none"), "{}", faults[0]);
        assert!(faults[5].contains("0 registers in the largest tile, not 16"), "{}", faults[5]);
    }
}
