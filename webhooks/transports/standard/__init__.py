"""The delivered body itself, as signed JSON."""
