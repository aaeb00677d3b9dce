"""Checkpoints that jbk708/aam published."""
