"""How Bottle is made safe. The order of the layers is stated once, in application.py."""
