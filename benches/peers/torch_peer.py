"""PyTorch on the workloads: prints one line of JSON like `cargo bench --bench train -- --json`.

It runs fastest with an allocator that keeps what is freed; compare.py sets that in the environment.
"""
import peer

# `_cl` is the layout channels_last, in which a pixel's channels lie together. `compile` is torch.compile, and
# `freeze` the same with the weights packed once, for inference only.
SETTINGS = ["eager", "eager_cl", "compile", "compile_cl", "freeze", "freeze_cl"]
given = peer.arguments(SETTINGS)

import torch
from torch import nn

import modern


def network(image, layers):
    parts = []
    for layer, (channels, height, width) in peer.shaped(image, layers):
        match layer:
            case ("conv", filters, size, padding):
                parts += [nn.Conv2d(channels, filters, size, padding=padding), nn.ReLU(inplace=True)]
            case ("pool",):
                parts.append(nn.MaxPool2d(2))
            case ("linear", units):
                parts += [nn.Flatten(), nn.Linear(channels * height * width, units)]
            case ("relu",):
                parts.append(nn.ReLU(inplace=True))
            case ("dropout", drop):
                parts.append(nn.Dropout(drop))
    for part in parts:
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    return nn.Sequential(*parts)


def compiled(function):
    if given.setting.startswith("eager"):
        return function
    import torch._inductor.config
    torch._inductor.config.compile_threads = 1  # processes that only wait would still take memory
    torch._inductor.config.freezing = given.setting.startswith("freeze")
    return torch.compile(function)


def train(model, images):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    measure, target = modern.loss(given.workload, images)
    loss = compiled(lambda: measure(model(images), target))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    peer.measure(given, step)


def infer(model, images):
    predict = compiled(model.eval())
    # Freezing looks for `no_grad`; `inference_mode` saves a little more where nothing is compiled.
    with torch.inference_mode() if predict is model else torch.no_grad():
        peer.measure(given, lambda: predict(images))


torch.manual_seed(0)
torch.set_num_threads(given.threads)
torch.set_flush_denormal(True)
batch, image, layers = peer.WORKLOADS[given.workload]
batch = given.batch or batch
model = network(image, layers) if layers else modern.NETWORKS[given.workload]()
images = torch.randn(batch, *image)
if given.setting.endswith("_cl"):
    model = model.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
if given.mode == "train":
    train(model, images)
else:
    infer(model, images)
