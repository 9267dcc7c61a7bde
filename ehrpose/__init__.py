"""ehrpose: real-time multi-person 2D human pose estimation for small devices.

Importing this package is cheap: neither torch nor the training parts are loaded.
"""

from typing import TYPE_CHECKING

from ehrpose.lazy import lazy_attributes
from ehrpose.version import __version__

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.apis import PoseInferencer, inference, init_model
    from ehrpose.deploy.runtime import PoseRuntime
    from ehrpose.results.results import Results

__all__ = ["PoseInferencer", "PoseRuntime", "Results", "__version__", "inference", "init_model"]

# Loaded on first access. The first three work without torch.
_LAZY = {
    "PoseInferencer": "ehrpose.inferencers.inferencer",
    "PoseRuntime": "ehrpose.deploy.runtime",
    "Results": "ehrpose.results.results",
    "inference": "ehrpose.apis",
    "init_model": "ehrpose.models.loading",
}

if not TYPE_CHECKING:  # otherwise a type checker would accept any name
    __getattr__ = lazy_attributes(__name__, _LAZY)
