"""Serve a web page that detects people in images and camera streams; the same as ehrpose-web.

Example: python demo/web_demo.py --model configs/ehrnet/h-4_coco-384.py:checkpoint.pth
"""

from __future__ import annotations

from ehrpose.cli import run_cli
from ehrpose.web.server import parse_args as parse_args
from ehrpose.web.server import serve as main

if __name__ == "__main__":
    run_cli(main)
