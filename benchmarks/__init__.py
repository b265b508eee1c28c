"""Speed, measured against limits and peers in the same run."""
