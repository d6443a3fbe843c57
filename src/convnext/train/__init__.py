"""The training loop and what it stands on; it knows the Task protocol and no task."""
