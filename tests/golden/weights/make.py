"""Writes the files beside it: weights as PyTorch and NumPy write them, and what PyTorch computes with them.

    pip install torch numpy safetensors && python3 make.py
"""

from pathlib import Path

import numpy
import safetensors.torch
import torch
from torch import nn

HERE = Path(__file__).parent


class Layers(nn.Module):
    """Every kind of layer. Of the matrices one is square: only its owner knows whether it is transposed."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, bias=False)
        self.gn = nn.GroupNorm(3, 12)
        self.up = nn.ConvTranspose2d(12, 6, 3, bias=False)
        self.fc1 = nn.Linear(150, 7)
        self.bn2 = nn.BatchNorm1d(7, affine=False)
        self.fc2 = nn.Linear(7, 5)
        self.fc3 = nn.Linear(5, 6)
        self.ln = nn.LayerNorm(6)
        self.fc4 = nn.Linear(6, 6)
        self.rms = nn.RMSNorm(6, eps=1e-6)
        self.head = nn.Linear(6, 4, bias=False)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.up(self.gn(self.conv2(x)).relu())
        x = self.bn2(self.fc1(x.flatten(1)))
        x = self.ln(self.fc3(self.fc2(x).relu()))
        return self.head(self.rms(self.fc4(x)))


def layers():
    torch.manual_seed(1)
    net = Layers()
    for _ in range(3):  # running statistics that are not where they start
        net(torch.randn(16, 3, 6, 6) * 2 + 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    net.eval()
    images = torch.randn(5, 3, 6, 6)
    weights = net.state_dict()
    safetensors.torch.save_file(weights, HERE / "layers.safetensors")
    numpy.savez(HERE / "layers.npz", **{name: tensor.numpy() for name, tensor in weights.items()})
    torch.save(weights, HERE / "layers.pt")
    torch.save(weights, HERE / "layers-legacy.pth", _use_new_zipfile_serialization=False)
    with torch.no_grad():
        case = {"images": images, "logits": net(images)}
    safetensors.torch.save_file(case, HERE / "layers-logits.safetensors")


def pytorch_types():
    """Every type, beside the same numbers in double precision."""
    integers = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
    reals = torch.tensor([[0.0, -0.0, 1.5], [-2.25, 65504.0, 6e-8]], dtype=torch.float64)
    wild = torch.tensor([float("inf"), float("-inf"), float("nan"), 1e-7, 3e38])
    arrays = {}
    for dtype in [torch.float64, torch.float32, torch.float16, torch.bfloat16]:
        arrays[str(dtype)[6:]] = reals.to(dtype)
        arrays[f"{str(dtype)[6:]}_wild"] = wild.to(dtype)
    for dtype in integers:
        arrays[str(dtype)[6:]] = torch.tensor([[0, 1, 100], [5, 6, 127]]).to(dtype)
    arrays["int64_low"] = torch.tensor([-(2**52), -1])
    arrays["scalar"] = torch.tensor(2.5)
    arrays["empty"] = torch.zeros(0, 3)
    every = arrays | {f"{name}.f64": array.double().clone() for name, array in arrays.items()}
    safetensors.torch.save_file(every, HERE / "types.safetensors")
    every["view"] = torch.arange(12.0).reshape(3, 4).t()[1:, ::2]
    every["view.f64"] = every["view"].double().contiguous()
    torch.save(every, HERE / "types.pt")


def numpy_types():
    """Every type and every layout."""
    arrays = {}
    for name in ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]:
        for order in "<>":
            values = numpy.array([[0, 1, 100], [5, 6, 127]]).astype(order + name)
            arrays[f"{order}{name}"] = values
            arrays[f"{order}{name}_fortran"] = numpy.asfortranarray(values)
    arrays["cube"] = numpy.asfortranarray(numpy.arange(24, dtype=">f4").reshape(2, 3, 4))
    arrays["wild"] = numpy.array([numpy.inf, -numpy.inf, numpy.nan, 6e-8], dtype=">f2")
    arrays["scalar"] = numpy.array(2.5, dtype="<f4")
    arrays["empty"] = numpy.zeros((3, 0, 2), dtype="<f4", order="F")
    arrays["größe"] = numpy.ones(1, dtype="<f4")
    every = arrays | {f"{name}.f64": array.astype("<f8", order="C") for name, array in arrays.items()}
    numpy.savez(HERE / "types.npz", **every)
    numpy.savez_compressed(HERE / "types-compressed.npz", **every)


def numpy_small():
    """Files of which every bit is tried."""
    arrays = {"a": numpy.array([[1, 2, 3], [4, 5, 6]], dtype="<f4"), "b": numpy.asfortranarray([[1.5, 2], [3, 4]]).astype(">f8")}
    numpy.savez(HERE / "small.npz", **arrays)
    numpy.savez_compressed(HERE / "small-compressed.npz", **arrays)


def surroundings():
    """Names in a whole training's file, and one array under two names."""
    torch.manual_seed(2)
    net = nn.DataParallel(nn.Sequential(nn.Linear(4, 3)))
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    everything = {"epoch": 3, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(everything, HERE / "training.pt")
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    safetensors.torch.save_model(tied, str(HERE / "tied.safetensors"))


layers()
pytorch_types()
numpy_types()
numpy_small()
surroundings()
