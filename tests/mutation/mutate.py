#!/usr/bin/env python3
"""Plants bugs in a copy of the sources, one at a time, and sees whether the tests notice.

    python3 tests/mutation/mutate.py --list              what would be planted
    python3 tests/mutation/mutate.py --only 3 10-15      some of them
    python3 tests/mutation/mutate.py --jobs 2            all of them

A bug is caught if one of the tests named beside it fails (or, if all of these pass, any test at all). Outcomes are
kept in target/mutants.json until the bug's own text changes; once all bugs have one, the table in docs/testing.md is
written anew. Nothing but Python's standard library is needed. Only the kernels are optimised in these
builds.
"""

import argparse
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
from mutants import PARTS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "target" / "mutants.json"
DOCUMENT = ROOT / "docs" / "testing.md"
MARKS = "<!-- mutants: begin -->\n", "<!-- mutants: end -->\n"
SUITE = "--tests"
NOTHING = "no test ran"
# Seconds after which a test that does not end counts as failed.
PATIENCE = {False: 900, True: 5400}

NUMBERED = list(enumerate((mutant for part in PARTS.values() for mutant in part), 1))


def key(mutant):
    """What an outcome belongs to."""
    return json.dumps([mutant.file, mutant.find, mutant.replace])


def stale(mutant):
    """Why a bug cannot be planted, if so."""
    found = (ROOT / mutant.file).read_text().count(mutant.find)
    return None if found == 1 else f"the text is found {found} times"


class Copy:
    """A copy of the repository with a folder of its own to build in."""

    def __init__(self, folder):
        self.sources, self.target = folder / "sources", folder / "target"
        ignored = shutil.ignore_patterns("target", ".git", "__pycache__")
        shutil.copytree(ROOT, self.sources, ignore=ignored)

    def test(self, arguments):
        """Runs tests. Returns an outcome, and what failed."""
        environment = dict(os.environ, CARGO_TARGET_DIR=str(self.target), CARGO_PROFILE_DEV_OPT_LEVEL="0")
        process = subprocess.Popen(
            ["cargo", "test", *arguments.split()], cwd=self.sources, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=PATIENCE[arguments == SUITE])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "caught", f"`{arguments}` does not end"
        if process.returncode == 0:
            return "survived", "" if "... ok" in output else NOTHING
        if "could not compile" in output:
            return "does not compile", next((line for line in output.splitlines() if line.startswith("error")), "")
        failed = [line.split()[1] for line in output.splitlines() if line.startswith("test ") and "FAILED" in line]
        return "caught", f"`{failed[0]}`" if failed else f"`{arguments}` aborts"

    def judge(self, mutant, with_suite):
        """Plants a bug, runs its tests, and takes the bug out again."""
        path = self.sources / mutant.file
        sound = path.read_text()
        path.write_text(sound.replace(mutant.find, mutant.replace))
        try:
            for arguments in (*mutant.tests, *([SUITE] if with_suite else [])):
                outcome, by = self.test(arguments)
                if outcome != "survived":
                    break
            return outcome, by
        finally:
            path.write_text(sound)


def chosen(only):
    """The numbers and ranges of `--only`."""
    if not only:
        return [number for number, _ in NUMBERED]
    ranges = (text.partition("-") for text in only)
    return [number for first, dash, last in ranges for number in range(int(first), int(last if dash else first) + 1)]


def table(results):
    """The table for the document."""
    lines, number = [], 0
    outcomes = [results[key(mutant)][0] for _, mutant in NUMBERED]
    kinds = [f"{outcomes.count(kind)} {text}" for kind, text in
             (("caught", "were caught"), ("survived", "survived"), ("does not compile", "did not compile"))]
    lines += [f"Of {len(outcomes)} planted bugs {', '.join(kinds)}.", ""]
    for part, mutants in PARTS.items():
        lines += [f"| # | {part} | file | outcome | noticed by |", "|---|---|---|---|---|"]
        for mutant in mutants:
            number += 1
            outcome, by = results[key(mutant)]
            shown = outcome if outcome == "caught" else f"**{outcome}**"
            bug = mutant.bug.replace("|", "\\|")
            lines.append(f"| {number} | {bug} | `{mutant.file.removeprefix('src/')}` | {shown} | {by} |")
        lines.append("")
    return "\n".join(lines)


def write(results):
    """Puts the table between the marks of the document."""
    before, _, rest = DOCUMENT.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    DOCUMENT.write_text(before + MARKS[0] + "\n" + table(results) + "\n" + MARKS[1] + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="show the bugs, and which can no longer be planted")
    parser.add_argument("--only", nargs="+", metavar="N", help="numbers, or ranges such as 10-15")
    parser.add_argument("--jobs", type=int, default=1, help="how many copies are built and tested at a time")
    parser.add_argument("--again", action="store_true", help="run also those whose outcome is known")
    parser.add_argument("--no-suite", action="store_true", help="only the tests named beside a bug")
    options = parser.parse_args()

    numbers = set(chosen(options.only))
    some = [(number, mutant) for number, mutant in NUMBERED if number in numbers]
    old = [(number, mutant, stale(mutant)) for number, mutant in some]
    if options.list:
        for number, mutant, why in old:
            print(f"{number:3} {mutant.file}: {mutant.bug}" + (f"  ({why})" if why else ""))
        return
    if any(why for *_, why in old):
        sys.exit("\n".join(f"{number} {mutant.file}: {why}" for number, mutant, why in old if why))

    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    some = [(number, mutant) for number, mutant in some if options.again or key(mutant) not in results]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.jobs) as workers:
        copies = queue.Queue()
        for job in range(min(options.jobs, max(len(some), 1))):
            copies.put(Copy(Path(folder) / str(job)))

        # A test that fails without a bug says nothing about one.
        first = copies.get()
        for arguments in sorted({arguments for _, mutant in some for arguments in mutant.tests}):
            outcome, by = first.test(arguments)
            if outcome != "survived":
                sys.exit(f"cargo test {arguments} fails without a bug: {by}")
            if by == NOTHING:
                sys.exit(f"cargo test {arguments} runs no test")
        copies.put(first)

        def work(numbered):
            number, mutant = numbered
            copy, start = copies.get(), time.monotonic()
            try:
                outcome, by = copy.judge(mutant, not options.no_suite)
            finally:
                copies.put(copy)
            print(f"{number:3} {outcome}: {mutant.bug} [{time.monotonic() - start:.0f} s] {by}", flush=True)
            return mutant, [outcome, by]

        for mutant, result in workers.map(work, some):
            results[key(mutant)] = result
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1))

    if all(key(mutant) in results for _, mutant in NUMBERED):
        write(results)
        print(f"The table in {DOCUMENT.relative_to(ROOT)} is written.")


if __name__ == "__main__":
    main()
