"""What jobs write: intents go to sinks in batches, and survive what they were promised to survive."""
