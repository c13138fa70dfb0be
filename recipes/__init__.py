"""Recipes: programs that made something Fairway ships. They are kept so that anyone can make it again."""
