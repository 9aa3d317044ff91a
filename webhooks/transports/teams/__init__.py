"""Microsoft Teams, with the URL of a workflow that posts to a channel or chat."""
