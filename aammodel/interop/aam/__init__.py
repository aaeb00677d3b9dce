"""Import checkpoints that jbk708/aam wrote."""
