"""What the peers' scripts share: the workloads of ../train/workloads.rs, the clock, and the line of JSON.

It imports nothing but the standard library, so that a peer's memory is its own.
"""
import argparse
import json
import os
import statistics
import time


def stack(*kernels):
    """A stem, a block of convolutions of these sizes, a pool and a layer of classes."""
    block = [("conv", 16, kernel, kernel // 2) for kernel in kernels]
    return [("conv", 16, 3, 1), *block, ("pool",), ("linear", 10)]


SIMPLE = [("conv", 30, 5, 0), ("pool",), ("linear", 100), ("relu",), ("linear", 10)]
DEEP = [
    ("conv", 16, 3, 1), ("conv", 16, 3, 1), ("pool",),
    ("conv", 32, 3, 1), ("conv", 32, 3, 2), ("pool",),
    ("conv", 64, 3, 1), ("conv", 64, 3, 1), ("pool",),
    ("linear", 50), ("relu",), ("dropout", 0.5), ("linear", 10), ("dropout", 0.5),
]
WIDE = [part for width in (64, 128, 256) for part in (("conv", width, 3, 1), ("conv", width, 3, 1), ("pool",))]

# Name: images in a batch, the shape of an image, and the layers. A convolution ("conv", filters, size, padding)
# has stride 1 and is rectified; a pool takes the maximum of 2×2; "linear" flattens what it is given.
WORKLOADS = {
    "A": (100, (1, 28, 28), SIMPLE),
    "A1": (1, (1, 28, 28), SIMPLE),
    "B7": (100, (1, 28, 28), stack(7)),
    "B53": (100, (1, 28, 28), stack(5, 3)),
    "B333": (100, (1, 28, 28), stack(3, 3, 3)),
    "C": (100, (1, 28, 28), DEEP),
    "D": (64, (3, 32, 32), WIDE + [("linear", 10)]),
    # These are in modern.py, for PyTorch.
    "R20": (128, (3, 32, 32), None),
    "R18": (8, (3, 224, 224), None),
    "R50": (8, (3, 224, 224), None),
    "V2": (16, (3, 96, 96), None),
    "U": (8, (3, 128, 128), None),
    "N": (64, (3, 32, 32), None),
    "X": (16, (3, 96, 96), None),
    "S": (32, (4, 1, 4096), None),
    "P": (128, (1, 1, 1024), None),
    "E": (64, (3, 64, 64), None),
}
# What is compared where nothing is asked for.
USUAL = [name for name, (_, _, layers) in WORKLOADS.items() if layers]


def shaped(image, layers):
    """The layers that have parameters or change a shape, each with the shape of one image before it."""
    channels, height, width = image
    for layer in layers:
        yield layer, (channels, height, width)
        match layer:
            case ("conv", filters, size, padding):
                grown = 2 * padding - size + 1
                channels, height, width = filters, height + grown, width + grown
            case ("pool",):
                height, width = height // 2, width // 2
            case ("linear", units):
                channels, height, width = units, 1, 1


def arguments(settings):
    """Reads the command line, and keeps the process on as many cores as it has threads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True, choices=WORKLOADS)
    parser.add_argument("--mode", required=True, choices=["train", "infer"])
    parser.add_argument("--threads", required=True, type=int)
    parser.add_argument("--setting", required=True, choices=settings)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--batch", type=int, help="by default the workload's own")
    given = parser.parse_args()
    keep_to_cores(given.threads)
    return given


def keep_to_cores(count):
    """Keeps the process, and those that it starts, on the first cores that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def peak_memory():
    """The most memory that this process has held, in MiB, where the system tells."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def measure(given, step, finish=lambda: None, warm_up=1.0, block=0.4):
    """Times `step`, of which several may be under way until `finish` returns, and prints the line."""

    def seconds(steps):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        finish()
        return time.perf_counter() - start

    first = seconds(1)
    warm_until = time.perf_counter() + warm_up
    once = [seconds(1)]
    while time.perf_counter() < warm_until or len(once) < 5:
        once.append(seconds(1))
    steps = max(1, round(block / statistics.median(once[len(once) // 2:]) + 0.5))
    batch = given.batch or WORKLOADS[given.workload][0]
    rates = [batch * steps / seconds(steps) for _ in range(given.blocks)]
    peak = peak_memory()
    print(json.dumps({
        "workload": given.workload, "mode": given.mode, "threads": given.threads, "setting": given.setting,
        "images_per_s": round(statistics.median(rates), 1), "min": round(min(rates), 1), "max": round(max(rates), 1),
        "peak_rss_mib": peak and round(peak, 1), "first_step_ms": round(1e3 * first, 2),
        "compile_ms": None, "allocations_per_step": None,
    }))
