"""The data plane: one request to one upstream and back; knows no scheduler."""
