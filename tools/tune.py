"""Search for a config's best values: python tools/tune.py CONFIG."""

from ehrpose.cli import run_command
from ehrpose.commands import tune as command

if __name__ == "__main__":
    run_command(__doc__, command)
