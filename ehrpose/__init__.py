"""ehrpose: real-time multi-person 2D human pose estimation for small devices.

Importing this package is cheap: neither torch nor the training parts are loaded.
"""

from ehrpose.version import __version__

__all__ = ["__version__"]
