"""PyTorch's twin of `examples/simple_conv_net.rs --optimizer adam --constant`: the same network, start, data, batches and rule.

    VENV/bin/python benches/peers/simple_conv_net.py --data FOLDER --epochs 5

FOLDER holds MNIST's four IDX files (.gz). Both print the accuracy after each epoch; time the whole commands.
"""
import os
import sys

from compare import KEEP_FREED

if not KEEP_FREED.items() <= os.environ.items():
    # The allocator reads them as a process starts.
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEP_FREED})

import argparse
import gzip
from pathlib import Path

import numpy
import torch
from torch import nn

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch", type=int, default=100)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seed", type=int, default=0)
given = parser.parse_args()


def idx(name, header):
    """The bytes of an IDX file behind its header."""
    content = gzip.decompress((given.data / f"{name}.gz").read_bytes())
    return torch.from_numpy(numpy.frombuffer(content, numpy.uint8, offset=header).copy())


def digits(name):
    images = idx(f"{name}-images-idx3-ubyte", 16).view(-1, 1, 28, 28).float() / 255
    return images.contiguous(memory_format=torch.channels_last), idx(f"{name}-labels-idx1-ubyte", 8).long()


@torch.inference_mode()
def accuracy(model, images, labels):
    pairs = zip(images.split(1000), labels.split(1000))
    return sum((model(x).argmax(1) == y).sum().item() for x, y in pairs) / len(labels)


torch.manual_seed(given.seed)
torch.set_num_threads(given.threads)
torch.set_flush_denormal(True)
(images, labels), test = digits("train"), digits("t10k")
model = nn.Sequential(
    nn.Conv2d(1, 30, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
    nn.Linear(30 * 12 * 12, 100), nn.ReLU(inplace=True), nn.Linear(100, 10),
).to(memory_format=torch.channels_last)
for part in model:
    if isinstance(part, (nn.Conv2d, nn.Linear)):
        nn.init.normal_(part.weight, std=0.01)
        nn.init.zeros_(part.bias)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
for epoch in range(given.epochs):
    for batch in torch.randperm(len(labels)).split(given.batch):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    seen = accuracy(model, images[: len(test[1])], labels[: len(test[1])])
    print(f"epoch {epoch + 1}: train {100 * seen:.2f} %, test {100 * accuracy(model, *test):.2f} %", flush=True)
