"""The data plane: read a request's model, rewrite its body, stream it to one upstream and the answer back.

It is given plain data and knows neither scheduler nor configuration. :mod:`.forward` is the way in.
"""
