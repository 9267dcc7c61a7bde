"""CPU threads of torch, also in a process that was forked after torch had used them.

OpenMP's threads stay in the parent, and a forked process that asks for them waits forever. As the workers of torch's
data loader do, such a process computes in one thread.
"""

from __future__ import annotations

import os

# Whether torch has used several threads in this process or, before the fork, in its parent; and which of the two.
_used = False
_left_behind = False
_REASON = (
    "this process was forked after its parent had opened a torch model, whose threads it cannot use: start processes "
    "with multiprocessing's 'spawn' method, or before the parent opens a model"
)


def set_torch_threads(num_threads: int) -> None:
    """Set the number of torch's CPU threads in this process.

    Raises:
        ValueError: More than one in a process that was forked after torch had used several.
    """
    import torch

    _check(num_threads, "`num_threads`")
    torch.set_num_threads(num_threads)


def before_torch_computes() -> None:
    """Note that torch uses its threads; call it before a network is opened or run.

    Raises:
        ValueError: This process was forked after torch had used several threads, and the caller told torch to use
            several again.
    """
    global _used
    if _used and not _left_behind:
        return
    import torch

    threads = torch.get_num_threads()
    _check(threads, "torch.set_num_threads")
    if threads > 1 and not _used and hasattr(os, "register_at_fork"):
        _used = True
        os.register_at_fork(after_in_child=_after_fork)


def _check(num_threads: int, name: str) -> None:
    if _left_behind and num_threads > 1:
        raise ValueError(f"{name}: expected 1, got {num_threads}; {_REASON}")


def _after_fork() -> None:
    global _left_behind
    import torch

    _left_behind = True
    torch.set_num_threads(1)
