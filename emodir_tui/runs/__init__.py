"""The contract on disk: run directories, events, heartbeat, control, checkpoints. Standard library only."""
