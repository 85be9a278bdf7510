"""The results of jobs: write intents go to sinks in batches, with the durability that each sink promises."""
