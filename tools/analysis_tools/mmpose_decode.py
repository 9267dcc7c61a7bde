"""Time mmpose 1.3.2's associative-embedding decoder.

`benchmark_codec.py --peer-python` runs it in mmpose's own virtual environment.
Reads FOLDER/*.npz with `heatmaps` (17, H, W) and `tags` (17, H, W) float32, writes FOLDER/times.json: file stem
to the milliseconds of each run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

ORDER = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16]


def stand_in(name: str, **members: object) -> types.ModuleType:
    """Register an empty stand-in for a module that mmpose imports but its decoder never calls."""
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__path__ = []
    vars(module).update(members)
    sys.modules[name] = module
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()

    stand_in("mmcv._ext").__getattr__ = lambda name: None  # type: ignore[method-assign]
    stand_in("xtcocotools").coco = stand_in("xtcocotools.coco", COCO=object)  # type: ignore[attr-defined]
    stand_in("xtcocotools.cocoeval", COCOeval=object)
    transforms = stand_in("torchvision.transforms", ToPILImage=object)
    stand_in("torchvision", __version__="0.0.0").transforms = transforms  # type: ignore[attr-defined]
    import numpy as np
    import torch
    from mmpose.codecs import AssociativeEmbedding

    torch.set_num_threads(1)
    times = {}
    for path in sorted(args.folder.glob("*.npz")):
        content = np.load(path)
        heatmaps, tags = (torch.from_numpy(content[key])[None] for key in ("heatmaps", "tags"))
        size = heatmaps.shape[-1], heatmaps.shape[-2]
        codec = AssociativeEmbedding(
            size, size, sigma=2, decode_topk=30, decode_max_instances=30, decode_center_shift=0.5,
            decode_keypoint_order=ORDER,
        )  # fmt: skip
        times[path.stem] = []
        for _ in range(args.runs + 1):
            copied = heatmaps.clone()
            start = time.perf_counter()
            codec.batch_decode(copied, tags)
            times[path.stem].append(1000 * (time.perf_counter() - start))
        times[path.stem].pop(0)
    (args.folder / "times.json").write_text(json.dumps(times))


if __name__ == "__main__":
    main()
