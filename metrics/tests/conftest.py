from metrics.tests.fake_writer import writer
from programs.tests.conftest import agent, box

__all__ = ["agent", "box", "writer"]
