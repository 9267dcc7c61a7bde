"""Export a model for a device: python tools/deploy.py CONFIG CHECKPOINT --backend onnxruntime --work-dir DIR.

Writes end2end.onnx and a JSON that describes how to run it, after checking it against the model. For TensorRT it also
builds the engine if TensorRT is installed; otherwise it exits with 2 and prints the commands to build it on the device.
"""

from ehrpose.cli import run_command
from ehrpose.commands import deploy as command

if __name__ == "__main__":
    run_command(__doc__, command)
