"""nginx in front of several instances: its configuration, checked and rendered, and its process."""
