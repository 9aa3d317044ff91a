"""Sends what is due: claims, sends side by side, writes down, goes on while there is more, and ends."""
