"""How an agent talks to a runtime: pure protocols, and thin shells round them."""
