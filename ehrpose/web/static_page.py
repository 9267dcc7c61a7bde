"""The page without a server: files that find people in the browser, for any file server.

ONNX Runtime Web runs the included or exported networks as they are, so torch is not needed; ``browser/decoder.mjs``
turns their outputs into people.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ehrpose.deploy.sidecar import DeployError, Sidecar, build_codec, present_name, read_sidecar, sidecar_path
from ehrpose.fetching.fetch import is_offline
from ehrpose.file_sets import put_folder_in_place
from ehrpose.files import explained, make_parent, partial_path, sweep_once, temporary_folder
from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.model_zoo import find_model, list_models
from ehrpose.version import __version__

ORT_VERSION = "1.30.0"
ORT_PACKAGE = f"onnxruntime-web@{ORT_VERSION}"
# The only files of the package that the page loads, with their hashes: the first three without WebGPU.
ORT_FILES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    "ort-wasm-simd-threaded.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
_PAGE = Path(__file__).parent / "browser"
_SHARED = Path(__file__).parent / "static"
_SHARED_FILES = ("draw.js", "style.css", "icon.svg", "example.jpg")
_LICENCE = "ort-license.txt"
_NPM_SECONDS = 600


def write_page(
    folder: str | os.PathLike[str], models: Sequence[str] = (), ort_dir: str | os.PathLike[str] | None = None
) -> list[str]:
    """Write the page's files; the folder is there whole, or not at all.

    Args:
        folder: The new folder; it may exist if it is empty.
        models: Texts of ``ModelSpec.parse``: zoo models, or exported ``.onnx`` files; none: the included zoo models.
        ort_dir: Folder with the files of ONNX Runtime Web, or of its npm package; None: npm downloads them.

    Returns:
        Names of the models.

    Raises:
        FileExistsError: The folder exists and has files.
        FileNotFoundError: A network is missing.
        ValueError: A model cannot run in the page, or ONNX Runtime Web is not to be had.
        WriteError: The disk is full or fails.
    """
    target = Path(os.path.abspath(folder))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(
            f"{folder} exists: expected a new or an empty folder; remove it, or give another one"
        )
    networks = [(spec.name, _network_of(spec)) for spec in _specs(models)]
    described = [(name, path, _checked(path)) for name, path in networks]
    with _ort_files(ort_dir) as ort:
        make_parent(target)
        sweep_once(target.parent)
        partial = partial_path(target)
        try:
            with explained(target, partial):
                partial.mkdir()
                _copy_page(partial, ort)
                _copy_models(partial, described)
                if target.exists():
                    target.rmdir()  # some systems do not replace even an empty folder
                put_folder_in_place(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return [name for name, _ in networks]


def _specs(models: Sequence[str]) -> list[ModelSpec]:
    texts = list(models) or [model.short_name for model in list_models() if model.network is not None]
    specs = [ModelSpec.parse(text) for text in texts]
    for index, spec in enumerate(specs):
        if spec.name in [other.name for other in specs[:index]]:
            raise ValueError(f"two models are named {spec.name!r}: give names, such as mine={spec.path}")
    return specs


def _network_of(spec: ModelSpec) -> Path:
    """Return the ONNX file of a model."""
    if spec.is_exported:
        if Path(spec.path).suffix.lower() != ".onnx":
            raise ValueError(
                f"{spec.path}: the page runs .onnx files only: export with the backend onnxruntime"
            )
        return Path(spec.path)
    if spec.checkpoint is not None or spec.path.lower().endswith(".py"):
        raise ValueError(
            f"{spec.path} is a config, and the page runs exported networks: run `ehrpose deploy`, and give its .onnx"
        )
    network = find_model(spec.path).network
    if network is None:
        raise ValueError(
            f"{spec.path} has no .onnx beside its weights: run `ehrpose deploy`, and give its .onnx"
        )
    return network


def _checked(path: Path) -> Sidecar:
    """Return the sidecar of a network that the page can run.

    Raises:
        DeployError: It cannot; or the network or its sidecar is damaged.
    """
    sidecar = read_sidecar(path)
    codec = sidecar.codec
    for what, expected, got in (
        ("backend", "onnxruntime", sidecar.backend),
        ("codec", "AssociativeEmbedding", codec["type"]),
        ("mode of the codec", "fast", codec.get("mode", "fast")),
        ("batch size", 1, sidecar.batch_size),
    ):
        if got != expected:
            raise DeployError(
                f"{path}: the page runs networks with the {what} {expected!r} only, got {got!r}"
            )
    build_codec(sidecar, path)
    return sidecar


def _copy_page(folder: Path, ort: Path) -> None:
    for source in sorted(_PAGE.iterdir()):
        if source.is_file() and source.name != _LICENCE:
            shutil.copyfile(source, folder / source.name)
    for name in _SHARED_FILES:
        shutil.copyfile(_SHARED / name, folder / name)
    (folder / "ort").mkdir()
    for name in ORT_FILES:
        shutil.copyfile(ort / name, folder / "ort" / name)
    shutil.copyfile(_PAGE / _LICENCE, folder / "ort" / "LICENSE.txt")


def _copy_models(folder: Path, described: Sequence[tuple[str, Path, Sidecar]]) -> None:
    """Copy networks under names that need no quotes in addresses, and that change with their content."""
    listed: list[dict[str, Any]] = []
    for name, path, sidecar in described:
        place = f"models/{next(iter(sidecar.sha256.values()))[:12]}-{len(listed)}"
        (folder / place).mkdir(parents=True)
        external = []
        for index, written in enumerate(sidecar.sha256):
            present = present_name(sidecar, path, written)
            copied = f"{place}/network.onnx" if present == path.name else f"{place}/weights-{index}.bin"
            shutil.copyfile(path.parent / present, folder / copied)
            if present != path.name:
                external.append({"path": written, "file": copied})
        shutil.copyfile(sidecar_path(path), folder / place / "network.json")
        listed.append(
            {
                "name": name,
                "network": f"{place}/network.onnx",
                "sidecar": f"{place}/network.json",
                "external": external,
            }
        )
    content = {"ehrpose": __version__, "onnxruntime-web": ORT_VERSION, "models": listed}
    (folder / "models.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _ort_files(given: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Yield a folder with the files of ONNX Runtime Web, whose hashes are right."""
    if given is not None:
        place = _with_files(Path(given))
        _check_files(place)
        yield place
        return
    with temporary_folder() as folder:
        _download(folder)
        _check_files(folder)
        yield folder


def _with_files(given: Path) -> Path:
    """Return the folder with the files: the one given, or that of the npm package inside of it."""
    inside = (
        given,
        given / "dist",
        given / "package" / "dist",
        given / "node_modules" / "onnxruntime-web" / "dist",
    )
    return next((place for place in inside if (place / next(iter(ORT_FILES))).is_file()), given)


def _check_files(folder: Path) -> None:
    for name, expected in ORT_FILES.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} not found: expected the files of the npm package {ORT_PACKAGE}")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(
                f"{path} has SHA-256 {found}, expected {expected}, as in the npm package {ORT_PACKAGE}: get it again"
            )


def _download(folder: Path) -> None:
    """Let npm download the package, with its own settings for registries and proxies, and unpack what is needed."""
    by_hand = (
        f"by hand: run `npm pack {ORT_PACKAGE}` on any machine, unpack it, and give its folder with `ort_dir`"
    )
    if is_offline():
        raise ValueError(f"EHRPOSE_OFFLINE forbids to fetch {ORT_PACKAGE}; {by_hand}")
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm, which fetches {ORT_PACKAGE}, is not installed; {by_hand}")
    command = [npm, "pack", ORT_PACKAGE, "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"npm did not fetch {ORT_PACKAGE} within {_NPM_SECONDS} s; {by_hand}") from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(f"npm could not fetch {ORT_PACKAGE}: {lines[0]}; {by_hand}")
    try:
        with tarfile.open(archives[0], "r:gz") as archive:
            for name in ORT_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                if member is None:
                    raise KeyError(name)
                with member, (folder / name).open("wb") as out:
                    shutil.copyfileobj(member, out)
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise ValueError(f"npm fetched another package than {ORT_PACKAGE}: {error}; {by_hand}") from error
