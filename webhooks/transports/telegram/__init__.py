"""Telegram chats, through the Bot API."""
