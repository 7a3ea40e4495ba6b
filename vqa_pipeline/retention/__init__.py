"""What the disk may lose, by the setting `keep`, and losing it. No Dagster, no torch; publishes nothing.

Of each asset the newest `keep` versions stay, and the current one, and the checkpoints that people use or may roll back
to with what they were judged by. What any of these was made from stays too, however old, so that every number that is
kept can be traced to its rows.
"""
