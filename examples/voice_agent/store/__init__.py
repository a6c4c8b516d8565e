"""What is kept: agents, routes, and all that happened in every conversation."""
