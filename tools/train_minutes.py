"""Train for a number of minutes, where time on a machine is what is limited.

    python tools/train_minutes.py small_coco-320 --minutes 27 --stop-after 9 --out OUT --shards shards

The learning rate falls to zero over all minutes. OUT/latest.pth, the averaged weights as float16, is written every two
minutes; the same command goes on from it. Test it with tools/test.py.
"""

from ehrpose.cli import run_command
from ehrpose.commands import train_minutes as command

if __name__ == "__main__":
    run_command(__doc__, command)
