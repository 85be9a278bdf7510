"""The tests: claims about Piko, held against real servers."""
