"""Schedules of other schedulers, translated into resources of Piko.

What means the same is translated, what does not is left, with its line and the reason; nothing is guessed.
`crontab` and `cronjobs` read, `translations` checks and writes. Files are read offline, by the rules of the
operator.
"""
