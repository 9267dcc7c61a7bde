"""The networks that zoo models are run by without torch; they share the weights of the checkpoint beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ehrpose.deploy.export.input_form import input_form
from ehrpose.deploy.export.onnx import DeployNetwork
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.shared_weights import share_weights
from ehrpose.deploy.pipeline import compare_with_model, export
from ehrpose.deploy.sidecar import DeployError, file_hash, read_sidecar, sidecar_path
from ehrpose.file_sets import written_together
from ehrpose.files import temporary_folder
from ehrpose.model_zoo import ZooModel
from ehrpose.models.loading import init_model


def write_shared_network(model: ZooModel) -> tuple[Path, dict[str, float]]:
    """Write the ``.onnx`` file of a zoo model, and its sidecar, beside its checkpoint.

    Returns:
        The file, and its largest errors relative to torch's network (``parity``).

    Raises:
        DeployError: The model cannot be exported, or the network differs from torch's.
        ValueError: The model has no included weights, or its checksum is wrong.
        PermissionError, WriteError: The folder cannot be written to.
    """
    model.check()
    assert model.checkpoint is not None
    assert model.config is not None
    estimator = init_model(model.config, model.checkpoint)
    options = ExportOptions(name=model.checkpoint.stem)
    if not input_form(estimator, options).varying:
        raise DeployError(f"{model.name}: expected a network that takes photos of any shape")
    with temporary_folder() as folder:
        exported = export(str(model.config), str(model.checkpoint), folder, options)
        network = DeployNetwork(estimator, options.layout, options.dtype, options.decode)
        tried = exported.path
        tried.write_bytes(share_weights(tried.read_bytes(), network.folded, model.checkpoint))
        shutil.copy2(model.checkpoint, folder)
        sidecar = read_sidecar(tried, check_hashes=False)
        sidecar.name = model.short_name
        sidecar.sha256 = {name: file_hash(folder / name) for name in (tried.name, model.checkpoint.name)}
        sidecar.write(tried)
        errors = compare_with_model(tried, "onnxruntime", estimator)
        path = model.checkpoint.with_suffix(".onnx")
        content = json.loads(sidecar_path(tried).read_text(encoding="utf-8"))
        with written_together(path) as new:
            shutil.copyfile(tried, new / path.name)
            # On one line: the skeleton would fill hundreds.
            (new / sidecar_path(path).name).write_text(json.dumps(content) + "\n", encoding="utf-8")
    return path, errors
