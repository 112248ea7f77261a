"""TALE-PT's home: distilling searched budgets and training on them. This release trains nothing."""
