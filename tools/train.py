"""Train a model: python tools/train.py CONFIG."""

from ehrpose.cli import run_command
from ehrpose.commands import train as command

if __name__ == "__main__":
    run_command(__doc__, command)
