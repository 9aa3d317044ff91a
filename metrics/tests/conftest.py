from metrics.tests.writing import writer
from programs.tests.conftest import agent, box

__all__ = ["agent", "box", "writer"]
