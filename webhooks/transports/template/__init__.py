"""Custom template: method, headers and body with placeholders, for any HTTP service."""
