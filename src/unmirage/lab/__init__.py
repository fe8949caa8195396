"""The browser pages: play with models, label answers."""
