"""What every router of the JSON API shares: who may call, how lists are paged, what input looks like.

The rules for clients are in docs/api.md. How errors look is decided by the roof, in `monitor_site.problems`;
here and in the routers they are plain exceptions.
"""
