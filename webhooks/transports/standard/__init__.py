"""Standard Webhooks: the payload as signed JSON."""
