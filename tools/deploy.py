"""Export a model for a device: python tools/deploy.py CONFIG CHECKPOINT --backend onnxruntime --work-dir DIR.

Writes end2end.onnx and a JSON that says how to run it, after checking that it gives what the model gives. For
TensorRT the engine too, where TensorRT is installed; else exit code 2 and the commands that build it on the device.
"""

from ehrpose.cli import run_command
from ehrpose.commands import deploy as command

if __name__ == "__main__":
    run_command(__doc__, command)
