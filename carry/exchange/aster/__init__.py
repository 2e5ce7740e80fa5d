"""A local Aster: its HTTP protocol over the pure exchange's books, quotes, margin and settlement.

Shares no code with the client: it verifies every signature over the bytes received.
"""
