"""Telegram, with the Bot API."""
