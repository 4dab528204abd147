"""Every warehouse table, declared once, and the store that alone reads and writes them."""
