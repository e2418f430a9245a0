"""Tables, listings and exports made from what a run left on disk."""
