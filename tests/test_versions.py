"""make test-versions: the list of environments, and what counts as equal."""

import importlib.util
import sys

import numpy as np
import pytest

from ehrpose.structures import People


@pytest.fixture(scope="module")
def versions(root):
    sys.path.insert(0, str(root / ".ci"))
    try:
        spec = importlib.util.spec_from_file_location("versions_matrix", root / ".ci" / "test_versions.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root / ".ci"))
    return module


def photo(*people, scale=1.0):
    keypoints = np.array(people, np.float32).reshape(-1, 17, 2)
    scores = np.ones((len(keypoints), 17), np.float32)
    return {"people": People(keypoints, scores, np.ones(len(keypoints), np.float32)), "scale": scale}


PERSON = [[10.0 * index, 5.0] for index in range(17)]
MOVED = [[x + 0.6, y] for x, y in PERSON]


def test_every_environment_pins_all_that_matters(versions):
    found = versions.environments()
    assert len(found) >= 5
    assert len({environment.name for environment in found}) == len(found)
    for environment in found:
        names = [package.split("==")[0] for package in environment.packages]
        assert sorted(names) == ["numpy", "onnxruntime", "opencv-python"], environment.name
        assert all("==" in package for package in environment.packages)
    assert found[0].python == "3.8"


def test_people_are_alike_within_half_a_pixel_of_the_input(versions):
    assert versions.likeness([photo(PERSON)], [photo(PERSON)]) == (1, 1, 1.0, 1)
    assert versions.likeness([photo(MOVED)], [photo(PERSON)]) == (1, 0, 0.0, 1)
    assert versions.likeness([photo(MOVED, scale=0.5)], [photo(PERSON, scale=0.5)]) == (1, 1, 1.0, 1)
    partly = [*MOVED[:1], *PERSON[1:]]
    assert versions.likeness([photo(partly)], [photo(PERSON)]) == (1, 0, 16 / 17, 1)
    assert versions.likeness([photo()], [photo(PERSON)]) == (1, 0, 0.0, 0)
    assert versions.likeness([photo(PERSON, MOVED)], [photo(PERSON)]) == (1, 1, 1.0, 2)


def test_what_differs_is_named(versions):
    same = versions.Likeness(3, 3, 1.0, 3)
    assert versions.problems_of("old", same, same, 0.001) == []
    assert versions.problems_of("old", same, same, -0.003) == ["old: AP differs by -0.0030"]
    for worse in (same._replace(num_alike=2), same._replace(num_found=4), versions.Likeness(0, 0, 0.0, 0)):
        (problem,) = versions.problems_of("old", worse, same, 0.0)
        assert problem.startswith("old: of the same inputs people differ")
