"""Names, weights and outputs of other projects' networks, to compare ours with.

The outputs were computed by the projects' own code, with weights that anybody can draw again from names and shapes, for
an input of noise. ``tests/data/rivals`` has the names and shapes of all tensors (``keys.json.gz``) and a part of the
outputs (``outputs.npz``, ``outputs.json``). ``python tests/models/rivals/rival_data.py FOLDER`` writes them anew from
the folder with all of it, which also has outputs for a photo.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import math
import sys
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests/data/rivals"
FULL = ROOT.parent / "shared/rivals"
COUNTER = ".num_batches_tracked"
NUM_VALUES = 2000

NETWORKS = (
    "higherhrnet_w32_official", "higherhrnet_w32_mmpose0", "higherhrnet_w32_udp_mmpose0", "higherhrnet_w48_official",
    "higherhrnet_w48_mmpose0", "hrnet_w32_mmpose0", "hrnet_w32_mmpose1", "hrnet_w48_mmpose0", "hrnet_w48_mmpose1",
    "litepose_XS", "litepose_S", "litepose_M", "litepose_L", "mobilenetv2_mmpose0", "res50_mmpose0", "res101_mmpose0",
    "res152_mmpose0", "hourglass_official", "hourglass_mmpose0", "lwopenpose", "lwopenpose_3stages",
    "efficienthrnet_h0", "efficienthrnet_h-1",
    "efficienthrnet_h-2", "efficienthrnet_h-3", "efficienthrnet_h-4",
)  # fmt: skip
# Networks that cannot be converted, and must be told apart from those above.
OTHERS = ("dekr_w32_official", "cid_w32_mmpose1")


@functools.cache
def all_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """Network to tensor name to shape, in the order of the state dict."""
    text = gzip.decompress((DATA / "keys.json.gz").read_bytes())
    return {
        network: {key: tuple(shape) for key, shape in keys.items()}
        for network, keys in json.loads(text).items()
    }


@functools.cache
def facts() -> dict[str, dict]:
    """Network to seed and range of batch norms of its weights, parameters, multiply-adds and outputs."""
    return json.loads((DATA / "outputs.json").read_text())


def draw_weights(network: str) -> dict[str, np.ndarray]:
    """Draw the weights, each from a generator of its own that its name seeds."""
    shapes, fact = all_shapes()[network], facts()[network]
    norms = {name.removesuffix(".running_mean") for name in shapes if name.endswith(".running_mean")}
    drawn = {}
    for name, shape in shapes.items():
        rng = np.random.Generator(np.random.PCG64([fact["seed"], zlib.crc32(name.encode())]))
        parent, _, leaf = name.rpartition(".")
        if name.endswith(COUNTER):
            drawn[name] = np.zeros(shape, np.int64)
            continue
        if parent in norms and leaf == "weight":
            values = rng.uniform(*fact["bn"], shape)
        elif parent in norms and leaf == "running_var":
            values = rng.uniform(0.5, 1.5, shape)
        else:
            scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
            values = scale * rng.standard_normal(shape)
        drawn[name] = np.asarray(values, np.float32)
    return drawn


def noise(network: str) -> np.ndarray:
    """Draw the normalised input."""
    fact = facts()[network]
    rng = np.random.Generator(np.random.PCG64(fact["noise_seed"]))
    return rng.standard_normal(fact["noise_shape"]).astype(np.float32)


def some_values(output: np.ndarray) -> np.ndarray:
    """Values spread over all channels, rows and columns."""
    step = max(1, output.size // NUM_VALUES)
    # Prime to the sides, which are products of 2, 3, 5 and 17.
    while any(step % factor == 0 for factor in (2, 3, 5, 17)) and step > 1:
        step += 1
    return output.reshape(-1)[::step]


def used(name: str, output: np.ndarray) -> np.ndarray:
    """Leave out the channels of the last hourglass that nothing uses."""
    return output[:, :34] if name == "stack3" else output


def write(folder: Path) -> None:
    """Write the test data from the folder of RIVALS.md."""
    keys = {}
    for network in (*NETWORKS, *OTHERS):
        lines = (folder / f"keys/state_dict_{network}.txt").read_text().splitlines()
        rows = [line.split() for line in lines if line and not line.startswith("#")]
        keys[network] = {
            name: [] if shape == "scalar" else [int(side) for side in shape.split("x")]
            for name, shape, _ in rows
        }
    DATA.mkdir(parents=True, exist_ok=True)
    text = json.dumps(keys, separators=(",", ":")).encode()
    (DATA / "keys.json.gz").write_bytes(gzip.compress(text, mtime=0))
    values, rows = {}, {}
    for network in NETWORKS:
        meta = json.loads((folder / f"golden/{network}.json").read_text())
        outputs = np.load(folder / f"golden/{network}.npz")
        meta.setdefault("noise_seed", 11)
        named = ("seed", "bn", "noise_seed", "params", "macs", "eval_side")
        rows[network] = {key: meta[key] for key in named if key in meta}
        rows[network].update(noise_shape=outputs["noise_input"].shape, outputs={})
        for name in outputs.files:
            if name.startswith("noise_") and name != "noise_input":
                short = name.removeprefix("noise_")
                output = used(short, outputs[name])
                values[f"{network}/{short}"] = some_values(output)
                rows[network]["outputs"][short] = {
                    "shape": output.shape,
                    "absmax": float(np.abs(output).max()),
                    "mean": float(output.mean(dtype=np.float64)),
                }
    (DATA / "outputs.json").write_text(json.dumps(rows, indent=1) + "\n")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)
    (DATA / "outputs.npz").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
