"""A leader over a model of the database, on virtual time: no server, no waiting.

The same `Leader` decides here as in `piko.scheduler`, event by event. What differs is who carries its effects
out: a model that keeps the promises of the store that decisions rest on. So what a schedule would do in a
year, through stops, outages and edits, can be seen in a second.
"""
