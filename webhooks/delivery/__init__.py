"""Sending: the agent queues a job when a delivery is due (`pump`); the job (`worker`) claims and sends."""
