"""The rules of the source tree, checked on the source tree."""
