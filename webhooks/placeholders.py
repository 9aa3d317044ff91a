"""`$NAME` and `$NAME_JSON` in people's own templates: a flat list of words, put in by one pass over the text.

No expressions and no template engine: a value that itself looks like a placeholder stays as it is.
"""

from __future__ import annotations


class TemplateError(ValueError):
    """A message that cannot be made from this template; the text says which part of it is wrong."""
