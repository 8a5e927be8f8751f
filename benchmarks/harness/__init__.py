"""What latency.py stands on: contestants, scenarios, statistics, the machine, and reports."""
