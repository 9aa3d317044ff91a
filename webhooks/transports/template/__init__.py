"""Any HTTP service: method, headers and body written by hand, with placeholders."""
