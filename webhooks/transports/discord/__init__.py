"""Discord, with the URL of a channel's webhook."""
