"""Replicas under failures at random, and a judge who goes by what the handlers themselves have noted."""
