"""From block answers to whole-field answers."""
