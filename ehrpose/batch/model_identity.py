"""What tells one model from another: the folder of a batch has the results of one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict

from ehrpose.inferencers.predictors import Predictor, RuntimePredictor, TorchPredictor
from ehrpose.transfer import file_digests


def identity_of(predictor: Predictor, num_threads: int) -> Dict[str, Any]:
    """Return what a predictor runs, as plain values: name, hash, and what else its digits depend on.

    Args:
        predictor: An open predictor.
        num_threads: CPU threads that it was opened with. With torch, sums depend on them in the last digit.

    Raises:
        ValueError: It is an object of the user's own, of which nothing tells whether it is the same as before.
    """
    if isinstance(predictor, RuntimePredictor):
        from ehrpose.deploy.sidecar import sidecar_path

        # It has the hashes of the network's files, which were checked when they were opened.
        digest = file_digests(sidecar_path(predictor.runtime.path))["sha256"]
        return {"name": predictor.name, "sha256": digest}
    if isinstance(predictor, TorchPredictor):
        from ehrpose.models.weights.state_dict_diff import digest_of

        model = predictor.model
        config = json.dumps(model.cfg.to_dict(), sort_keys=True, default=str)
        text = f"{digest_of(model.state_dict())}\n{config}"
        device = str(next(model.parameters()).device)
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
        return {"name": predictor.name, "sha256": digest, "device": device, "num_threads": num_threads}
    path = getattr(predictor, "path", None)
    if path is None:
        raise ValueError(f"{predictor.name}: a batch needs a model that is a file, a config or of the zoo")
    files = [path, *filter(Path.is_file, [path.with_suffix(".bin")])]  # OpenVINO keeps the weights there
    return {"name": predictor.name, "sha256": " ".join(file_digests(file)["sha256"] for file in files)}
