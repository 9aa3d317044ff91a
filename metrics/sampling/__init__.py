"""What process trees use, from one pass over the process table for all programs together."""

from .base import Extras, Key, Root, Sample, TreeUsage
from .sampler import Sampler

__all__ = ["Extras", "Key", "Root", "Sample", "Sampler", "TreeUsage"]
