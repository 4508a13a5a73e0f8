"""Looks at what the gateway needs on this machine, and says what is wrong and which command mends it.

Nothing here changes anything, and no finding shows a secret.
"""
