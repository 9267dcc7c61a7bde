"""Compare the frames per second of models, backends and precisions, from the image file to people.

Example: python tools/analysis_tools/benchmark.py configs/ehrnet/h-4_coco-384.py --backends torch onnxruntime openvino
"""

from ehrpose.cli import run_command
from ehrpose.commands import benchmark as command

if __name__ == "__main__":
    run_command(__doc__, command)
