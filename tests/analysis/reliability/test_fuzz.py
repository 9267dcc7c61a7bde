"""Fuzzing: every area runs, a fault is seen, and a crash or a hang costs one case."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ehrpose.analysis.reliability import fuzz, mutation
from ehrpose.analysis.reliability.documents import ConfigOptions, Labels, refusal
from ehrpose.analysis.reliability.fuzz import AREAS, fuzz_area
from ehrpose.analysis.reliability.mutation import Outcome, case_rng, damage, document_bytes
from ehrpose.analysis.reliability.photos import Photos, encoders, picture
from ehrpose.analysis.reliability.results import Result, print_results, table
from ehrpose.image_io import read_image


class Trouble:
    """An area whose cases 1 to 4 are a fault, a killed process, a hang and an error."""

    def __init__(self, seed, folder):
        pass

    def check(self, index):
        if index == 1:
            return Outcome("read", "wrong answer", 5.0)
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 3:
            time.sleep(600)
        if index == 4:
            raise RuntimeError("unforeseen")
        return Outcome("read")


class Missing:
    def __init__(self, seed, folder):
        raise ModuleNotFoundError("needs a package")


@pytest.fixture
def areas(monkeypatch):
    monkeypatch.setitem(AREAS, "trouble", f"{__name__}:Trouble")
    monkeypatch.setitem(AREAS, "missing", f"{__name__}:Missing")
    folder, others = os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([folder, os.getcwd(), others]))


@pytest.mark.slow  # starts four processes
@pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL")
def test_a_crash_a_hang_and_an_error_cost_one_case_each(areas, monkeypatch):
    monkeypatch.setattr(fuzz, "CASE_S", 1.0)
    result = fuzz_area("trouble", 6, 60)
    assert result.cases == 6
    assert result.faults == [
        "case 1: wrong answer",
        "case 2: the process ended with SIGKILL",
        "case 3: no end after 1 s",
        "case 4: the process ended with exit code 1 (RuntimeError: unforeseen)",
    ]
    assert result.lost == "3 processes"
    assert "most memory 5 MB" in result.notes[0]


def test_an_area_that_lacks_a_package_is_skipped_with_the_reason(areas):
    result = fuzz_area("missing", 6, 60)
    assert (result.cases, result.faults, result.notes) == (0, [], ["skipped: needs a package"])


def test_the_table_has_one_form_and_faults_are_listed(capsys):
    good, bad = (
        Result("photos", 1200, 3.4),
        Result("codec", 5, 1, [f"case {i}" for i in range(12)], "1 answer"),
    )
    assert table([good]).splitlines() == [
        "| area | cases | seconds | faults | lost |",
        "| --- | --- | --- | --- | --- |",
        "| photos | 1,200 | 3 | 0 | nothing |",
    ]
    assert print_results([good])
    capsys.readouterr()
    assert not print_results([good, bad])
    text = capsys.readouterr().out
    assert "codec, fault: case 9\ncodec: 2 more faults" in text


def test_a_case_follows_from_area_seed_and_number():
    def case(*place):
        return damage(bytes(300), case_rng(*place)), document_bytes({"a": [1, {"b": 2}]}, case_rng(*place))

    first = case("photos", 0, 7)
    for number in range(300):  # other cases change nothing in it
        document_bytes({"a": [1, {"b": 2}], "c": {}}, case_rng("labels", 0, number))
    assert case("photos", 0, 7) == first
    assert len({case("photos", seed, number)[0] for seed in (0, 1) for number in (7, 8)}) == 4


def test_errors_that_are_not_promised_are_faults():
    assert not refusal(ValueError("labels.json: wrong"), (ValueError,), "labels.json").fault
    assert refusal(TypeError("labels.json"), (ValueError,), "labels.json").fault.startswith("TypeError")
    assert "a message without labels.json" in refusal(ValueError("wrong"), (ValueError,), "labels.json").fault
    assert "several lines" in refusal(ValueError("a\nb"), (ValueError,)).fault


def test_every_encoder_writes_a_photo_that_can_be_read():
    pytest.importorskip("PIL")
    found = encoders()
    assert len(found) >= 20
    for name, encode in found.items():
        assert read_image(encode(picture())).shape[2] == 3, name


def test_photos_end_in_a_picture_or_its_error(tmp_path, monkeypatch):
    area = Photos(0, tmp_path)
    outcomes = [area.check(index) for index in range(150)]
    assert {outcome.kind for outcome in outcomes} == {"read", "refused"}
    assert [outcome.fault for outcome in outcomes if outcome.fault] == []

    def broken(*_):
        raise MemoryError("took all")

    monkeypatch.setattr("ehrpose.analysis.reliability.photos.read_image", broken)
    assert "MemoryError: took all" in area.check(0).fault


@pytest.mark.parametrize("area", [Labels, ConfigOptions])
def test_labels_and_options_end_in_a_value_or_their_error(area, tmp_path):
    tried = area(0, tmp_path)
    outcomes = [tried.check(index) for index in range(150)]
    assert {outcome.kind for outcome in outcomes} == {"read", "refused"}
    assert [outcome.fault for outcome in outcomes if outcome.fault] == []


def test_checkpoints_load_unchanged_or_not_at_all(tmp_path, monkeypatch):
    weights = pytest.importorskip("ehrpose.analysis.reliability.weights")
    tried = weights.Checkpoints(0, tmp_path)
    outcomes = [tried.check(index) for index in range(80)]
    assert "refused" in {outcome.kind for outcome in outcomes}
    assert [outcome.fault for outcome in outcomes if outcome.fault] == []
    # Without the digest, the same files are faults.
    monkeypatch.setattr("ehrpose.models.weights.checkpoint.check_digest", lambda *_: None)
    assert any("other weights, no message" in tried.check(index).fault for index in range(80))


def test_a_file_that_makes_a_folder_on_loading_is_a_fault(tmp_path, monkeypatch):
    weights = pytest.importorskip("ehrpose.analysis.reliability.weights")
    import torch

    tried = weights.Checkpoints(0, tmp_path)
    numbers = [n for n in range(60) if tried.check(n).kind == "refused"]
    unsafe = lambda path: torch.load(path, weights_only=False)  # noqa: E731
    monkeypatch.setattr(weights, "read_checkpoint", unsafe)
    assert any(tried.check(n).fault.endswith("the file made a folder") for n in numbers)
    assert not (tmp_path / weights.MARKER).exists()


def test_the_codec_is_compared_in_both_forms(tmp_path):
    pytest.importorskip("numba", reason="numba is optional")
    assert mutation.Outcome("read") == fuzz.CodecMaps(0, tmp_path).check(0)


def test_sidecars_are_opened_as_a_user_opens_them(tmp_path):
    pytest.importorskip("onnx", reason="onnx is in the extra 'deploy'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    from ehrpose.analysis.reliability.documents import Sidecars

    tried = Sidecars(0, tmp_path)
    found = [tried.check(index) for index in [*range(60), 913, 1710]]  # the last two once lacked an output
    assert {one.kind for one in found} == {"read", "refused"}
