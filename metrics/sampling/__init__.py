"""CPU, memory and I/O of process trees, from one pass over the process table for all programs together."""

from .base import Extras, InstanceKey, ProcessSample, RootProcess, TreeUsage
from .sampler import Sampler

__all__ = ["Extras", "InstanceKey", "ProcessSample", "RootProcess", "Sampler", "TreeUsage"]
