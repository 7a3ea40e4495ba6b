"""Curation: raw records become examples or rejects, each raw row with exactly one fate and a ledger that balances."""
