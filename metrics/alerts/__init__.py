"""Alert rules on the usage history: `policy` decides, `selectors` reads, `service` runs in the agent."""
