"""Slack, with the URL of an incoming webhook. Also for Mattermost and Rocket.Chat."""
