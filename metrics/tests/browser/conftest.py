from programs.tests.browser.conftest import chromium, passes, stack, visit

__all__ = ["chromium", "passes", "stack", "visit"]
