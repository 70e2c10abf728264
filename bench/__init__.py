"""Benchmarks, side by side with the Rust peers in one run: `make bench`. Not tests: nothing here asserts a time."""
