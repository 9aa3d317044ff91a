"""Slack channels, through the URL of an incoming webhook; Mattermost and Rocket.Chat take the same."""
