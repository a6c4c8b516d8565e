"""The management API: agents, routes, conversations, and the calls that go on."""
