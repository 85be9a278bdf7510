"""Who a request comes from, and what they may do.

`roles` has the roles and what every way of access provides; each other module is one way (`web_access`).
"""
