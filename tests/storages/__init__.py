"""Real storage servers for tests and benchmarks, on 127.0.0.1, each on a folder of its own."""
