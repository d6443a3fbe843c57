"""The roadmap laboratory: Figure 2 on one's own data, as a sweep of runs that can be stopped, divided and extended."""
