"""What is wrong with a data set, by name: broken files, copies, leaks, imbalance, odd pictures."""
