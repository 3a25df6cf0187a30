"""Real client libraries against our server as a process."""
