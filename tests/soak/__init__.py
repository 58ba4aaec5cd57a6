"""Long tests, run by hand: `python -m tests.soak NAME`; quick versions are in the suite."""
