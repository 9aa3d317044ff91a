"""Discord channels, through the URL of a channel's webhook."""
