"""Resources are checked before they are applied: a webhook that the API server asks.

`review` decides, `server` answers over TLS, and `trust` keeps the certificate with which the API server
recognises the answer. Every replica answers, also one on standby.
"""
