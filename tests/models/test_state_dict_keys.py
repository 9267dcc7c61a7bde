"""The names and shapes of H-4's tensors are pinned: a change would leave users' checkpoints unreadable.

After a deliberate change, with a way to read old checkpoints, rewrite the file:
``python tests/models/test_state_dict_keys.py``.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ehrpose.registry import MODELS

ROOT = Path(__file__).parents[2]
PINNED = ROOT / "tests" / "data" / "state_dict_keys_h-4.txt"


def current_keys() -> list[str]:
    keypoints = Config.fromfile(str(ROOT / "configs" / "_base_" / "keypoints" / "coco.py")).keypoints
    codec = {"type": "AssociativeEmbedding", "input_size": 384, "keypoints": keypoints}
    model = MODELS.build(
        {
            "type": "BottomUpEstimator",
            "backbone": {"type": "EfficientNet", "phi": -4},
            "neck": {"type": "HighResolutionNeck", "phi": -4},
            "head": {"type": "AEHead", "codec": codec},
        }
    )
    return [f"{name} {'x'.join(map(str, t.shape)) or 'scalar'}" for name, t in model.state_dict().items()]


def test_names_and_shapes_are_pinned():
    pinned = [line for line in PINNED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    current = current_keys()
    assert set(current) - set(pinned) == set()
    assert set(pinned) - set(current) == set()
    assert current == pinned  # the order is that of the optimizer's state


if __name__ == "__main__":
    header = "# Tensor names and shapes of H-4, 17 keypoints; pinned by tests/models/test_state_dict_keys.py."
    PINNED.write_text("\n".join([header, *current_keys(), ""]), encoding="utf-8")
