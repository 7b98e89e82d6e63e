"""The pages, by what they are about. Each looks up, calls the domain and shows; none has a rule."""
