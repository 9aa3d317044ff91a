"""The definition of a program: its fields and defaults (`fields`, `values`), its rules, and its JSON.

Start in `fields`: every field, its type, default and help text is stated there, and only there.
"""
