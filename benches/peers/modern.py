"""The networks of ../train/modern.rs for PyTorch: the same layers, in the same order, with as many parameters."""
import torch
from torch import nn


def conv(channels, filters, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=bias)


def conv_norm(channels, filters, kernel, stride=1, groups=1):
    return [conv(channels, filters, kernel, stride, groups), nn.BatchNorm2d(filters)]


def classes(channels):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def relu():
    return nn.ReLU(inplace=True)


class Residual(nn.Module):
    """The sum of some layers and a shortcut, rectified or not."""

    def __init__(self, layers, shortcut=None, rectified=True):
        super().__init__()
        self.layers, self.shortcut, self.rectified = nn.Sequential(*layers), shortcut, rectified

    def forward(self, x):
        y = self.layers(x) + (x if self.shortcut is None else self.shortcut(x))
        return nn.functional.relu(y, inplace=True) if self.rectified else y


class Padded(nn.Module):
    """Every second pixel, and zeros for new channels: the shortcut of ResNet-20."""

    def __init__(self, more):
        super().__init__()
        self.more = more

    def forward(self, x):
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))


def resnet20():
    layers, channels = [*conv_norm(3, 16, 3), relu()], 16
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            halves = stage > 0 and block == 0
            inner = [*conv_norm(channels, width, 3, 2 if halves else 1), relu(), *conv_norm(width, width, 3)]
            layers.append(Residual(inner, Padded(width - channels) if halves else None))
            channels = width
    return nn.Sequential(*layers, *classes(64))


def resnet(blocks, bottlenecks):
    layers, channels = [*conv_norm(3, 64, 7, 2), relu(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(blocks):
        for block in range(count):
            stride, width = (2 if stage > 0 and block == 0 else 1), 64 << stage
            if bottlenecks:
                out = 4 * width
                inner = [*conv_norm(channels, width, 1), relu(), *conv_norm(width, width, 3, stride), relu(),
                         *conv_norm(width, out, 1)]
            else:
                out = width
                inner = [*conv_norm(channels, width, 3, stride), relu(), *conv_norm(width, width, 3)]
            is_plain = channels == out and stride == 1
            layers.append(Residual(inner, None if is_plain else nn.Sequential(*conv_norm(channels, out, 1, stride))))
            channels = out
    return nn.Sequential(*layers, *classes(channels))


def mobile():
    layers, channels = [*conv_norm(3, 32, 3, 2), nn.ReLU6(True)], 32
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, width, count, first in stages:
        for block in range(count):
            stride, inner = (first if block == 0 else 1), channels * expansion
            parts = [*conv_norm(channels, inner, 1), nn.ReLU6(True)] if expansion > 1 else []
            parts += [*conv_norm(inner, inner, 3, stride, inner), nn.ReLU6(True), *conv_norm(inner, width, 1)]
            skips = stride == 1 and channels == width
            layers += [Residual(parts, rectified=False)] if skips else parts
            channels = width
    return nn.Sequential(*layers, *conv_norm(channels, 1280, 1), nn.ReLU6(True), *classes(1280))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()

        def twice(channels, width):
            return nn.Sequential(*conv_norm(channels, width, 3), relu(), *conv_norm(width, width, 3), relu())

        self.down = nn.ModuleList([twice(3, 16), twice(16, 32), twice(32, 64)])
        self.middle = twice(64, 128)
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * width, width, 2, 2, bias=False) for width in (64, 32, 16)])
        self.levels = nn.ModuleList([twice(2 * width, width) for width in (64, 32, 16)])
        self.classes = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.middle(x)
        for up, level in zip(self.up, self.levels):
            x = level(torch.cat([skips.pop(), up(x)], 1))
        return self.classes(x)


class Dense(nn.Module):
    """A layer whose result is appended to what it reads."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm2d(channels), relu(), conv(channels, 12, 3))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


def dense():
    layers, channels = [conv(3, 24, 3)], 24
    for block in range(2):
        for _ in range(6):
            layers.append(Dense(channels))
            channels += 12
        if block == 0:
            layers += [*conv_norm(channels, channels // 2, 1), relu(), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), relu(), *classes(channels))


class ChannelNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext():
    layers = [nn.Conv2d(3, 48, 4, 4)]
    for stage, width in enumerate((48, 96)):
        if stage > 0:
            layers.append(nn.Conv2d(48, width, 2, 2))
        for _ in range(3):
            layers.append(Residual([conv(width, width, 7, groups=width, bias=True), ChannelNorm(width, eps=1e-6),
                                    nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)],
                                   rectified=False))
    return nn.Sequential(*layers, *classes(96))


def signals():
    layers, channels = [], 4
    for width in (16, 32, 64, 64, 128):
        layers += [nn.Conv2d(channels, width, (1, 9), (1, 2), (0, 4), bias=False), nn.BatchNorm2d(width), relu()]
        channels = width
    return nn.Sequential(*layers, *classes(128))


def units():
    hidden = [part for _ in range(3) for part in (nn.Linear(1024, 1024), relu())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(1024, 10))


def autoencoder():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), relu(), nn.Conv2d(32, 64, 3, 2, 1), relu(),
        nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), relu(), nn.ConvTranspose2d(32, 3, 3, 2, 1, 1))


NETWORKS = {
    "R20": resnet20, "R18": lambda: resnet((2, 2, 2, 2), False), "R50": lambda: resnet((3, 4, 6, 3), True),
    "V2": mobile, "U": UNet, "N": dense, "X": convnext, "S": signals, "P": units, "E": autoencoder,
}


def loss(workload, images):
    """The loss of a workload's output, and what it compares with."""
    batch, _, height, width = images.shape
    if workload == "E":
        return nn.functional.mse_loss, images
    if workload == "U":
        return nn.functional.cross_entropy, torch.randint(0, 2, (batch, height, width))
    return nn.functional.cross_entropy, torch.randint(0, 10, (batch,))
