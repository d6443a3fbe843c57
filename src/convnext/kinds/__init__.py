"""The kinds of tasks that a run can have: what of a run depends on whether it classifies, detects or segments."""
