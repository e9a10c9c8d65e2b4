"""YAML to what the service uses."""
