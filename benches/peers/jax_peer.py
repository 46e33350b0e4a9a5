"""JAX on the workloads: prints one line of JSON like `cargo bench --bench train -- --json`.

A whole training step is one compiled function that writes over its own state. XLA takes as many threads as the
process has cores, so peer.py keeps it to some.
"""
import os

import peer

# The one setting: channels last, and a pool that is a maximum over the axes of a reshaped array. XLA's own
# window reduction has a slow gradient on processors. (Where two maxima tie, this one's gradient goes to both.)
given = peer.arguments(["nhwc"])
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import optax
from jax import lax

batch, image, layers = peer.WORKLOADS[given.workload]
if layers is None:
    raise SystemExit("this network is written for PyTorch alone")


def start(key):
    """Weights by He's rule and biases at 0, for each layer that has any."""
    found = []
    for layer, (channels, height, width) in peer.shaped(image, layers):
        match layer:
            case ("conv", filters, size, _):
                shape = (size, size, channels, filters)
            case ("linear", units):
                shape = (channels * height * width, units)
            case _:
                continue
        key, own = jax.random.split(key)
        deviation = (2 * shape[-1] / jnp.prod(jnp.array(shape))) ** 0.5
        found.append((deviation * jax.random.normal(own, shape), jnp.zeros(shape[-1])))
    return found


def logits(parameters, h, key=None):
    """The network; without a key nothing is dropped."""
    parameters = iter(parameters)
    for layer in layers:
        match layer:
            case ("conv", _, _, padding):
                weight, bias = next(parameters)
                axes = ("NHWC", "HWIO", "NHWC")
                h = lax.conv_general_dilated(h, weight, (1, 1), [(padding, padding)] * 2, dimension_numbers=axes)
                h = jnp.maximum(h + bias, 0)
            case ("pool",):
                n, y, x, c = h.shape
                h = h.reshape(n, y // 2, 2, x // 2, 2, c).max((2, 4))
            case ("linear", _):
                weight, bias = next(parameters)
                h = h.reshape(h.shape[0], -1) @ weight + bias
            case ("relu",):
                h = jnp.maximum(h, 0)
            case ("dropout", drop) if key is not None:
                key, own = jax.random.split(key)
                h = jnp.where(jax.random.bernoulli(own, 1 - drop, h.shape), h / (1 - drop), 0)
    return h


def loss(parameters, images, labels, key):
    predicted = logits(parameters, images, key)
    return optax.softmax_cross_entropy_with_integer_labels(predicted, labels).mean()


adam = optax.adam(1e-3)


def train_step(state, images, labels):
    parameters, moments, key = state
    key, own = jax.random.split(key)
    gradient = jax.grad(loss)(parameters, images, labels, own)
    updates, moments = adam.update(gradient, moments)
    return optax.apply_updates(parameters, updates), moments, key


keys = jax.random.split(jax.random.PRNGKey(0), 4)
images = jax.random.normal(keys[0], (batch, *image)).transpose(0, 2, 3, 1)
labels = jax.random.randint(keys[1], (batch,), 0, 10)
parameters = start(keys[2])
if given.mode == "train":
    run = jax.jit(train_step, donate_argnums=0)
    latest = (parameters, adam.init(parameters), keys[3])
    del parameters  # the first step takes their memory

    def step():
        global latest
        latest = run(latest, images, labels)
else:
    run = jax.jit(logits)
    latest = None

    def step():
        global latest
        latest = run(parameters, images)


peer.measure(given, step, lambda: jax.block_until_ready(latest))
