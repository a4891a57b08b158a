"""How the network is made fast."""
