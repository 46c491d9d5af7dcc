"""Control laws: what the joints are asked, from where they are and where they should be. docs/laws.md explains them."""
