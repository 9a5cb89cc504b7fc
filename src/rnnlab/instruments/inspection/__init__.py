"""Views of a trained network: each measures something, says it in numbers and draws it."""
