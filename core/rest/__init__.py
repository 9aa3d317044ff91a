"""What all routers of the JSON API share: authentication, input types and paginated lists.

Rules for clients: docs/api.md. Routers raise exceptions, which `monitor_site.problems` turns into responses.
"""
