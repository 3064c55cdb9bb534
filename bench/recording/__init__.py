"""From runs to baselines: raw figures, their spread, and the bands that follow."""
