"""The JSON beside an exported network is data: its schema holds, whatever is damaged, and no name in it is imported."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
from typing import ClassVar

import numpy as np
import pytest
from damaged_sidecars import DATA, SIDES, damaged, sidecars

import ehrpose.keypoint_meta as skeletons
from ehrpose.backend_table import BACKEND_TABLE, PRECISIONS
from ehrpose.codecs import AssociativeEmbedding, BaseCodec
from ehrpose.deploy import sidecar_schema
from ehrpose.deploy.pipeline import _codec_config
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, build_codec, read_sidecar, sidecar_path
from ehrpose.deploy.sidecar_schema import SchemaError, check, parse, schema
from ehrpose.registry import BACKENDS, CODECS
from ehrpose.structures import Maps, PeakMaps

# Keywords of JSON Schema that hold other nodes, and those that only explain.
NODES = {"not", "if", "then", "else", "items", "additionalProperties", "propertyNames"}
LISTS, NAMED = {"allOf", "oneOf", "prefixItems"}, {"properties", "$defs"}
TEXTS = {"$schema", "$id", "$ref", "$comment", "title", "description", "required"}


@pytest.fixture
def network(tmp_path):
    """Write the tiny network with a JSON of the given content; return its file."""

    def write(content):
        path = tmp_path / "tiny_network.onnx"
        if not path.exists():
            shutil.copy(DATA / path.name, path)
        sidecar_path(path).write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def changed(**changes):
    """Return a sidecar with other values at dotted keys."""
    content = sidecars()["fixed"]
    for name, value in changes.items():
        *places, key = name.split("__")
        inner = content
        for place in places:
            inner = inner[place]
        inner[key] = value
    return content


def refusal(path, **options):
    """Return the message with which a network is refused."""
    with pytest.raises(DeployError) as error:
        PoseRuntime(path, **options)
    text = str(error.value)
    assert len(text.splitlines()) == 1
    return text


def test_every_damaged_file_opens_or_is_named_in_one_line(network):
    """Before there was a schema, 2,144 of 4,000 ended in other errors than DeployError."""
    whole, messages = [], []
    for seed in range(2000):
        path = network(damaged(seed))
        try:
            sidecar = read_sidecar(path)
            codec = build_codec(sidecar, path)
        except DeployError as error:
            messages.append(str(error))
        else:
            whole.append(seed)
            assert codec.meta.num_keypoints > 0
            assert min(sidecar.size_wh) >= 32
    assert {len(text.splitlines()) for text in messages} == {1}
    assert max(map(len, messages)) < 1500
    assert len(whole) > 50
    assert len(messages) > 1500
    opened, messages = 0, []
    for seed in whole[:40]:
        try:
            with PoseRuntime(network(damaged(seed)), "onnxruntime", num_threads=1):
                opened += 1
        except DeployError as error:
            messages.append(str(error))
    assert opened > 5
    assert {len(text.splitlines()) for text in messages} == {1}


def test_the_reader_and_jsonschema_agree():
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra 'tests'")
    standard = jsonschema.Draft202012Validator
    standard.check_schema(schema())
    whole = standard.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    validator = jsonschema.validators.extend(standard, type_checker=whole)(schema())
    found = []
    for content in [*sidecars().values(), *map(damaged, range(1000))]:
        try:
            content = parse(json.dumps(content))
        except SchemaError:
            continue
        try:
            check(content)
            found.append(True)
        except SchemaError:
            found.append(False)
        assert found[-1] == validator.is_valid(content), list(validator.iter_errors(content))
    assert found[:6] == [True] * 6
    assert found.count(False) > 500


def test_the_reader_knows_every_keyword_of_the_schema():
    def keywords(node):
        if isinstance(node, bool):
            return
        for key, value in node.items():
            yield key
            inner = (
                value if key in LISTS else value.values() if key in NAMED else [value] if key in NODES else ()
            )
            for part in inner:
                yield from keywords(part)

    assert set(keywords(schema())) <= {*sidecar_schema._KEYWORDS, *NODES, *LISTS, *NAMED, *TEXTS}


def test_the_schema_names_what_the_code_names():
    import ehrpose.deploy.backends  # noqa: F401

    whole, parts = schema()["properties"], schema()["$defs"]
    assert set(whole["backend"]["enum"]) == set(BACKENDS.module_dict) == set(BACKEND_TABLE)
    assert set(whole["precision"]["enum"]) == set(PRECISIONS)
    forms = schema()["allOf"][-1]["then"]["allOf"][0]
    for part, fields in (("then", PeakMaps._fields), ("else", Maps._fields)):
        outputs = forms[part]["properties"]["outputs"]
        assert tuple(outputs["properties"]) == fields
    codec = {"type", *inspect.signature(AssociativeEmbedding).parameters}
    assert set(parts["associative_embedding"]["properties"]) == codec
    assert set(parts["keypoints"]["properties"]) == {*skeletons._REQUIRED, *skeletons._OPTIONAL}
    assert set(parts["keypoints"]["required"]) == set(skeletons._REQUIRED)


def test_the_record_of_a_built_engine(machine):
    record = read_sidecar(machine.build()).engine
    assert set(record) == set(schema()["$defs"]["engine"]["properties"])


@pytest.mark.parametrize("kind", sidecars())
def test_whole_files_open(network, kind):
    path = network(sidecars()[kind])
    sidecar = read_sidecar(path)
    assert build_codec(sidecar, path, {"mode": "paper"}).mode == "paper"
    sides = {"sides": SIDES, "offsets": {**SIDES, "short": 97, "divisor": 16, "offset": 1}}
    assert sidecar.sides == sides.get(kind)


REFUSED = {
    "unknown key": (changed(oder=1), 'got the unknown key "oder"'),
    "near key": (changed(input__side=1), "input: expected 'sides', got the unknown key \"side\""),
    "option": (changed(codec__min_scor=0.1), "codec: expected 'min_score', got the unknown key \"min_scor\""),
    "size": (changed(input__shape=[1, 3, 64, 70]), "input.shape[3]: expected a whole number from 32 to 16384, a "),
    "dtype": (changed(input__dtype="object"), 'input.dtype: expected one of "uint8", "float32", got "object"'),
    "layout": (changed(input__layout="NHWC"), "input.shape[1]: expected a whole number from 32"),
    "sides in format 1": (changed(input__sides=SIDES), "input.sides: expected no such key in format 1, got"),
    "format 2 without": (changed(format=2), "input: expected either 'sides' or 'shapes', as in format 2, got"),
    "divisor of another codec": (
        changed(format=2, input__sides={**SIDES, "divisor": 16}), "divisor: expected a whole number from 32 to 1024"
    ),
    "offset": (changed(format=2, input__sides={**SIDES, "offset": 1}), "no such key for associative embedding, got 1"),
    "divisor": (changed(format=2, input__sides={**SIDES, "divisor": 0}), "sides.divisor: expected a whole number"),
    "many pixels": (changed(format=2, input__sides={**SIDES, "short": 16000}), "batches of at most 268435456 px, got"),
    "outputs": (changed(decode="peaks"), "outputs: expected the key 'peak_scores', got none"),
    "no hashes": (changed(sha256={}), "sha256: expected an object of 1 to 16 keys, got {}"),
    "short hash": (changed(sha256={"tiny_network.onnx": "ab"}), "expected a SHA-256 of 64 hexadecimal digits, got"),
    "folder": (changed(sha256={"../a.onnx": "ab" * 32}), 'expected a file name without folder, got "../a.onnx"'),
    "another file": (changed(sha256={"a.bin": "ab" * 32}), "sha256: expected the hash of a .onnx file, got those of"),
    "versions": (changed(versions={"torch": 2}), "versions.torch: expected text of one line, got 2"),
    "engine": (changed(engine={"sm": "7.2"}), "engine: expected the key 'version', got none"),
    "phi": (changed(phi="-4"), 'phi: expected a number or null from -100 to 100, got "-4"'),
    "huge": (changed(phi=10**30), "phi: expected a number or null from -100 to 100, got 1000"),
    "NaN": (changed(phi=float("nan")), "expected finite numbers, got NaN"),
    "infinity": (json.dumps(changed(phi=7.5)).replace("7.5", "1e999"), 'expected finite numbers, got "1e999"'),
    "digits": (json.dumps(changed(phi=7.5)).replace("7.5", "1" * 5000), "at most 400 digits, got 5000"),
    "twice": ('{"format": 1, "format": 2}', 'expected each key once, got "format" again'),
    "deep": ("[" * 100_000, "expected at most 32 levels of nesting, got more"),
    "nested": (json.dumps(changed(codec={"type": "a", "b": json.loads("[" * 40 + "]" * 40)})), "levels of nesting"),
    "skeleton": (changed(codec__keypoints__swap=[["nose", "tail"]]), "codec: swap: unknown keypoints ['tail']"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_named(network, content, message):
    text = refusal(network(content))
    assert message in text
    assert "tiny_network.onnx.json" in text


def test_a_missing_key_and_a_large_file(network):
    content = sidecars()["fixed"]
    del content["sha256"]
    assert "expected the key 'sha256', got none" in refusal(network(content))
    assert "expected at most 1048576 bytes, got" in refusal(network(" " * (1 << 20) + "{}"))


NAMES = {
    "dotted codec": changed(codec__type="marker.registry.Codec"),
    "codec": changed(codec__type="marker"),
    "scope of a codec": changed(codec__type="marker.Codec"),
    "scope": changed(codec___scope_="marker"),
    "part": changed(codec={"type": "Own", "part": [{"type": "marker.registry.Codec"}]}),
    "part's scope": changed(codec={"type": "Own", "part": {"type": "Own", "_scope_": "marker"}}),
    "plain part": changed(codec={"type": "Own", "part": {"a": {"type": "marker"}}}),
    "skeleton": changed(codec__keypoints__type="marker.registry.Codec"),
    "backend": changed(backend="marker"),
    "dotted backend": changed(backend="marker.registry.Codec"),
}


class Own(BaseCodec):
    """A codec that builds its part as MMEngine would, which imports."""

    maps_type = Maps
    map_strides: ClassVar[dict] = {"heat4": 4, "tag4": 4, "heat2": 2}

    def __init__(self, part=None, **others):
        self.part, self.mode = [CODECS.build(one) for one in part or ()], "fast"


@pytest.mark.parametrize("content", NAMES.values(), ids=NAMES)
def test_no_name_in_the_file_is_imported(network, tmp_path, monkeypatch, content):
    package = tmp_path / "modules" / "marker"
    package.mkdir(parents=True)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef Codec(**_): pass\n"
    for name in ("__init__.py", "registry.py"):
        (package / name).write_text(code)
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setitem(CODECS.module_dict, "Own", Own)
    assert "expected " in refusal(network(content))
    assert not (tmp_path / "ran").exists()
    assert "marker" not in sys.modules


def test_codecs_that_the_process_has_registered_may_be_named(network, monkeypatch):
    path = network(changed(codec={"type": "Own", "part": [{"type": "Own", "width": 2.5}]}))
    message = refusal(path)
    assert "codec: expected as 'type' one of AssociativeEmbedding, " in message
    assert 'got "Own": if it is your own, import what' in message
    monkeypatch.setitem(CODECS.module_dict, "Own", Own)
    with PoseRuntime(path, num_threads=1) as runtime:
        assert isinstance(runtime.codec, Own)
        assert isinstance(runtime.codec.part[0], Own)


def test_an_export_writes_the_registered_name():
    for name in ("AssociativeEmbedding", "ehrpose.AssociativeEmbedding", AssociativeEmbedding):
        assert _codec_config({"type": name, "strides": (4,)}) == {
            "type": "AssociativeEmbedding", "strides": [4], "mode": "fast",
        }  # fmt: skip
    with pytest.raises(DeployError, match=r"registered in CODECS, got collections\.OrderedDict: put @CODECS"):
        _codec_config({"type": "collections.OrderedDict"})


def test_the_callers_own_options_and_backend(network):
    path = network(sidecars()["fixed"])
    with pytest.raises(TypeError, match="unknown codec option 'min_scor'"):
        PoseRuntime(path, codec_options={"min_scor": 0.1})
    assert "unknown backend 'antigravity', expected one of" in refusal(path, backend="antigravity")
    assert "antigravity" not in sys.modules
    with PoseRuntime(path, num_threads=1) as runtime:
        assert len(runtime.predict([np.zeros((40, 60, 3), np.uint8)])) == 1
