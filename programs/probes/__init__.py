"""Health probes (http, tcp, exec, log): the checks, the resulting health, and the tasks that run them."""

from .base import Probe, ProbeContext, ProbeFailedError, ProbeResult
from .checks import CHECKS, check
from .http import http_request
from .prober import Prober
from .state import HealthUpdate, ProbeState

__all__ = [
    "CHECKS",
    "HealthUpdate",
    "Probe",
    "ProbeContext",
    "ProbeFailedError",
    "ProbeResult",
    "ProbeState",
    "Prober",
    "check",
    "http_request",
]
