from __future__ import annotations

import re
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.analysis.speed.web_load import generated_photo, print_web_load


def test_a_generated_photo_has_the_pixels_and_bytes_asked_for():
    data = generated_photo(0.09, ".jpg", 0.2)
    assert len(data) == 200_000
    assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (300, 300, 3)


@pytest.mark.slow  # starts the server with a network, and decodes photos of 49 megapixels
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_forty_large_uploads_take_less_than_a_gigabyte(root, capsys):
    print_web_load(str(root / "tests/data/tiny_network.onnx"), 40, 49, ".jpg", 19.9, [])
    text = capsys.readouterr().out
    above, bound = map(int, re.findall(r"above idle (\d+) MB \(bound (\d+) MB\)", text)[0])
    assert above <= bound < 1000, text
    answered, refused = (int(re.findall(rf"{status}: (\d+)", text)[0]) for status in (200, 503))
    assert answered >= 1, text
    assert answered + refused == 40, text
    assert "503 without Retry-After 0" in text
    assert text.rstrip().endswith("a small photo then: 200")
