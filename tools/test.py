"""Test a model: python tools/test.py CONFIG CHECKPOINT."""

from ehrpose.cli import run_command
from ehrpose.commands import test as command

if __name__ == "__main__":
    run_command(__doc__, command)
