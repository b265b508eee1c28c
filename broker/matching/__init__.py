"""Late binding: which job a pilot gets when it asks, by shares, priority and age."""
