"""Table 1 of the paper on one's own machine: how fast its systems are here, and how much memory they take."""
