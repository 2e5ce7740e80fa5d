"""History for people: what the journal knows, copied into TimescaleDB or plain PostgreSQL.

The journal stays the truth; the copy is made by `carry ops`, another process than the bot, and can
be thrown away: what the journal keeps is written again. docs/HISTORY.md is for users.
"""
