"""Checks of make dist that need no network: file lists, interpreters, messages."""

from __future__ import annotations

import importlib.util
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def check_dist(root):
    path = root / ".ci/check_dist.py"
    spec = importlib.util.spec_from_file_location("check_dist", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "ehrpose-9.9.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("ehrpose/py.typed", "ehrpose/a.py", "ehrpose-9.9.0.dist-info/RECORD"):
            archive.writestr(name, name)
    return path


def test_wheel_must_carry_the_package_and_the_zoo(check_dist):
    tracked = [
        "ehrpose/py.typed", "ehrpose/deploy/sidecar.schema.json", "ehrpose/web/static/index.html",
        "configs/ehrnet/metafile.yml", "checkpoints/a.pth",
        "tests/test_a.py", "model-index.yml", "tools/a.py",
    ]  # fmt: skip
    assert check_dist.expected_files(tracked) == {
        "ehrpose/py.typed",
        "ehrpose/deploy/sidecar.schema.json",
        "ehrpose/web/static/index.html",
        "ehrpose/zoo/configs/ehrnet/metafile.yml",
        "ehrpose/zoo/checkpoints/a.pth",
        "ehrpose/zoo/model-index.yml",
    }
    with pytest.raises(check_dist.CheckError, match=r"expected ehrpose/py\.typed in the checkout, got none"):
        check_dist.expected_files(tracked[1:])


def test_missing_and_superfluous_files_are_named(check_dist, wheel):
    got = check_dist.packaged(wheel)
    assert got == {"ehrpose/py.typed", "ehrpose/a.py"}
    with pytest.raises(check_dist.CheckError, match=r"^the wheel lacks 1 file: ehrpose/b.py$"):
        check_dist.compare("the wheel", got, got | {"ehrpose/b.py"})
    with pytest.raises(check_dist.CheckError, match=r"^the wheel must not contain 1 file: ehrpose/a.py$"):
        check_dist.compare("the wheel", got, {"ehrpose/py.typed"})


def test_another_content_of_the_same_name_is_seen(check_dist, wheel, tmp_path):
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("ehrpose/py.typed", "ehrpose/py.typed")
        archive.writestr("ehrpose/a.py", "changed")
    with pytest.raises(check_dist.CheckError, match=r"lacks 1 file: ehrpose/a\.py"):
        check_dist.compare("the sdist's wheel", check_dist.digests(other), check_dist.digests(wheel))


def test_one_wheel_is_expected(check_dist, wheel, tmp_path):
    assert check_dist.built(tmp_path) == wheel
    with pytest.raises(check_dist.CheckError, match=r"expected one ehrpose-\*.tar.gz in .*, got 0"):
        check_dist.built(tmp_path, ".tar.gz")


def test_interpreters_are_found_or_none(check_dist):
    assert check_dist.find_python(sys.executable) == sys.executable
    assert check_dist.find_python("2.99") is None


def test_a_failing_command_gives_its_last_line(check_dist):
    code = "print('first'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(check_dist.CheckError, match=r"^trial: .* exited with 3: the reason$"):
        check_dist.run("trial", sys.executable, "-c", code)


def test_the_tools_of_make_dist_have_pinned_versions(root):
    lines = (root / "requirements/dist.txt").read_text(encoding="utf-8").splitlines()
    pinned = (root / "requirements/constraints.txt").read_text(encoding="utf-8")
    names = [line for line in lines if not line.startswith("#") and ">=" not in line]
    assert names
    assert [name for name in names if f"\n{name}==" not in pinned] == []


METADATA = """Metadata-Version: 2.4
Name: ehrpose
Requires-Dist: numpy
Requires-Dist: opencv-python>=4
Requires-Dist: mmcv_lite>=2; extra == "train"
Requires-Dist: pytest; extra == "tests"

Requires-Dist: described
"""


def materials(*names):
    parts = [{"name": name, "version": "1.0", "purl": f"pkg:pypi/{name}@1.0"} for name in names]
    own = {"name": "ehrpose", "version": "9.9.0", "bom-ref": "ehrpose==9.9.0"}
    own["externalReferences"] = [{"type": "distribution", "url": "file:///a/b.whl"}]
    return {"bomFormat": "CycloneDX", "metadata": {}, "components": [own, *parts]}


def test_the_bill_of_materials_is_about_the_wheel_and_names_no_path(check_dist, wheel):
    bill = materials("numpy", "opencv-python", "mmcv-lite")
    check_dist.publish_materials(bill, wheel)
    check_dist.check_materials(bill, METADATA)
    subject = bill["metadata"]["component"]
    assert (subject["name"], len(subject["hashes"][0]["content"])) == ("ehrpose", 64)
    assert "file:" not in str(bill)
    assert [part["name"] for part in bill["components"]] == ["numpy", "opencv-python", "mmcv-lite"]


def test_a_bill_of_materials_that_lacks_something_is_refused(check_dist, wheel):
    bill = materials("numpy", "opencv-python")
    with pytest.raises(check_dist.CheckError, match="the bill of materials lacks mmcv-lite"):
        check_dist.check_materials(bill, METADATA)
    bill = materials("numpy", "opencv-python", "mmcv-lite")
    with pytest.raises(
        check_dist.CheckError, match="a version and a PURL of each package, got none of ehrpose"
    ):
        check_dist.check_materials(bill, METADATA)
    del bill["components"][0]["externalReferences"]
    bill["components"][0]["purl"] = "pkg:pypi/ehrpose@9.9.0"
    check_dist.check_materials(bill, METADATA)
    bill["components"][1]["externalReferences"] = [{"url": "file:///a"}]
    with pytest.raises(check_dist.CheckError, match="no paths of this machine"):
        check_dist.check_materials(bill, METADATA)
    bill["components"][0]["version"] = "9.8.0"
    with pytest.raises(check_dist.CheckError, match=r"expected ehrpose 9\.9\.0, got 9\.8\.0"):
        check_dist.publish_materials(bill, wheel)
    with pytest.raises(check_dist.CheckError, match="expected ehrpose once, got it 0 times"):
        check_dist.publish_materials({"metadata": {}, "components": []}, wheel)
