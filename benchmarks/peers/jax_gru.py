"""A GRU as ``jax.lax.scan`` compiled by ``jax.jit``: ``jax_gru.py STEPS HIDDEN BATCH FEATURES`` prints the seconds of
computing of forward and backward passes, see ``benchmarks/against_jax.py``.
"""

import json
import os
import sys
import time

# read when jax is imported
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp

steps, hidden, batch, features = map(int, sys.argv[1:])
keys = jax.random.split(jax.random.PRNGKey(0), 3)
weights = {
    "ih": jax.random.normal(keys[0], (features, 3 * hidden)) / hidden**0.5,
    "hh": jax.random.normal(keys[1], (hidden, 3 * hidden)) / hidden**0.5,
    "b_ih": jnp.zeros(3 * hidden),
    "b_hh": jnp.zeros(3 * hidden),
}
x = jax.random.normal(keys[2], (steps, batch, features))


def loss(weights: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Mean square of all outputs."""

    def step(h: jax.Array, of_x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x_r, x_z, x_n = jnp.split(of_x, 3, -1)
        h_r, h_z, h_n = jnp.split(h @ weights["hh"] + weights["b_hh"], 3, -1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        h = (1 - z) * jnp.tanh(x_n + r * h_n) + z * h
        return h, h

    # the input's products for all steps at once, as we have them
    return jnp.mean(jax.lax.scan(step, jnp.zeros((batch, hidden)), x @ weights["ih"] + weights["b_ih"])[1] ** 2)


gradient = jax.jit(jax.grad(loss))
jax.block_until_ready(gradient(weights, x))
taken = []
for _ in range(40):
    begun = time.process_time()
    jax.block_until_ready(gradient(weights, x))
    taken.append(time.process_time() - begun)
print(json.dumps(taken))
