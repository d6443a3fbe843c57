"""What networks are trained for; the tasks never import each other."""
