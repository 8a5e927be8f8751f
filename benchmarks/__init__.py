"""Measurements that can be run again: each prints its figures with the machine they hold for."""
