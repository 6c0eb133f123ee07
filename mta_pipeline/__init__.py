"""The New York subway's turnstile history as a lake that can be trusted.

Nothing is imported here: whoever needs a part imports it, and pays for that part alone.
"""
