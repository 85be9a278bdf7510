"""What a page shows, as values: pure functions from rows and an instant to texts, links and tones.

A template only places them. So what is shown, in which words and with which warning, is tested by table.
"""
