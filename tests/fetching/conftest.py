"""A zoo whose weights are on a local server."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import pytest
import web_server
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/models/rivals"))
NETWORK, CONFIG = "litepose_XS", ROOT / "configs/rivals/litepose-xs_coco-256.py"


@pytest.fixture
def server():
    yield from web_server.serve()


@pytest.fixture(scope="session")
def theirs() -> bytes:
    """A small published checkpoint: LitePose-XS with drawn weights and the names of its authors."""
    import rival_data
    import torch

    tensors = {f"module.{k}": torch.from_numpy(v) for k, v in rival_data.draw_weights(NETWORK).items()}
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": tensors}, buffer)
    return buffer.getvalue()


class Zoo:
    """Writes a zoo's files, of which ``entry`` is the only model.

    Attributes:
        root: Folder of model-index.yml.
        home: The cache.
        folder: The model's folder in it.
    """

    def __init__(self, root: Path, home: Path, entry: dict):
        self.root, self.home, self.entry = root, home, entry
        self.write()

    @property
    def folder(self) -> Path:
        return self.home / "models" / self.entry["Name"]

    def write(self, **changes) -> None:
        """Change the entry; None removes a key."""
        self.entry.update(changes)
        entry = {key: value for key, value in self.entry.items() if value is not None}
        (self.root / "model-index.yml").write_text("Import: [metafile.yml]\n")
        (self.root / "metafile.yml").write_text(yaml.safe_dump({"Models": [entry]}))

    def kept(self) -> list[str]:
        """Names of the files in the model's folder."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []


@pytest.fixture
def zoo(server, theirs, tmp_path, monkeypatch) -> Zoo:
    """A zoo with the model ``xs``, whose file is on the server."""
    monkeypatch.setenv("EHRPOSE_HOME", str(tmp_path / "home"))
    for name in ("EHRPOSE_OFFLINE", "EHRPOSE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    server.files["/lite/theirs.pth"] = theirs
    (tmp_path / "zoo").mkdir()
    monkeypatch.setattr("ehrpose.model_zoo.zoo_root", lambda: tmp_path / "zoo")
    monkeypatch.setattr("ehrpose.fetching.fetch._WAIT", 0.01)
    entry = {
        "Name": "litepose-xs_coco-256",
        "Alias": ["xs"],
        "Config": str(CONFIG),
        "Weights": f"{server.url}/lite/theirs.pth",
        "Remote": {"SHA256 Prefix": hashlib.sha256(theirs).hexdigest()[:8]},
        "Metadata": {"Licence": {"Code": "MIT", "Weights": "MIT"}, "Trained By": "nobody"},
    }
    return Zoo(tmp_path / "zoo", tmp_path / "home", entry)
