"""A validation that an interruption left out is made up for when the run resumes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

VALIDATED = "validated_iter"


class PendingValidationHook(Hook):
    """Validate a resumed checkpoint first if it was saved before its validation ended.

    MMEngine saves a checkpoint, then validates, then saves it again if it is the best. A run that ends in between would
    never learn whether it was. PoseRunner registers the hook automatically.
    """

    # After the hook of checkpoints, which must know the best one so far.
    priority = "LOWEST"

    def before_val(self, runner: Any) -> None:
        # Kept by what the end of this validation saves, but not by what was saved before.
        runner.message_hub.update_info(VALIDATED, runner.iter)

    def before_train(self, runner: Any) -> None:
        """Run the validation that is due, if any."""
        loop = runner.train_loop
        if not loop.iter or runner.val_loop is None:  # nothing was resumed
            return
        loop._decide_current_val_interval()
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
        if by_epoch and loop.iter % len(loop.dataloader):  # saved within an epoch
            return
        due = done and done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
        if due and runner.message_hub.runtime_info.get(VALIDATED) != loop.iter:
            runner.val_loop.run()
