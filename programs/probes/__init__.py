"""Health probes: the questions (http, tcp, exec, log), the verdict, and the tasks that keep asking."""

from .base import Outcome, Probe, ProbeContext, ProbeFailedError
from .checks import CHECKS, check
from .http import http_request
from .prober import Prober
from .state import ProbeState, Verdict

__all__ = [
    "CHECKS",
    "Outcome",
    "Probe",
    "ProbeContext",
    "ProbeFailedError",
    "ProbeState",
    "Prober",
    "Verdict",
    "check",
    "http_request",
]
