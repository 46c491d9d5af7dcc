"""How the set-point moves: jerk-limited profiles in time, and the paths that they are run along."""
