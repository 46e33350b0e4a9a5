"""dagrad and its peers on the same work, by turns, on this machine.

    python3 benches/peers/compare.py --python VENV/bin/python          # a table of ratios
    python3 benches/peers/compare.py --ablation                        # what each pass brings; needs no peers
    python3 benches/peers/compare.py --limits                          # what the machine could do; needs no peers
    ... --write                                                        # put the table into docs/speed.md

This script needs Python 3.10 and Rust; the peers' own Python needs torch, jax and optax. See docs/speed.md.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import peer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# glibc then keeps what PyTorch frees, and need not ask the system for it in each step.
KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824",
              "MALLOC_TOP_PAD_": "67108864"}
# Column: script, environment, setting by mode, and the modes in which it has lost
# wherever it was tried.
PEERS = {
    "PyTorch, channels last": ("torch_peer.py", KEEP_FREED, {"train": "eager_cl", "infer": "eager_cl"}, []),
    "PyTorch": ("torch_peer.py", KEEP_FREED, {"train": "eager", "infer": "eager"}, ["train", "infer"]),
    "torch.compile, channels last": (
        "torch_peer.py", KEEP_FREED, {"train": "compile_cl", "infer": "freeze_cl"}, ["train"]),
    "torch.compile": ("torch_peer.py", KEEP_FREED, {"infer": "freeze"}, []),
    "JAX": ("jax_peer.py", {}, {"train": "nhwc", "infer": "nhwc"}, []),
}


def names(text):
    return text.split(",")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", type=names, default=peer.USUAL,
                        help="such as A,A1; by default the small ones")
    parser.add_argument("--modes", type=names, default=["train", "infer"], help="train, infer or both")
    parser.add_argument("--threads", type=names, default=["2", "1"], help="such as 2,1")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side has its turn")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch, jax and optax")
    parser.add_argument("--fast", action="store_true", help="skip settings that are known to lose")
    itself = parser.add_mutually_exclusive_group()
    itself.add_argument("--ablation", action="store_true", help="compare dagrad with itself, a pass left out")
    itself.add_argument("--limits", action="store_true", help="how near dagrad comes to what the machine can do")
    parser.add_argument("--write", action="store_true", help="replace the table in docs/speed.md")
    given = parser.parse_args()
    for chosen, known in [(given.workloads, peer.WORKLOADS), (given.modes, ["train", "infer"])]:
        if unknown := set(chosen) - set(known):
            parser.error(f"{', '.join(sorted(unknown))}: only {', '.join(known)} are known")
    if not all(number.isdigit() and int(number) > 0 for number in given.threads) or given.rounds < 1:
        parser.error("threads and rounds are whole numbers from 1 on")
    return given


def build():
    """Compiles the benchmark and returns its path."""
    command = ["cargo", "bench", "--bench", "train", "--no-run", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "train")


def run(command, case, environment={}):
    """The output of one run of a side, or None if it fails."""
    workload, mode, threads = case
    command = [*command, "--workload", workload, "--mode", mode, "--threads", threads]
    on_its_cores = {"preexec_fn": lambda: peer.keep_to_cores(int(threads))} if os.name == "posix" else {}
    try:
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True,
                              timeout=900, **on_its_cores)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        reason = error
    print(f"failed: {' '.join(command)}: {reason}", file=sys.stderr)
    return None


class Side:
    """A column: how to run it, and what its runs have said."""

    def __init__(self, command, environment={}):
        self.command, self.environment, self.lines, self.failed = command, environment, [], False

    def take_turn(self, case):
        line = None if self.failed else run(self.command, case, self.environment)
        self.failed |= line is None  # a side that fails once is not asked again
        self.lines += [line] if line else []

    def of(self, key):
        found = [line[key] for line in self.lines if line[key] is not None]
        return None if self.failed or not found else (statistics.median(found), min(found), max(found))

    def rate(self):
        return self.of("images_per_s")

    def cell(self):
        return "failed" if self.failed else "{:,.0f} ({:,.0f}–{:,.0f})".format(*self.rate())

    def memory(self):
        return "{:,.0f}".format(self.of("peak_rss_mib")[0]) if self.of("peak_rss_mib") else "–"


def ratio(new, old):
    """Of the medians, and in brackets its range: least over most, and most over least."""
    if new.failed or old.failed:
        return "failed"
    (new, least, most), (old, old_least, old_most) = new.rate(), old.rate()
    return f"{new / old:.2f} ({least / old_most:.2f}–{most / old_least:.2f})"


def take_turns(case, sides, rounds):
    """A B C, A B C, …: so that a drift of the machine meets all sides alike."""
    for number in range(rounds):
        print(f"{' '.join(case)}, round {number + 1} of {rounds}", file=sys.stderr)
        for side in sides.values():
            side.take_turn(case)


def compare_peers(given, dagrad):
    def setting(name, mode):
        *_, settings, loses = PEERS[name]
        return None if given.fast and mode in loses else settings.get(mode)

    columns = [name for name in PEERS if any(setting(name, mode) for mode in given.modes)]
    yield ["images/s", "threads", "dagrad", *columns, "dagrad / best", "MiB: dagrad", "MiB: best"]
    for case in [(w, m, t) for w in given.workloads for m in given.modes for t in given.threads]:
        sides = {"dagrad": Side([dagrad, "--json"])}
        for name in columns:
            if chosen := setting(name, case[1]):
                script, environment, *_ = PEERS[name]
                sides[name] = Side([given.python, str(HERE / script), "--setting", chosen], environment)
        take_turns(case, sides, given.rounds)
        own, running = sides["dagrad"], [name for name in columns if name in sides and not sides[name].failed]
        best = max(running, key=lambda name: sides[name].rate()[0], default=None)
        cells = [sides[name].cell() if name in sides else "–" for name in columns]
        cells = [f"**{cell}**" if name == best else cell for name, cell in zip(columns, cells)]
        last = [ratio(own, sides[best]), own.memory(), sides[best].memory()] if best else ["–", own.memory(), "–"]
        yield [f"{case[0]}, {case[1]}", case[2], own.cell(), *cells, *last]


def compare_passes(given, dagrad):
    passes = subprocess.run([dagrad, "--passes"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    threads = given.threads[0]
    yield [f"train, {threads} threads", "all passes, images/s", *(f"without `{name}`" for name in passes), "MiB: all",
           "MiB: without `memory`"]
    for workload in given.workloads:
        sides = {"all": Side([dagrad, "--json"])}
        sides |= {name: Side([dagrad, "--json", "--without", name]) for name in passes}
        take_turns((workload, "train", threads), sides, given.rounds)
        ratios = [ratio(sides[name], sides["all"]) for name in passes]
        yield [workload, sides["all"].cell(), *ratios, sides["all"].memory(), sides["memory"].memory()]


def compare_limits(given, dagrad):
    yield ["", "threads", "GFLOP/s of registers", "GFLOP of a step", "products, ms", "update, ms", "limit, ms",
           "step, ms", "limit / step"]
    for case in [(w, m, t) for w in given.workloads for m in given.modes for t in given.threads]:
        side = Side([dagrad, "--json", "--limits"])
        take_turns(case, {"dagrad": side}, given.rounds)
        digits = {"peak_gflops": 0, "gflop": 3, "products_ms": 3, "update_ms": 3, "limit_ms": 3, "step_ms": 3,
                  "reached": 2}
        yield [f"{case[0]}, {case[1]}", case[2],
               *("failed" if side.failed else f"{side.of(key)[0]:.{number}f}" for key, number in digits.items())]


def processor():
    try:
        found = re.search("model name\\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def main():
    given = arguments()
    mark, compare = (("passes", compare_passes) if given.ablation else
                     ("limits", compare_limits) if given.limits else ("peers", compare_peers))
    rows, table = compare(given, build()), []
    for number, row in enumerate(rows):
        lines = ["| " + " | ".join(row) + " |"] + ["|" + "---|" * len(row)] * (number == 0)
        print(*lines, sep="\n", flush=True)
        table += lines
    rounds = f"{given.rounds} round{'s' * (given.rounds > 1)}"
    table.append(f"\n{processor()}, {platform.system()}, {time.strftime('%Y-%m-%d')}, {rounds} by turns.")
    print(table[-1])
    if given.write:
        document = ROOT / "docs" / "speed.md"
        block = f"<!-- {mark}:begin -->\n" + "\n".join(table) + f"\n<!-- {mark}:end -->"
        text, found = re.subn(f"<!-- {mark}:begin -->.*?<!-- {mark}:end -->", lambda _: block,
                              document.read_text(encoding="utf-8"), flags=re.DOTALL)
        if found != 1:
            sys.exit(f"error: {document} has {found} tables marked {mark}, not one")
        document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
